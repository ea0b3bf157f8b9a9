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
from cl_bench.engine.linalg import gram, symmetric_eigen
from cl_bench.engine.networks import Network
from cl_bench.methods.precision import Kronecker

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


@dataclass(frozen=True)
class LayerFluctuation:
    """The fluctuation of one layer's matrix [out, in + 1] in a Kronecker eigenbasis."""

    left: Tensor
    """U, [R, out, out]."""
    right: Tensor
    """V, [R, in + 1, in + 1]."""
    variance: Tensor
    """Mean square of each coordinate of U^T dW V, [R, out, in + 1]."""
    factors: tuple[Tensor, Tensor]
    """Sum dW dW^T and sum dW^T dW, each over n, earlier tasks' included."""


def kronecker_fluctuation(
    moves: Tensor, layers: LayerBlocks, earlier: Sequence[tuple[Tensor, Tensor]] | None
) -> list[LayerFluctuation]:
    """Return each layer's fluctuation in the eigenbasis of its accumulated row and column factors.

    Args:
        moves: fluctuations of all weights, [R, n, D].
        layers: the network's layers.
        earlier: the factors accumulated over earlier tasks, to be added to.
    """
    found = []
    for layer in range(len(layers)):
        block = layers.block(moves, layer)
        runs, count, rows, columns = block.shape
        tall = block.reshape(runs, count * rows, columns)
        wide = block.transpose(1, 2).reshape(runs, rows, count * columns)
        row_factor = torch.bmm(wide, wide.transpose(1, 2)).div_(count)
        column_factor = torch.bmm(tall.transpose(1, 2), tall).div_(count)
        if earlier is not None:
            row_factor += earlier[layer][0]
            column_factor += earlier[layer][1]
        left, right = symmetric_eigen(row_factor)[1], symmetric_eigen(column_factor)[1]
        turned = torch.bmm(tall, right).view(runs, count, rows, columns).transpose(1, 2)
        turned = torch.bmm(left.transpose(1, 2), turned.reshape(runs, rows, count * columns))
        variance = turned.square_().view(runs, rows, count, columns).mean(2)
        found.append(LayerFluctuation(left, right, variance, (row_factor, column_factor)))
    return found


def kronecker_penalty(
    moves: Tensor, power: Tensor, network: Network, anchor: Tensor, past: Kronecker | None
) -> Kronecker:
    """Return the penalty (variance / mean variance)^power in each layer's Kronecker eigenbasis.

    Args:
        moves: fluctuations of all weights, [R, n, D].
        power: [R, 1].
        network: whose weights these are.
        anchor: where they are held, [R, D].
        past: the earlier tasks' penalty, which is taken in.
    """
    found = kronecker_fluctuation(
        moves, network.layer_blocks, None if past is None else past.factors
    )
    joined = Kronecker(
        network,
        [layer.left for layer in found],
        [layer.right for layer in found],
        [layer.variance.pow(power.unsqueeze(-1)) for layer in found],
        [layer.factors for layer in found],
        anchor,
    )
    if past is not None:
        joined.take_in(past)
    return joined
