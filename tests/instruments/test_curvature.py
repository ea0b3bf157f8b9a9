"""Curvature against dense Hessians of small networks, and where it is known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.modules import ModuleNetwork
from cl_bench.engine.networks import MLP, Network
from cl_bench.engine.tasks import Batch
from cl_bench.instruments.curvature import (
    curvature_along,
    hessian_product,
    leading_eigenvalues,
    probes,
    trace,
)

RUNS = 3


def images(size: int, outputs: int) -> list[Batch]:
    """Return two minibatches of different sizes."""
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(
            torch.rand(RUNS, count, size, generator=generator),
            torch.randint(outputs, (RUNS, count), generator=generator),
            None,
        )
        for count in (40, 25)
    ]


def small_convnet() -> nn.Module:
    layers = [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)]
    return nn.Sequential(*layers)


CASES: dict[str, tuple[Network, int]] = {
    "deep": (MLP(20, (8, 7), 4), 20),
    "mnist": (MLP(784, (2,), 3), 784),
    "convnet": (ModuleNetwork(small_convnet, (1, 6, 6), 3), 36),
}


@pytest.fixture(params=CASES)
def case(request):
    network, size = CASES[request.param]
    theta = torch.stack([network.initial(seed) * 1.5 for seed in range(RUNS)])
    return network, theta, images(size, network.n_outputs)


def one_run(batches: list[Batch], run: int) -> list[Batch]:
    part = slice(run, run + 1)
    return [Batch(b.images[part], b.labels[part], None) for b in batches]


def dense(network: Network, theta: torch.Tensor, batches: list[Batch]) -> torch.Tensor:
    """Return one run's whole Hessian, in float64, by torch's own Hessian."""

    def loss(weights):
        total = sum(
            cross_entropy(network.forward(weights[None], b.images.double()), b)[0, 0]
            * b.labels.shape[1]
            for b in batches
        )
        return total / sum(b.labels.shape[1] for b in batches)

    return torch.func.hessian(loss)(theta.double())


def agrees(found, expected):
    scale = float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4 * scale)


def test_products_are_those_of_the_dense_hessian(case):
    network, theta, batches = case
    vectors = probes("test", range(RUNS), 3, network.size)
    found = hessian_product(network, theta, batches)(vectors)
    whole = dense(network, theta[1], one_run(batches, 1))
    agrees(found[1], vectors[1].double() @ whole)
    layer = network.layer_blocks.pairs[-1]
    for span in (slice(layer[0].start, layer[0].stop), slice(3, network.size - 2)):
        part = hessian_product(network, theta, batches, span)(vectors[..., span])
        agrees(part[1], vectors[1, :, span].double() @ whole[span, span])


def test_leading_eigenvalues_are_the_dense_hessians(case):
    network, theta, batches = case
    product = hessian_product(network, theta, batches)
    start = probes("lanczos", range(RUNS), 1, network.size)[:, 0]
    found = leading_eigenvalues(product, start, 4, 40)
    expected = torch.linalg.eigvalsh(dense(network, theta[2], one_run(batches, 2))).flip(0)[:4]
    torch.testing.assert_close(found.values[2].double(), expected, rtol=1e-4, atol=0)
    assert (found.residuals < 1e-3 * found.values[:, :1]).all()
    along = curvature_along(product, found.vectors)
    torch.testing.assert_close(along, found.values, rtol=1e-3, atol=1e-5)


def test_the_bits_of_a_run_do_not_depend_on_its_company(case):
    network, theta, batches = case
    span = slice(2, network.size)

    def measured(weights, data, seeds):
        product = hessian_product(network, weights, data, span)
        signs = probes("hutchinson", seeds, 3, network.size - 2)
        found = leading_eigenvalues(product, signs[:, 0], 2, 6)
        traced = trace(product, signs)
        return [found.values, found.vectors, found.residuals, traced.value, traced.error]

    together = measured(theta, batches, range(RUNS))
    alone = measured(theta[1:2], one_run(batches, 1), [1])
    for all_runs, one in zip(together, alone, strict=True):
        assert torch.equal(all_runs[1:2], one)


def quadratic(size: int):
    """Matrices with known eigenvalues: 1, 1/2, 1/4 … and two negative ones, turned at random."""
    values = 0.5 ** torch.arange(size, dtype=torch.float32)
    values[-2:] = torch.tensor([-0.3, -2.0])
    turns = torch.linalg.qr(torch.randn(2, size, size, generator=torch.manual_seed(1)))[0]
    matrices = turns @ torch.diag(values) @ turns.transpose(1, 2)
    return values, matrices, lambda vectors: vectors @ matrices


def test_eigenvalues_of_known_matrices_and_an_exhausted_space():
    values, _, product = quadratic(12)
    found = leading_eigenvalues(product, probes("a", [0, 1], 1, 12)[:, 0], 5)
    torch.testing.assert_close(found.values, values[:5].expand(2, 5), rtol=1e-4, atol=1e-6)
    one = torch.zeros(2, 12)
    one[:, 3] = 2.0
    rank_one = leading_eigenvalues(lambda v: v * one.unsqueeze(1), torch.ones(2, 12), 3)
    torch.testing.assert_close(rank_one.values, torch.tensor([[2.0, 0, 0]] * 2), atol=1e-5, rtol=0)
    assert rank_one.vectors.isfinite().all()


def test_the_trace_is_within_its_error():
    _, matrices, product = quadratic(12)
    found = trace(product, probes("trace", [0, 1], 400, 12))
    expected = matrices.diagonal(dim1=1, dim2=2).sum(1)
    assert ((found.value - expected).abs() < 3.5 * found.error).all()
    # Var(v^T A v) of random signs is twice the squared off-diagonal part.
    apart = matrices - torch.diag_embed(matrices.diagonal(dim1=1, dim2=2))
    exact = (2 * apart.square().sum((1, 2)) / 400).sqrt()
    torch.testing.assert_close(found.error, exact, rtol=0.15, atol=0)


def test_a_mask_leaves_outputs_out():
    network, batches = CASES["deep"][0], images(20, 2)
    theta = torch.stack([network.initial(seed) for seed in range(RUNS)])
    mask = torch.tensor([True, True, False, False])
    masked = [Batch(b.images, b.labels, mask) for b in batches]
    span = slice(network.size - 2, network.size)
    found = hessian_product(network, theta, masked, span)(torch.ones(RUNS, 1, 2))
    assert (found == 0).all()
