"""Networks on a stack: the same numbers as torch's own modules and autograd give run by run."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from cl_bench.config import NetworkConfig
from cl_bench.engine.architectures import build_network, convnet
from cl_bench.engine.modules import ModuleNetwork
from cl_bench.engine.networks import MLP, Network

SHAPE = (1, 8, 8)
OUTPUTS = 5


def small_cnn() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, OUTPUTS))


def mlp_module() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, OUTPUTS)
    )


PREPARED = NetworkConfig(hidden=(7,), input_padding=1, input_mean=0.2, input_std=0.3)
PREPARED_CONVNET = PREPARED.model_copy(update={"name": "convnet"})


class Standardised(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - 0.2) / 0.3


def prepared(module: str) -> nn.Module:
    layers = {
        "mlp": [nn.Flatten(), nn.Linear(100, 7), nn.ReLU(), nn.Linear(7, OUTPUTS)],
        "convnet": list(convnet((1, 10, 10), PREPARED.hidden, OUTPUTS).children()),
    }
    return nn.Sequential(nn.ZeroPad2d(1), Standardised(), *layers[module])


NETWORKS = {
    "prepared mlp": (
        lambda: build_network(PREPARED, SHAPE, OUTPUTS),
        lambda: prepared("mlp"),
    ),
    "prepared convnet": (
        lambda: build_network(PREPARED_CONVNET, SHAPE, OUTPUTS),
        lambda: prepared("convnet"),
    ),
    "mlp": (lambda: MLP(64, (7, 6), OUTPUTS), mlp_module),
    "module": (lambda: ModuleNetwork(small_cnn, SHAPE, OUTPUTS), small_cnn),
}


@pytest.fixture(params=NETWORKS)
def pair(request) -> tuple[Network, nn.Module]:
    make, module = NETWORKS[request.param]
    return make(), module()


@pytest.fixture
def stack(pair):
    network, _ = pair
    torch.manual_seed(0)
    theta = torch.stack([network.initial(seed) for seed in range(3)])
    return theta, torch.rand(3, 4, 64), torch.randint(0, OUTPUTS, (3, 4))


def run_logits(network: Network, module: nn.Module, theta: torch.Tensor, images: torch.Tensor):
    """Return the logits of one run by torch's own module."""
    named = zip(dict(module.named_parameters()), network.parameters, strict=True)
    weights = {name: p.view(theta) for name, p in named}
    return torch.func.functional_call(module, weights, (images.view(-1, *SHAPE),))


def test_forward_is_that_of_the_module(pair, stack):
    network, module = pair
    theta, images, _ = stack
    logits = network.forward(theta, images)
    for run in range(3):
        torch.testing.assert_close(
            logits[run], run_logits(network, module, theta[run], images[run])
        )


def test_many_weights_on_the_same_images(pair, stack):
    network, _ = pair
    theta, images, _ = stack
    many = torch.stack([theta, theta + 0.1], 1)
    found = network.forward(many, images)
    torch.testing.assert_close(found[:, 0], network.forward(theta, images))
    torch.testing.assert_close(found[:, 1], network.forward(theta + 0.1, images))


def test_backward_is_autograd(pair, stack):
    network, module = pair
    theta, images, labels = stack
    out = torch.full_like(theta, 7.0)

    def cotangent(logits):
        identity = functional.one_hot(labels, OUTPUTS)
        return (functional.softmax(logits, -1) - identity) / labels.shape[1]

    network.backward(theta, images, cotangent, out)
    for run in range(3):
        leaf = theta[run].clone().requires_grad_()
        logits = run_logits(network, module, leaf, images[run])
        functional.cross_entropy(logits, labels[run]).backward()
        torch.testing.assert_close(out[run], leaf.grad)


