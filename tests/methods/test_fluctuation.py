"""Fluctuations of snapshots: principal components and layer bases against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cl_bench.engine.networks import MLP
from cl_bench.methods.fluctuation import (
    fluctuations,
    kronecker_fluctuation,
    principal_components,
)

NETWORK = MLP(5, (4,), 3)


@pytest.fixture
def snapshots():
    torch.manual_seed(0)
    walk = torch.randn(12, 2, NETWORK.size).cumsum(0)
    return list(walk * torch.rand(NETWORK.size))


@pytest.mark.parametrize("kind", ["increments", "deviations"])
def test_mean_variance_of_a_network_is_one(snapshots, kind):
    moves = fluctuations(snapshots, kind)
    torch.testing.assert_close(moves.square().mean((1, 2)), torch.ones(2))
    stacked = torch.stack(snapshots, 1)
    raw = stacked.diff(dim=1) if kind == "increments" else stacked - stacked.mean(1, keepdim=True)
    ratio = raw / moves
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio), rtol=1e-3, atol=1e-4)


def test_weights_that_do_not_move_give_zeros_not_nan():
    moves = fluctuations([torch.ones(1, 6)] * 4, "increments")
    assert torch.equal(moves, torch.zeros(1, 3, 6))


def test_principal_components_are_those_of_the_svd(snapshots):
    moves = fluctuations(snapshots, "deviations")
    found = principal_components(moves, 5)
    for run in range(2):
        _, values, vectors = np.linalg.svd(moves[run].double().numpy(), full_matrices=False)
        np.testing.assert_allclose(found.variances[run], values[:5] ** 2 / 12, rtol=1e-4)
        overlap = np.abs((found.directions[run].numpy() * vectors[:5]).sum(1))
        np.testing.assert_allclose(overlap, 1, atol=1e-4)


def test_layer_bases_diagonalise_and_keep_the_total_variance(snapshots):
    moves = fluctuations(snapshots, "increments")
    layers = NETWORK.layer_blocks
    first = kronecker_fluctuation(moves, layers, None)
    for i, layer in enumerate(first):
        block = layers.block(moves, i)
        for run in range(2):
            dense = sum(b.T @ b for b in block[run]) / block.shape[1]
            torch.testing.assert_close(layer.factors[1][run], dense)
            turned = layer.right[run].T @ dense @ layer.right[run]
            torch.testing.assert_close(
                turned, torch.diag(turned.diagonal()), atol=1e-4 * float(turned.max()), rtol=0
            )
            coordinates = layer.left[run].T @ block[run] @ layer.right[run]
            torch.testing.assert_close(layer.variance[run], coordinates.square().mean(0))
    both = kronecker_fluctuation(moves, layers, [layer.factors for layer in first])
    torch.testing.assert_close(both[0].factors[0], 2 * first[0].factors[0])


def test_directions_that_the_snapshots_do_not_span_are_zero(snapshots):
    found = principal_components(fluctuations(snapshots[:4], "deviations"), 4)
    products = torch.bmm(found.directions, found.directions.transpose(1, 2))
    expected = torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0])).expand(2, 4, 4)
    torch.testing.assert_close(products, expected, atol=1e-4, rtol=0)
    assert (found.variances[:, 3] == 0).all()
