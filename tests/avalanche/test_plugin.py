"""Our strategies as a plug-in in Avalanche's own loop, against our engine and against Avalanche."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cl_bench import benchmarks
from cl_bench.config import Scenario
from cl_bench.engine.modules import ModuleNetwork
from cl_bench.engine.networks import MLP
from cl_bench.engine.tasks import Streams, TaskData
from cl_bench.engine.threads import one_thread
from cl_bench.errors import UserError
from cl_bench.planning import finding
from tests.training import config, train

pytest.importorskip("avalanche")
pytestmark = pytest.mark.filterwarnings("ignore")

HIDDEN = (30,)


@pytest.fixture(autouse=True)
def one():
    with one_thread():
        yield


class Images(torch.utils.data.Dataset):
    def __init__(self, examples, shape=(1, 28, 28), change=lambda images: images):
        images = torch.from_numpy(examples.images).view(-1, *shape)
        self.images = change(images.to(torch.float32).mul_(1 / 255))
        self.targets = examples.labels.tolist()

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


def to_avalanche(bench, seed=0, **change):
    """Return the tasks of one of our benchmarks as Avalanche's."""
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import _make_taskaware_classification_dataset

    def of(split):
        return [
            _make_taskaware_classification_dataset(Images(bench.examples(seed, t, split), **change))
            for t in range(bench.n_tasks)
        ]

    return benchmark_from_datasets(train=of("train"), test=of("test"))


def get(run):
    return benchmarks.get(run.benchmark, download=False)


def perceptron(hidden=HIDDEN, outputs=10):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, hidden[0]), nn.ReLU(), nn.Linear(hidden[0], outputs)
    )


def initial(network, seed, hidden=HIDDEN):
    """Return a module at the initial weights of our network."""
    module = perceptron(hidden, network.n_outputs)
    nn.utils.vector_to_parameters(network.initial(seed), module.parameters())
    return module


def naive(model, plugins, *, lr=0.1, size=64, optimizer=None, epochs=1, **schedule):
    from avalanche.logging import BaseLogger
    from avalanche.training import Naive
    from avalanche.training.plugins import EvaluationPlugin

    return Naive(
        model=model,
        optimizer=optimizer or torch.optim.SGD(model.parameters(), lr=lr),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=size,
        train_epochs=epochs,
        eval_mb_size=250,
        plugins=plugins,
        evaluator=EvaluationPlugin(loggers=[BaseLogger()]),
        **schedule,
    )


def our_order(bench, seed, size):
    """Return a plug-in that has Avalanche train on our minibatches, in our order."""
    from avalanche.training.plugins import SupervisedPlugin

    class OurOrder(SupervisedPlugin):
        task = -1

        def before_training_exp(self, strategy, *args, **kwargs):
            self.task += 1
            data = TaskData(Streams(bench, [seed], torch.device("cpu")), self.task)
            steps = data.epoch_samples // size
            strategy.dataloader = [
                [b.images[0].view(-1, 1, 28, 28), b.labels[0], torch.zeros_like(b.labels[0])]
                for b in data.minibatches(size, steps)
            ]

    return OurOrder()


def stacked(experience):
    """Return the images and labels of an experience."""
    images, labels = zip(*((x, y) for x, y, *_ in experience.dataset), strict=True)
    return torch.stack(images), torch.tensor(labels)


def accuracy(model, experience):
    images, labels = stacked(experience)
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean())


def evaluated(agent, stream):
    """Return the accuracy on each experience as Avalanche measures it."""
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.logging import BaseLogger
    from avalanche.training.plugins import EvaluationPlugin

    measure = EvaluationPlugin(accuracy_metrics(experience=True), loggers=[BaseLogger()])
    agent.plugins[agent.plugins.index(agent.evaluator)] = agent.evaluator = measure
    found = agent.eval(stream.test_stream)
    return [value for _, value in sorted(found.items())]


def weights_of(record):
    return np.concatenate([w.ravel() for w in record.weights.values()])


