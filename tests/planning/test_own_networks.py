"""Networks from files and from Python: found, addressed by their source, trained, refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import cl_bench
from cl_bench.cli import main
from cl_bench.errors import UserError
from cl_bench.planning import own_networks
from cl_bench.planning.reading import read
from cl_bench.results.store import RunStore, StoredRun

LENGTH = ["--set", "training.iterations=6"]
HEAD = """
import torch
from torch import nn
"""
NORMED = (
    HEAD
    + """
class Normed(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(input_shape[0], 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2)
        )
        self.head = nn.Linear(4 * 9, n_outputs)

    def forward(self, images):
        return self.head(self.body(images).flatten(1))
"""
)


def two_layers(input_shape, n_outputs):
    """Convolution and linear layer."""
    side = input_shape[1] - 2
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 3, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * side * side, n_outputs),
    )


def stored(out) -> list[StoredRun]:
    return RunStore(out).scan()[0]


def command(*more: str, out) -> list[str]:
    terms = ["--benchmark", "split-digits", "--tasks", "2", "--wandb", "off", "--device", "cpu"]
    return ["run", *terms, "--no-picture", "--out", str(out), *LENGTH, *more]


@pytest.fixture
def normed(tmp_path):
    path = tmp_path / "my_net.py"
    path.write_text(NORMED)
    return path


def test_a_file_of_a_network_is_trained_by_workers_and_known_by_its_source(normed, tmp_path):
    given = ["--network", str(normed), "--strategy", "l2,si", "--seeds", "2", "--workers", "2"]
    assert main(command(*given, out=tmp_path / "runs")) == 0
    records = stored(tmp_path / "runs")
    assert len(records) == 4
    for record in records:
        assert record.config.network.name == "my-net"
        assert record.config.network.code
        assert record.weights()["head.weight"].shape[1] == 36
        assert not (record.weights()["body.1.running_mean"] == 0).any()

    before = read(options={"network.name": str(normed)})[0].network
    normed.write_text(NORMED.replace("nn.ReLU", "nn.Tanh"))
    assert read(options={"network.name": str(normed)})[0].network.code != before.code


def test_batch_normalisation_gives_the_same_bits_alone_stacked_and_in_python(normed, tmp_path):
    terms = {"benchmark": "split-digits", "tasks": 2, "network": normed, "wandb": "off"}
    terms |= {"training": {"iterations": 8}, "workers": 1, "device": "cpu"}
    cl_bench.run(["si", "lwf"], seeds=3, out=tmp_path / "a", **terms)
    cl_bench.run(["si", "lwf"], seeds=[1], out=tmp_path / "b", **terms)
    first = {run.config.run_id: run.content["weights_sha256"] for run in stored(tmp_path / "a")}
    for run in stored(tmp_path / "b"):
        assert first[run.config.run_id] == run.content["weights_sha256"]


def test_a_function_is_a_network_in_python(tmp_path):
    cl_bench.run(
        "naive", "split-digits", tasks=2, seeds=1, network=two_layers, out=tmp_path, wandb="off",
        training={"iterations": 4},
    )  # fmt: skip
    (record,) = stored(tmp_path)
    assert record.config.network.name == "two-layers"
    assert record.weights()["3.weight"].shape[1] == 3 * 6 * 6


def test_a_function_whose_source_does_not_tell_all_is_refused():
    width = 3

    def inner(input_shape, n_outputs):
        return nn.Linear(width, n_outputs)

    with pytest.raises(UserError, match="takes width from the function around it"):
        own_networks.add(inner)


MODEL = (
    HEAD
    + """
def make(input_shape, n_outputs):
    return {}
"""
)
FLAT = "nn.Sequential(nn.Flatten(), nn.Linear(64, {}), {})"
BAD = {
    "returns [4, 3] for 4 inputs; it must return a tensor [4, ": FLAT.format(3, "nn.ReLU()"),
    "draws random numbers in training (2)": FLAT.format("n_outputs", "nn.Dropout(0.5)"),
    "the buffer 0.running_mean changes in training": (
        "nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True), nn.Flatten(),"
        " nn.Linear(64, n_outputs))"
    ),
    "momentum=None": FLAT.format("n_outputs", "nn.BatchNorm1d(n_outputs, momentum=None)"),
    "does not work on inputs of shape [1, 8, 8]": "nn.Sequential(nn.Flatten(), nn.Linear(63, 10))",
}


@pytest.mark.parametrize("message", BAD)
def test_a_network_that_cannot_be_trained_is_refused_before_training(message, tmp_path, capsys):
    path = tmp_path / "bad_net.py"
    path.write_text(MODEL.format(BAD[message]))
    assert main(command("--network", str(path), out=tmp_path / "runs")) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "network 'bad-net'" in told
    assert not stored(tmp_path / "runs")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "must define `network`, or one function or torch.nn.Module class"),
        (MODEL.format("None") + MODEL.format("None").replace("make", "other"), "make, other"),
        (HEAD + "def make(shape):\n    return None", "must take input_shape and n_outputs"),
        ("import nothing_of_this_name", "does not import"),
    ],
)
def test_a_file_without_a_network_is_refused(source, message, tmp_path, capsys):
    path = tmp_path / "no_net.py"
    path.write_text(source)
    assert main(command("--network", str(path), out=tmp_path / "runs")) == 2
    assert message in capsys.readouterr().err


def test_what_strategy_and_network_cannot_do_together_is_refused(normed, tmp_path, capsys):
    given = ["--network", str(normed), "--strategy", "gpm", "--scenario", "task"]
    assert main(command(*given, out=tmp_path)) == 2
    assert "strategy 'gpm' does not work on network 'my-net'" in capsys.readouterr().err
    assert main(command("--network", "resnet", out=tmp_path)) == 2
    assert "there are mlp, convnet, resnet18, linear" in capsys.readouterr().err


def test_evaluation_normalises_by_the_running_statistics():
    from cl_bench.engine.modules import ModuleNetwork

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))

    network, module = ModuleNetwork(build, (1, 2, 2), 2), build()
    theta = network.initial(0)[None].repeat(2, 1)
    theta[1] += 0.1 * torch.rand(theta.shape[1])
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    for place in network.parameters:
        own[place.name].data.copy_(place.view(theta[1]))
    images = torch.rand(2, 5, 4)
    out = torch.empty_like(theta)
    network.backward(theta, images, torch.ones_like, out)
    network.settle(theta, network.moved)
    module(images[1].view(5, 1, 2, 2)).sum().backward()
    for place in network.trained:
        torch.testing.assert_close(place.view(out[1]), own[place.name].grad)
    for place in network.parameters:
        torch.testing.assert_close(place.view(theta[1]), own[place.name].data)
    module.eval()
    torch.testing.assert_close(
        network.forward(theta, images)[1], module(images[1].view(5, 1, 2, 2))
    )
