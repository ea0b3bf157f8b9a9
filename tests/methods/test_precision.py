"""Quadratic penalties: their implicit steps and gradients against dense linear algebra."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cl_bench.engine.linalg import symmetric_eigen
from cl_bench.engine.networks import MLP
from cl_bench.engine.state import give, take
from cl_bench.methods.kronecker import Eigenbasis, Kronecker
from cl_bench.methods.precision import Diagonal, LowRank, Precision, Several

NETWORK = MLP(3, (4,), 2)
RUNS, D = 2, NETWORK.size


def dense(precision: Precision) -> tuple[torch.Tensor, torch.Tensor]:
    """Return P [R, D, D] and where the gradient vanishes [R, D], from `gradient` alone."""
    zero = precision.gradient(torch.zeros(RUNS, D, dtype=torch.float64))
    columns = []
    for i in range(D):
        unit = torch.zeros(RUNS, D, dtype=torch.float64)
        unit[:, i] = 1
        columns.append(precision.gradient(unit) - zero)
    matrix = torch.stack(columns, 2)
    return matrix, -torch.linalg.lstsq(matrix, zero.unsqueeze(-1), driver="gelsd").solution[..., 0]


def orthogonal(runs: int, size: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(runs, size, size, dtype=torch.float64)).Q


def make(shape: str) -> Any:
    torch.manual_seed(1)
    anchor = torch.randn(RUNS, D, dtype=torch.float64)
    diagonal = Diagonal(torch.rand(RUNS, D, dtype=torch.float64), anchor)
    if shape == "diagonal":
        return diagonal
    if shape.startswith("low-rank"):
        directions = torch.randn(RUNS, 3, D, dtype=torch.float64)
        scale = torch.rand(RUNS, 3, dtype=torch.float64)
        return LowRank.about(directions, scale, anchor, diagonal if "+" in shape else None)
    layers = NETWORK.layer_blocks
    sizes = [layers.block(anchor, i).shape[1:] for i in range(len(layers))]
    cut = 2 if "truncated" in shape else 0
    precision = Kronecker(
        NETWORK,
        [basis_of(rows, columns, cut) for rows, columns in sizes],
        [torch.rand(RUNS, rows, columns - cut, dtype=torch.float64) for rows, columns in sizes],
        [torch.rand(RUNS, rows, 1, dtype=torch.float64) * bool(cut) for rows, _ in sizes],
        anchor,
    )
    if "floor" in shape:
        precision.row_floor = 3 * torch.rand(RUNS, 1, dtype=torch.float64)
    return precision


def basis_of(rows: int, columns: int, cut: int = 0) -> Eigenbasis:
    """Return a basis of any values that leaves out so many of the input directions."""
    values = (torch.rand(RUNS, size, dtype=torch.float64) for size in (rows, columns - cut, 1))
    right = orthogonal(RUNS, columns)[:, :, cut:].clone()
    return Eigenbasis(orthogonal(RUNS, rows), right, *values)


def by_coordinate(precision: Kronecker) -> torch.Tensor:
    """Return the matrix of a Kronecker penalty from its coordinates, one at a time."""
    total = torch.zeros(RUNS, D, D, dtype=torch.float64)
    for layer, basis in enumerate(precision.bases):
        weight, bias = precision.layers.pairs[layer]
        kept = basis.right.shape[2]
        for run in range(RUNS):
            whole = torch.linalg.qr(basis.right[run], mode="complete").Q
            right = torch.cat([basis.right[run], whole[:, kept:]], 1)
            outside = precision.rest[layer][run].expand(-1, right.shape[1] - kept)
            scale = torch.cat([precision.scale[layer][run], outside], 1)
            for i, u in enumerate(basis.left[run].T):
                for j, v in enumerate(right.T):
                    unit = torch.zeros(D, dtype=torch.float64)
                    weight.view(unit).copy_(torch.outer(u, v)[:, :-1])
                    bias.view(unit).copy_(torch.outer(u, v)[:, -1])
                    held = scale[i, j] + precision.row_floor[run, 0] * scale[:, j].mean()
                    total[run] += held * torch.outer(unit, unit)
    return total


KRONECKERS = ("kronecker", "kronecker truncated", "kronecker truncated with a floor")
SHAPES = ("diagonal", "low-rank", "low-rank+diagonal", *KRONECKERS)


@pytest.mark.parametrize("shape", KRONECKERS)
def test_a_kronecker_penalty_holds_each_coordinate_and_what_lies_outside(shape):
    precision = make(shape)
    torch.testing.assert_close(precision.to_matrix(), by_coordinate(precision))


@pytest.mark.parametrize("rank", [0, 3])
def test_a_basis_gives_back_the_factors_that_it_was_made_of(rank):
    rows, columns = (torch.randn(RUNS, 5, 5, dtype=torch.float64) for _ in range(2))
    rows, columns = rows @ rows.mT, columns @ columns.mT
    basis = Eigenbasis.of(rows, columns, rank)
    found_rows, found_columns = basis.factors()
    torch.testing.assert_close(found_rows, rows)
    if rank:
        values, vectors = torch.linalg.eigh(columns)
        values[:, :2] = values[:, :2].mean(1, keepdim=True)
        columns = vectors * values.unsqueeze(1) @ vectors.mT
    torch.testing.assert_close(found_columns, columns)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rate", [0.01, 3.0, 1e6])
def test_pull_is_the_exact_implicit_step(shape, rate):
    precision = make(shape)
    matrix, _ = dense(precision)
    theta = torch.randn(RUNS, D, dtype=torch.float64)
    rates = torch.tensor([[rate], [2 * rate]], dtype=torch.float64)
    # argmin 1/2 |x - theta|^2 + rate q(x): (1 + rate P) x = theta - rate (grad q(0))
    zero = precision.gradient(torch.zeros_like(theta))
    system = torch.eye(D, dtype=torch.float64) + rates.unsqueeze(-1) * matrix
    expected = torch.linalg.solve(system, theta - rates * zero)
    precision.prepare(rates)
    precision.pull(theta)
    torch.testing.assert_close(theta, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_precision_is_symmetric_and_not_negative(shape):
    matrix, _ = dense(make(shape))
    torch.testing.assert_close(matrix, matrix.transpose(1, 2))
    assert torch.linalg.eigvalsh(matrix).min() > -1e-9


@pytest.mark.parametrize("shape", SHAPES)
def test_as_a_matrix_it_is_what_its_gradient_says(shape):
    precision = make(shape)
    torch.testing.assert_close(precision.to_matrix(), dense(precision)[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rate", [1e-12, 1e12, 1e38])
def test_pull_is_finite_at_any_rate(shape, rate):
    precision = make(shape)
    for name, value in vars(precision).items():
        if isinstance(value, torch.Tensor):
            setattr(precision, name, value.float())
    if isinstance(precision, LowRank) and precision.diagonal is not None:
        precision.diagonal = Diagonal(
            precision.diagonal.omega.float(), precision.diagonal.anchor.float()
        )
    if isinstance(precision, Kronecker):
        for basis in precision.bases:
            for name, value in vars(basis).items():
                setattr(basis, name, value.float())
        for name in ("scale", "rest"):
            setattr(precision, name, [v.float() for v in getattr(precision, name)])
    theta = torch.randn(RUNS, D)
    precision.prepare(torch.full((RUNS, 1), rate))
    for _ in range(3):
        precision.pull(theta)
    assert theta.isfinite().all()
    assert theta.abs().max() < 1e3


@pytest.mark.parametrize("shape", ["diagonal", "low-rank", "low-rank+diagonal"])
def test_a_sum_keeps_each_anchor(shape):
    first, second = make(shape), make(shape)
    torch.manual_seed(2)
    if isinstance(second, Diagonal):
        second.anchor = torch.randn(RUNS, D, dtype=torch.float64)
    else:
        second.target = torch.randn_like(second.target)
    theta = torch.randn(RUNS, D, dtype=torch.float64)
    both = first.plus(second)
    torch.testing.assert_close(both.gradient(theta), first.gradient(theta) + second.gradient(theta))
    torch.testing.assert_close(both.to_matrix(), first.to_matrix() + second.to_matrix())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_sum_of_low_ranks_keeps_the_diagonal_that_one_alone_has(order):
    parts = make("low-rank"), make("low-rank+diagonal")
    first, second = (parts[i] for i in order)
    theta = torch.randn(RUNS, D, dtype=torch.float64)
    both = first.plus(second)
    torch.testing.assert_close(both.to_matrix(), first.to_matrix() + second.to_matrix())
    torch.testing.assert_close(both.gradient(theta), first.gradient(theta) + second.gradient(theta))


@pytest.mark.parametrize("shapes", [SHAPES, ("kronecker", "kronecker")])
def test_several_penalties_are_the_sum_of_their_matrices(shapes):
    parts = [make(shape) for shape in shapes]
    both, theta = Several(parts), torch.randn(RUNS, D, dtype=torch.float64)
    torch.testing.assert_close(both.to_matrix(), sum(part.to_matrix() for part in parts))
    torch.testing.assert_close(both.gradient(theta), sum(part.gradient(theta) for part in parts))


@pytest.mark.parametrize("shape", KRONECKERS[:2])
def test_a_kronecker_penalty_takes_in_another_as_far_as_it_is_diagonal_in_its_basis(shape):
    first, second = make("kronecker"), make(shape)
    cut = 2 if "truncated" in shape else 0
    second.bases = [basis_of(scale.shape[1], scale.shape[2], cut) for scale in first.scale]
    decay = torch.tensor([0.5, 2.0], dtype=torch.float64).view(RUNS, 1, 1)
    basis = torch.linalg.eigh(first.to_matrix()).eigenvectors  # its coordinates: none is twice
    summed = first.to_matrix() + decay * second.to_matrix()
    first.take_in(second, decay)
    inside, wanted = (basis.mT @ matrix @ basis for matrix in (first.to_matrix(), summed))
    diagonal = wanted.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(inside, torch.diag_embed(diagonal))
    assert not torch.allclose(inside, wanted), "the sum of two Kronecker products is none"


def test_a_weight_without_importance_is_left_alone():
    nothing = Diagonal(torch.zeros(1, 3), torch.full((1, 3), torch.pi))
    both = nothing.plus(nothing)
    theta = torch.ones(1, 3)
    both.prepare(torch.tensor([[1e9]]))
    both.pull(theta)
    assert torch.equal(theta, torch.ones(1, 3))


def test_the_strongest_directions_are_those_of_the_svd():
    torch.manual_seed(3)
    anchor = torch.randn(1, D, dtype=torch.float64)
    directions = torch.randn(1, 6, D, dtype=torch.float64)
    scale = torch.rand(1, 6, dtype=torch.float64)
    full = LowRank.about(directions, scale, anchor)
    half = LowRank.about(directions[:, :3], scale[:, :3], anchor)
    cut = half.plus(LowRank.about(directions[:, 3:], scale[:, 3:], anchor), rank=2)
    values, vectors = torch.linalg.eigh(dense_of(full))
    best = vectors[:, -2:] * values[-2:] @ vectors[:, -2:].T
    torch.testing.assert_close(dense_of(cut), best)


def dense_of(precision: LowRank) -> torch.Tensor:
    q = precision.directions[0]
    return q.T * precision.scale[0] @ q


def test_merging_into_another_basis_keeps_the_exact_diagonal():
    precision = make("kronecker")
    assert isinstance(precision, Kronecker)
    other = basis_of(4, 4)
    found, _ = precision.diagonal_in(0, other)
    matrix, _ = dense(precision)
    weight, bias = precision.layers.pairs[0]
    for run in range(RUNS):
        for i in range(4):
            for j in range(4):
                block = torch.outer(other.left[run, :, i], other.right[run, :, j])
                unit = torch.zeros(D, dtype=torch.float64)
                weight.view(unit).copy_(block[:, :-1])
                bias.view(unit).copy_(block[:, -1])
                expected = unit @ matrix[run] @ unit
                torch.testing.assert_close(found[run, i, j], expected)


def test_eigenvectors_diagonalise_whatever_a_diverged_run_holds():
    factor = torch.randn(2, 5, 5)
    factor = factor @ factor.transpose(1, 2)
    expected = symmetric_eigen(factor)[1]
    with_diverged = torch.cat([factor, torch.full((1, 5, 5), torch.nan)])
    basis = symmetric_eigen(with_diverged)[1][:2]
    assert torch.equal(basis, expected)
    turned = basis.transpose(1, 2) @ factor @ basis
    torch.testing.assert_close(
        turned, torch.diag_embed(turned.diagonal(dim1=1, dim2=2)), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_state_round_trips(shape):
    precision = make(shape)
    live = {"network": NETWORK}
    kept = take(SimpleNamespace(precision=precision), live)
    owner = SimpleNamespace()
    give(owner, kept, live)
    theta = torch.randn(RUNS, D, dtype=torch.float64)
    assert torch.equal(precision.gradient(theta), owner.precision.gradient(theta))
    assert type(owner.precision) is type(precision)