def test_backward_through_gates_is_autograd():
    network = MLP(64, (7, 6), OUTPUTS)
    torch.manual_seed(0)
    theta = torch.stack([network.initial(seed) for seed in range(3)])
    images, labels = torch.rand(3, 4, 64), torch.randint(0, OUTPUTS, (3, 4))
    gates = [torch.rand(3, 4, width).sub_(0.4) * 3 for width in (7, 6)]
    gates[0].clamp_(min=0)
    out = torch.empty_like(theta)

    def cotangent(logits):
        identity = functional.one_hot(labels, OUTPUTS)
        return (functional.softmax(logits, -1) - identity) / labels.shape[1]

    network.backward(theta, images, cotangent, out, gates)
    for run in range(3):
        leaf = theta[run].clone().requires_grad_()
        value, weights = images[run], network.unstack(leaf)
        for i in range(3):
            value = functional.linear(
                value, weights[f"layers.{i}.weight"], weights[f"layers.{i}.bias"]
            )
            if i < 2:
                value = value.relu() * gates[i][run]
        functional.cross_entropy(value, labels[run]).backward()
        torch.testing.assert_close(out[run], leaf.grad)
    leaf = theta.clone().requires_grad_()
    for gate in gates:
        gate.requires_grad_()
    logits = network.activations(leaf, images, gates)[-1]
    parts = [functional.cross_entropy(*pair) for pair in zip(logits, labels, strict=True)]
    loss = torch.stack(parts).sum()
    by_weights, *by_gates = torch.autograd.grad(loss, [leaf, *gates])
    torch.testing.assert_close(by_weights, out)
    assert all(slope.abs().sum() > 0 for slope in by_gates)


@pytest.mark.parametrize("power", [1, 2])
def test_per_sample_powers_are_those_of_single_gradients(pair, stack, power):
    network, module = pair
    theta, images, _ = stack
    vectors = torch.randn(3, 4, 2, OUTPUTS)
    found = network.per_sample_power(theta, images, vectors, power)
    for run in range(3):
        total = torch.zeros_like(theta[run])
        for sample in range(4):
            for k in range(2):
                leaf = theta[run].clone().requires_grad_()
                logits = run_logits(network, module, leaf, images[run, sample : sample + 1])
                (logits[0] * vectors[run, sample, k]).sum().backward()
                total += leaf.grad.abs() ** power
        torch.testing.assert_close(found[run], total)


def test_initial_weights_depend_on_the_seed_alone(pair):
    network, _ = pair
    first = network.initial(3)
    torch.rand(10)
    assert torch.equal(first, network.initial(3))
    assert not torch.equal(first, network.initial(4))


def test_mlp_starts_as_torch_linear_does():
    network = MLP(400, (300,), 10)
    weight = network.parameters[0].view(network.initial(0))
    assert weight.abs().max() <= 0.05
    assert weight.abs().max() > 0.0499
    assert abs(weight.std() - 0.05 / 3**0.5) < 1e-3


def test_xavier_weights_are_torchs_and_their_biases_zero():
    network = build_network(NetworkConfig(hidden=(300,), init="xavier"), (1, 20, 20), 10)
    weight, bias = (p.view(network.initial(0)) for p in network.parameters[:2])
    expected = torch.nn.init.xavier_uniform_(torch.empty(300, 400))
    assert abs(weight.std() / expected.std() - 1) < 0.01
    assert weight.abs().max() <= (6 / 700) ** 0.5
    assert (bias == 0).all()
    with pytest.raises(ValueError, match="has only 'torch'"):
        NetworkConfig(name="convnet", init="xavier")


def test_statistics_that_cannot_be_a_runs_own_are_refused():
    normalised = nn.BatchNorm1d(64, momentum=None)
    with pytest.raises(ValueError, match="momentum=None"):
        ModuleNetwork(lambda: nn.Sequential(nn.Flatten(), normalised), SHAPE, OUTPUTS)


def testconvnet_has_the_outputs_asked_for():
    network = build_network(NetworkConfig(name="convnet", hidden=(20,)), (1, 28, 28), 10)
    theta = torch.stack([network.initial(0), network.initial(1)])
    assert network.forward(theta, torch.rand(2, 3, 784)).shape == (2, 3, 10)