def flat(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def strong(strategy):
    """Return settings with which the penalty matters in a few steps."""
    strengths = {"ewc": 300.0, "flatness": 0.1, "si": 100.0, "mas": 1.0, "l2": 3.0}
    return {"strength": strengths[strategy]} if strategy in strengths else {}


SAME = [
    *[(name, {}, "sgd") for name in ("naive", "ewc", "flatness", "si", "er", "mas", "l2")],
    *[(name, {}, kind) for name in ("naive", "flatness") for kind in ("momentum", "adam")],
    ("ewc", {"form": "explicit", "strength": 3.0}, "sgd"),
    ("si", {"form": "explicit"}, "sgd"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "settings", "optimizer"), SAME)
def test_avalanche_trains_to_the_weights_that_our_engine_trains_to(strategy, settings, optimizer):
    from cl_bench.avalanche.plugin import StrategyPlugin

    rate = {"sgd": 0.1, "momentum": 0.02, "adam": 0.001}[optimizer]
    run = config(
        strategy,
        seed=3,
        settings={**strong(strategy), **settings},
        network={"hidden": HIDDEN},
        optimizer={"name": optimizer, "learning_rate": rate},
        training={"batch_size": 32},
        benchmark={"tasks": 2, "train_samples": 640},
    )
    bench = get(run)
    model = initial(MLP(784, HIDDEN, 10), 3)
    torch_optimizer = {
        "sgd": lambda p: torch.optim.SGD(p, rate),
        "momentum": lambda p: torch.optim.SGD(p, rate, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, rate),
    }[optimizer](model.parameters())
    resolved: dict[str, Any] = run.strategy.settings
    plugin = StrategyPlugin(strategy, seed=3, **resolved)
    agent = naive(model, [our_order(bench, 3, 32), plugin], size=32, optimizer=torch_optimizer)
    for experience in to_avalanche(bench, 3).train_stream:
        agent.train(experience, reset_optimizer_state=True)
    expected = torch.from_numpy(weights_of(train([run])[0]))
    assert (flat(model) - expected).norm() <= 1e-4 * expected.norm()
    moved = (expected - MLP(784, HIDDEN, 10).initial(3)).norm()
    assert (flat(model) - expected).norm() <= 1e-4 * moved
    assert plugin.learner.steps == 2 * (20 + plugin.kind.extra_steps(plugin.settings))


@pytest.mark.slow
def test_flatness_forgets_less_than_avalanche_without_it():
    from cl_bench.avalanche.plugin import StrategyPlugin

    bench = get(config("flatness", benchmark={"tasks": 3, "train_samples": 3000}))
    stream = to_avalanche(bench)
    plugin = StrategyPlugin("flatness", exploration_steps=60, snapshot_every=2)
    found = {}
    for name, plugins in (("naive", []), ("flatness", [plugin])):
        model = perceptron((100,))
        torch.manual_seed(2)
        agent = naive(model, plugins, size=32, epochs=3)
        just_after = []
        for experience, test in zip(stream.train_stream, stream.test_stream, strict=True):
            agent.train(experience)
            just_after.append(accuracy(model, test))
        end = [accuracy(model, test) for test in stream.test_stream]
        found[name] = (np.mean(np.subtract(just_after, end)[:-1]), np.mean(end))
    assert found["flatness"][0] < 0.5 * found["naive"][0]
    assert found["flatness"][1] > found["naive"][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", finding.strategy_names())
def test_every_strategy_does_here_what_it_does_in_our_engine_or_says_why_not(name):
    """In the scenario it supports that asks most: weights, cost, memory and accuracy agree."""
    from cl_bench.avalanche.plugin import StrategyPlugin

    kind = finding.load(name)
    scenario = [s for s in Scenario if s in kind.scenarios][-1]
    if kind.all_data or kind.restart:
        with pytest.raises(UserError, match=r"use avalanche\.training\."):
            StrategyPlugin(name, scenario=scenario)
        return
    run = config(
        name,
        seed=3,
        settings={"every": 7} if "every" in kind.Settings.model_fields else {},
        network={"hidden": HIDDEN},
        training={"batch_size": 32},
        benchmark={"name": "split-mnist", "scenario": scenario, "train_samples": 640},
    )
    bench = get(run)
    network = MLP(784, HIDDEN, bench.n_outputs)
    model = initial(network, 3)
    settings: dict[str, Any] = run.strategy.settings
    plugin = StrategyPlugin(name, scenario=scenario, seed=3, **settings)
    agent = naive(model, [our_order(bench, 3, 32), plugin], size=32)
    stream = to_avalanche(bench, 3)
    agent.train(stream.train_stream)
    record = train([run])[0]
    expected = torch.from_numpy(weights_of(record))
    assert (flat(model) - expected).norm() <= 1e-4 * (expected - network.initial(3)).norm()
    assert plugin.learner.gradient_passes == pytest.approx(record.cost["gradient_passes"], abs=0.01)
    assert plugin.own.bytes_kept() == record.cost["bytes_kept"]
    ours = record.accuracy.query("after_task == 1").accuracy.tolist()
    assert evaluated(agent, stream) == pytest.approx(ours, abs=0.01)


# --- what reaches the strategy, and the user's own objects -----------------------------------


def test_replayed_samples_reach_the_users_forward_and_loss():
    from avalanche.training.plugins import SupervisedPlugin

    from cl_bench.avalanche.plugin import StrategyPlugin

    class Look(SupervisedPlugin):
        sizes: list[tuple[int, ...]] = []  # noqa: RUF012

        def before_update(self, strategy, *args, **kwargs):
            lengths = (strategy.mb_x, strategy.mb_y, strategy.mb_output, strategy.mb_task_id)
            self.sizes.append(tuple(map(len, lengths)))

    bench = get(config("er"))
    look = Look()
    plugin = StrategyPlugin("er", replay_batch_size=10)
    naive(perceptron(), [plugin, look]).train(to_avalanche(bench).train_stream[0])
    assert look.sizes[0] == (64,) * 4
    assert look.sizes[1] == (74,) * 4


def normalised(images):
    return (images - 0.1307) / 0.3081


def test_replay_keeps_the_images_of_normalised_data():
    """Avalanche's own benchmarks normalise; a kept image is trained on as it came."""
    from cl_bench.avalanche.plugin import StrategyPlugin

    bench = get(config("er", benchmark={"train_samples": 200}))
    plugin = StrategyPlugin("er", buffer_size=100)
    model = perceptron()
    stream = to_avalanche(bench, change=normalised)
    naive(model, [plugin], size=20).train(stream.train_stream[0])
    own: Any = plugin.own
    kept = own.buffer.images[0].numpy()
    originals = {bytes(image) for image in bench.examples(0, 0, "train").images}
    assert {bytes(image) for image in kept} <= originals
    images, _ = stacked(stream.train_stream[0])
    seen = own.buffer.at(torch.arange(100).unsqueeze(0)).images
    network: Any = plugin.learner.network
    decoded = network.pixels.decode(seen[0])
    nearest = images.flatten(1)[torch.cdist(decoded, images.flatten(1)).argmin(1)]
    torch.testing.assert_close(decoded, nearest)
    ours = plugin.learner.network.forward(plugin.own.theta, seen)[0]
    torch.testing.assert_close(ours, model(decoded), rtol=1e-3, atol=1e-4)


def test_a_strategy_that_keeps_bytes_refuses_other_images():
    from cl_bench.avalanche.plugin import StrategyPlugin

    bench = get(config("er", benchmark={"train_samples": 200}))
    stream = to_avalanche(bench, change=lambda images: images.sqrt() + 0.1)
    with pytest.raises(UserError, match="keeps images as bytes"):
        naive(perceptron(), [StrategyPlugin("er")]).train(stream.train_stream[0])
    naive(perceptron(), [StrategyPlugin("ewc", **SHORT_EWC)]).train(stream.train_stream[0])


SHORT_EWC: dict[str, Any] = {"exploration_steps": 5, "fisher_samples": 100}

ODD = """
from cl_bench.engine.losses import cross_entropy
from cl_bench import Strategy, setting

class Odd(Strategy):
    \"\"\"Every hook does something.\"\"\"

    title = "Odd"
    networks = frozenset({"mlp"})

    more: int = setting(0, "steps")

    @classmethod
    def extra_steps(cls, settings):
        return 3

    @classmethod
    def task_steps(cls, settings, ordinary, batch_size, images):
        return ordinary + settings["more"]

    def begin_task(self, task):
        self.kept = self.theta.clone()

    def begin_step(self, batch):
        keep = self.learner.uniform("gates", *batch.labels.shape[1:], 30) < 0.7
        batch.gates = (keep / 0.7,)
        return batch

    def loss(self, logits, batch):
        return 0.5 * cross_entropy(logits, batch) + 0.01 * logits.square().mean((1, 2))[:, None]

    def adjust_gradient(self, gradient, batch):
        gradient *= 1.5

    def after_step(self, batch):
        self.theta.lerp_(self.kept, 0.01)

    def visit(self, step):
        self.theta.mul_(1 - 0.001 * step)

    def end_task(self, task):
        self.theta.sub_(0.1 * self.learner.gradient_of(next(task.sample(50, "end"))))

    def predict(self, images, task):
        return -self.learner.network.forward(self.theta, images)
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "odd.py"
    path.write_text(ODD)
    yield str(path)
    sys.modules.pop("cl_bench_added_odd", None)


@pytest.mark.parametrize("more", [0, 5, -5])
@pytest.mark.parametrize("scenario", list(Scenario))
def test_every_hook_acts_as_in_our_engine(odd, more, scenario):
    from cl_bench.avalanche.plugin import StrategyPlugin

    run = config(
        odd,
        settings={"more": more},
        network={"hidden": HIDDEN},
        training={"batch_size": 16},
        benchmark={"name": "split-mnist", "scenario": scenario, "train_samples": 320},
    )
    bench = get(run)
    network = MLP(784, HIDDEN, bench.n_outputs)
    model = initial(network, 0)
    plugin = StrategyPlugin(odd, scenario=scenario, more=more)
    agent = naive(model, [our_order(bench, 0, 16), plugin], size=16)
    agent.train(to_avalanche(bench).train_stream)
    record = train([run])[0]
    expected = torch.from_numpy(weights_of(record))
    assert (flat(model) - expected).norm() <= 1e-4 * (expected - network.initial(0)).norm()
    assert plugin.learner.steps == 2 * (20 + more + 3)
    ours = record.accuracy.query("after_task == 1").accuracy.tolist()
    assert evaluated(agent, to_avalanche(bench)) == pytest.approx(ours, abs=0.01)


def test_evaluation_during_training_changes_nothing(odd):
    from cl_bench.avalanche.plugin import StrategyPlugin

    stream = to_avalanche(get(config("l2", benchmark={"train_samples": 200})))
    ends = []
    for schedule in ({}, {"eval_every": 1}, {"eval_every": 3, "peval_mode": "iteration"}):
        model = perceptron()
        torch.manual_seed(4)
        agent = naive(model, [StrategyPlugin(odd)], **schedule)
        for experience in stream.train_stream:
            agent.train(experience, shuffle=False)
        ends.append(flat(model))
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


def test_the_models_parameters_are_the_strategys_weights():
    from cl_bench.avalanche.plugin import StrategyPlugin

    stream = to_avalanche(get(config("l2", benchmark={"train_samples": 200}))).train_stream
    plugin = StrategyPlugin("l2", exploration_steps=3)
    model = perceptron()
    start = flat(model)
    parameters = list(model.parameters())
    agent = naive(model, [plugin])
    agent.train(stream[0])
    assert list(map(id, model.parameters())) == list(map(id, parameters))
    assert torch.equal(plugin.own.theta[0], flat(model))
    assert torch.equal(plugin.learner.initial[0], start)
    for parameter in model.parameters():  # as after a move to another device and back
        parameter.data = parameter.data.clone().zero_()
    agent.train(stream[1])
    assert torch.equal(plugin.own.theta[0], flat(model))
    assert plugin.own.theta.abs().max() > 0


class Relus(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.last = nn.Linear(784, 20), nn.Linear(20, 10)
        self.function = function

    def forward(self, images):
        return self.last(self.function(self.first(images.flatten(1))))


def convnet():
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(676, 10))


def simple_mlp():
    from avalanche.models import SimpleMLP

    return SimpleMLP(hidden_size=20, drop_rate=0.5)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: Relus(torch.relu), MLP),
        (simple_mlp, MLP),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), MLP),
        (lambda: Relus(torch.tanh), ModuleNetwork),
        (convnet, ModuleNetwork),
    ],
)
def test_a_module_that_computes_an_mlp_is_one_and_any_other_is_run_as_it_is(make, kind):
    from cl_bench.avalanche.plugin import StrategyPlugin

    stream = to_avalanche(get(config("l2", benchmark={"train_samples": 200})), change=normalised)
    plugin = StrategyPlugin("flatness", exploration_steps=10, snapshot_every=2, every=5)
    model = make()
    agent = naive(model, [plugin], lr=0.01)
    for experience in stream.train_stream:
        agent.train(experience)
    network: Any = plugin.learner.network
    assert isinstance(network, kind)
    images, _ = stacked(stream.test_stream[0])
    seen = network.pixels.encode(images)[None]
    model.eval()
    logits = model(images)
    torch.testing.assert_close(
        network.forward(plugin.own.theta, seen)[0], logits, rtol=1e-3, atol=1e-3
    )
    last = next(m for m in reversed(list(model.modules())) if isinstance(m, nn.Linear))
    features = network.features(plugin.own.theta, seen)[0]
    torch.testing.assert_close(last(features), logits, rtol=1e-3, atol=1e-3)


# --- what cannot work is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("flatness",), {"strength": -1}, r"flatness\.strength = -1"),
        (("flatness",), {"strenght": 1}, "did you mean flatness.strength"),
        (("flatness",), {"strength": [1, 2]}, "no lists"),
        (("flatnes",), {}, "did you mean flatness"),
        (("ewc",), {"scenario": "domian"}, "did you mean domain"),
        (("ewc",), {"outputs": "some"}, "'seen' or 'all'"),
        (("joint",), {}, "JointTraining"),
        (("avalanche:EWC",), {}, "its own classes"),
    ],
)
def test_a_mistake_is_told_before_training(arguments, settings, message):
    from cl_bench.avalanche.plugin import StrategyPlugin

    with pytest.raises(UserError, match=message):
        StrategyPlugin(*arguments, **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.insert(2, nn.BatchNorm1d(30)), "buffers"),
        (lambda model: model.double(), "float32"),
        (lambda model: model.__setitem__(3, nn.Linear(30, 5)), "the model has 5 outputs"),
    ],
)
def test_a_model_that_cannot_be_consolidated_is_refused(change, message):
    from cl_bench.avalanche.plugin import StrategyPlugin

    stream = to_avalanche(get(config("l2", benchmark={"train_samples": 200}))).train_stream
    model = perceptron()
    change(model)
    with pytest.raises(UserError, match=message):
        naive(model, [StrategyPlugin("l2")]).train(stream[0])


def test_a_model_that_grows_settings_that_cannot_act_and_rates_that_differ_are_refused():
    from cl_bench.avalanche.plugin import StrategyPlugin

    stream = to_avalanche(get(config("l2", benchmark={"train_samples": 200}))).train_stream
    model = perceptron()
    agent = naive(model, [StrategyPlugin("l2", exploration_steps=0)])
    agent.train(stream[0])
    model[3] = nn.Linear(30, 12)
    with pytest.raises(UserError, match="all outputs from the start"):
        agent.train(stream[1])
    with pytest.raises(UserError, match=r"l2\.every=50"):
        naive(perceptron(), [StrategyPlugin("l2", exploration_steps=0, every=50)]).train(stream[0])
    model = perceptron()
    groups = [{"params": model[1].parameters()}, {"params": model[3].parameters(), "lr": 1.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    agent = naive(model, [StrategyPlugin("l2", exploration_steps=0)], optimizer=optimizer)
    agent.train(stream[0])
    with pytest.raises(UserError, match="different lr"):
        agent.train(stream[1])


def test_a_strategy_for_perceptrons_refuses_other_modules(odd):
    from cl_bench.avalanche.plugin import StrategyPlugin

    stream = to_avalanche(get(config("l2", benchmark={"train_samples": 200}))).train_stream
    with pytest.raises(UserError, match="needs a plain MLP"):
        naive(convnet(), [StrategyPlugin(odd)]).train(stream[0])
