"""One Kronecker product in place of the sum of two: B0 x A0 + B1 x A1 is none, and is made one.

Both ways return rows c0 B0 + c1 B1 and columns d0 A0 + d1 A1; they differ in the four numbers.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cl_bench.engine.linalg import symmetric_eigen, trace

Pair = tuple[Tensor, Tensor]
"""B [R, out, out] and A [R, in + 1, in + 1]."""
Sum = Literal["trace", "kl"]

_ROUNDS = 100
"""Of the alternating minimisation: its error falls geometrically and is rounding by then."""


def kronecker_sum(first: Pair, second: Pair, rule: Sum) -> Pair:
    """Return the product of Kronecker form that stands for the sum of two, in their type.

    Args:
        first: positive definite.
        second: not negative.
        rule: "trace" is (B0 + pi B1) x (A0 + A1 / pi) with pi^2 = tr B0 tr A1 / (tr B1 tr A0),
            which minimises a bound on the trace of what is too much (Martens & Grosse 2015,
            arXiv 1503.05671, section 6.3). "kl" minimises the Kullback-Leibler divergence of the
            normal distributions whose precisions the product and the sum are.
    """
    (b0, a0), (b1, a1) = ([m.double() for m in pair] for pair in (first, second))
    tiny = torch.finfo(b0.dtype).tiny
    pi = (trace(b0) * trace(a1) / (trace(b1) * trace(a0)).clamp(min=tiny)).sqrt()
    pi = torch.where(pi > 0, pi, 1.0)  # where the second is 0
    rows, columns = (torch.ones_like(pi), pi), (torch.ones_like(pi), 1 / pi)
    if rule == "kl":
        rows, columns = _alternate(rows, columns, _relative(b0, b1), _relative(a0, a1))
    made = _mix(rows, b0, b1), _mix(columns, a0, a1)
    return made[0].to(first[0].dtype), made[1].to(first[1].dtype)


def _alternate(rows: Pair, columns: Pair, left: Tensor, right: Tensor) -> tuple[Pair, Pair]:
    """Return the weights that minimise the divergence, one side's after the other's.

    Given E, the minimum over F is (tr(E^-1 B0) A0 + tr(E^-1 B1) A1) / out, and likewise for E
    given F: each round lowers the divergence.

    Args:
        rows: weights of B0 and B1, [R, 1].
        columns: weights of A0 and A1, [R, 1].
        left: eigenvalues of B1 where B0 is the identity, [R, out].
        right: eigenvalues of A1 where A0 is the identity, [R, in + 1].
    """
    for _ in range(_ROUNDS):
        columns = _traces(rows, left)
        rows = _traces(columns, right)
    return rows, columns


def _traces(weights: Pair, values: Tensor) -> Pair:
    share = 1 / (weights[0] + weights[1] * values)
    return share.mean(1, keepdim=True), (share * values).mean(1, keepdim=True)


def _relative(base: Tensor, other: Tensor) -> Tensor:
    """Return the eigenvalues [R, n] of `other` in the coordinates where `base` is the identity."""
    values, vectors = symmetric_eigen(base)
    least = 1e-12 * values[:, -1:].clamp(min=torch.finfo(base.dtype).tiny)
    white = vectors * values.maximum(least).rsqrt().unsqueeze(1)
    return symmetric_eigen(torch.bmm(white.mT, torch.bmm(other, white)))[0].clamp(min=0)


def _mix(weights: Pair, first: Tensor, second: Tensor) -> Tensor:
    return weights[0].unsqueeze(2) * first + weights[1].unsqueeze(2) * second
