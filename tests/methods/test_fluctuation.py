"""Fluctuations of snapshots: principal components and layer bases against dense linear algebra."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from cl_bench.engine.networks import MLP
from cl_bench.methods.fluctuation import (
    Motion,
    as_large,
    column_moments,
    fluctuations,
    in_units_of_the_mean,
    principal_components,
    row_moments,
)
from cl_bench.methods.kronecker import Kronecker

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


def test_moments_of_the_motion_are_those_of_its_increments(snapshots):
    layers, motion = NETWORK.layer_blocks, Motion()
    for theta in snapshots:
        motion.add(theta, layers)
    for layer, (rows, columns) in enumerate(zip(motion.rows, motion.columns, strict=True)):
        for run in range(2):
            pairs = pairwise(layers.block(theta, layer)[run] for theta in snapshots)
            moves = [after - before for before, after in pairs]
            torch.testing.assert_close(rows[run], sum(d @ d.T for d in moves))
            torch.testing.assert_close(columns[run], sum(d.T @ d for d in moves))


def test_a_kronecker_precision_has_the_margins_of_the_variance_in_units_of_its_mean(snapshots):
    moves, layers = fluctuations(snapshots, "increments"), NETWORK.layer_blocks
    moments = row_moments(moves, layers), column_moments(moves, layers)
    factors = in_units_of_the_mean(*moments, NETWORK.size)
    held = Kronecker.joined(NETWORK, factors, None, snapshots[-1])
    for layer, basis in enumerate(held.bases):
        for run in range(2):
            turned = basis.left[run].T @ layers.block(moves, layer)[run] @ basis.right[run]
            variance = turned.square().mean(0)
            for axis in (0, 1):
                found = held.scale[layer][run].sum(axis)
                torch.testing.assert_close(found, variance.sum(axis), rtol=1e-3, atol=1e-4)
    total = sum(scale.sum((1, 2)) for scale in held.scale)
    torch.testing.assert_close(total / NETWORK.size, torch.ones(2))


def test_rows_alone_are_the_same_and_another_column_factor_keeps_the_mean(snapshots):
    layers, both, alone = NETWORK.layer_blocks, Motion(), Motion()
    for theta in snapshots:
        both.add(theta, layers)
        alone.add(theta, layers, columns=False)
    assert not alone.columns
    for one, other in zip(both.rows, alone.rows, strict=True):
        assert torch.equal(one, other)
    inputs = [torch.rand(2, 30, columns.shape[1]) for columns in both.columns]
    columns = [as_large(x.mT @ x, b) for x, b in zip(inputs, alone.rows, strict=True)]
    factors = in_units_of_the_mean(alone.rows, columns, NETWORK.size)
    held = Kronecker.joined(NETWORK, factors, None, snapshots[-1])
    total = sum(scale.sum((1, 2)) for scale in held.scale)
    torch.testing.assert_close(total / NETWORK.size, torch.ones(2))
    for layer, (_, column) in enumerate(factors):
        ratio = column / (inputs[layer].mT @ inputs[layer])
        torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio))


def test_directions_that_the_snapshots_do_not_span_are_zero(snapshots):
    found = principal_components(fluctuations(snapshots[:4], "deviations"), 4)
    products = torch.bmm(found.directions, found.directions.transpose(1, 2))
    expected = torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0])).expand(2, 4, 4)
    torch.testing.assert_close(products, expected, atol=1e-4, rtol=0)
    assert (found.variances[:, 3] == 0).all()
