"""How a network's weights fluctuate under SGD: variance by weight, by direction, by layer basis.

Everything starts from snapshots of the weights taken while training goes on at a constant rate
(the exploration of a task's end), as in Feng & Tu, arXiv 2001.01678.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cl_bench.engine.layout import LayerBlocks
from cl_bench.engine.linalg import gram, symmetric_eigen, trace
from cl_bench.engine.state import Kept
from cl_bench.methods.kronecker import Factors, accumulated
from cl_bench.methods.layerwise import second_moment

Kind = Literal["increments", "deviations"]


def fluctuations(snapshots: Sequence[Tensor], kind: Kind) -> Tensor:
    """Return what varies between snapshots, in units of the network's mean deviation.

    Args:
        snapshots: weights [R, D] at equal distances in steps, at least two.
        kind: "increments" from each snapshot to the next, or "deviations" from their mean.

    Returns:
        [R, n, D], scaled so that the variance of a weight averaged over each network is 1.
    """
    stacked = torch.stack(list(snapshots), 1)
    if kind == "increments":
        moves = stacked[:, 1:] - stacked[:, :-1]
    else:
        moves = stacked - stacked.mean(1, keepdim=True)
    # Row by row first: the order of additions then depends on D and n alone.
    mean_square = moves.square().mean(2).mean(1).clamp(min=torch.finfo(moves.dtype).tiny)
    return moves.div_(mean_square.sqrt()[:, None, None])


@dataclass(frozen=True)
class PrincipalComponents:
    """The leading directions of fluctuations."""

    directions: Tensor
    """p_i as orthonormal rows, [R, k, D], in falling order of variance; where the fluctuations
    span fewer than k dimensions, the last rows are zero."""
    variances: Tensor
    """sigma_i^2, [R, k]."""


def principal_components(moves: Tensor, count: int) -> PrincipalComponents:
    """Return the leading principal components of fluctuations [R, n, D], by their Gram matrix.

    n is far smaller than D: the eigenvectors of the n x n Gram matrix give the directions.
    """
    count = min(count, moves.shape[1])
    values, vectors = symmetric_eigen(gram(moves, moves))
    values, vectors = values[:, -count:].flip(1), vectors[:, :, -count:].flip(2)
    # Deviations from a mean span one direction less than there are snapshots.
    real = values > 1e-10 * values[:, :1]
    values = torch.where(real, values, torch.zeros_like(values))
    scale = torch.where(real, values.rsqrt(), torch.zeros_like(values))
    mix = (vectors * scale.unsqueeze(1)).to(moves.dtype)
    directions = torch.bmm(mix.transpose(1, 2), moves)
    return PrincipalComponents(directions, (values / moves.shape[1]).to(moves.dtype))


def row_moments(moves: Tensor, layers: LayerBlocks) -> list[Tensor]:
    """Return sum dW dW^T of each layer, [R, out, out].

    Args:
        moves: changes of all weights, [R, n, D].
        layers: the network's layers.
    """
    wide = [layers.block(moves, layer).transpose(1, 2).flatten(2) for layer in range(len(layers))]
    return [torch.bmm(block, block.mT) for block in wide]


def column_moments(moves: Tensor, layers: LayerBlocks) -> list[Tensor]:
    """Return sum dW^T dW of each layer, [R, in + 1, in + 1], of changes [R, n, D]."""
    return [second_moment(layers.block(moves, layer).flatten(1, 2)) for layer in range(len(layers))]


class Motion(Kept):
    """The moments of the weights' changes from one snapshot to the next, none of which is kept."""

    def __init__(self) -> None:
        self.last: Tensor | None = None
        self.rows: list[Tensor] = []
        self.columns: list[Tensor] = []

    def add(self, theta: Tensor, layers: LayerBlocks, columns: bool = True) -> None:
        """Take a snapshot [R, D]: its change since the last one is added to the moments.

        Args:
            theta: the weights.
            layers: the network's layers.
            columns: whether `columns` are wanted, too; they take most of the time.
        """
        if self.last is not None:
            moves = (theta - self.last).unsqueeze(1)
            self.rows = accumulated(self.rows, row_moments(moves, layers))
            if columns:
                self.columns = accumulated(self.columns, column_moments(moves, layers))
        self.last = theta.clone()


def as_large(columns: Tensor, rows: Tensor) -> Tensor:
    """Return a column factor [R, in + 1, in + 1] scaled to the trace of B [R, out, out]."""
    share = trace(rows) / trace(columns).clamp(min=torch.finfo(columns.dtype).tiny)
    return columns * share.unsqueeze(-1)


def in_units_of_the_mean(rows: Sequence[Tensor], columns: Sequence[Tensor], size: int) -> Factors:
    """Return B and A of each layer, whose product is each coordinate's variance by its margins.

    The variance of a coordinate u^T dW v is taken as u^T (sum dW dW^T) u times v^T (sum dW^T dW) v
    over the layer's sum of squares, which has the right mean for each u and each v, and is divided
    by the mean variance of the network's weights.

    Args:
        rows: sum dW dW^T of each layer, [R, out, out].
        columns: sum dW^T dW of each layer, [R, in + 1, in + 1].
        size: D, the number of weights.
    """
    totals = [trace(each) for each in rows]
    mean = torch.cat(totals, 1).sum(1, keepdim=True) / size
    tiny = torch.finfo(mean.dtype).tiny
    unit = [(total * mean).clamp(min=tiny).sqrt().unsqueeze(-1) for total in totals]
    return [(b / root, a / root) for b, a, root in zip(rows, columns, unit, strict=True)]
