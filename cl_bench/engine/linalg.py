"""Dense linear algebra for a whole stack, where no run can change the result of another."""

from __future__ import annotations

import torch
from torch import Tensor

from cl_bench.engine.threads import one_thread


def symmetric_eigen(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues [R, n], ascending, and eigenvectors [R, n, n] of symmetric matrices.

    A run that has diverged has a matrix that is not finite; it gets the identity's, and stays
    diverged, where LAPACK would give up on the whole stack. Computed in float64: in float32 LAPACK
    gives up on matrices of low rank, too.
    """
    exact = matrices.double()
    exact = (exact + exact.transpose(1, 2)) / 2
    finite = exact.isfinite().all(2).all(1)[:, None, None]
    identity = torch.eye(exact.shape[-1], dtype=exact.dtype, device=exact.device)
    with one_thread():
        values, vectors = torch.linalg.eigh(torch.where(finite, exact, identity))
    return values.to(matrices.dtype), vectors.to(matrices.dtype)


def trace(matrices: Tensor) -> Tensor:
    """Return the traces [R, 1] of matrices [R, n, n]."""
    return matrices.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)


def gram(rows: Tensor, others: Tensor, block: int = 8192) -> Tensor:
    """Return rows [R, n, D] times others [R, m, D] transposed, [R, n, m], in float64.

    Summed over blocks of D, so that no float64 copy of the whole is ever made.
    """
    total = rows.new_zeros(rows.shape[0], rows.shape[1], others.shape[1], dtype=torch.float64)
    for a, b in zip(rows.split(block, 2), others.split(block, 2), strict=True):
        total.baddbmm_(a.double(), b.double().transpose(1, 2))
    return total


def nonnegative_minimum(matrices: Tensor, linear: Tensor) -> Tensor:
    """Return x >= 0, [R, n], that minimises 1/2 x^T A x + b^T x, for matrices A and linear b.

    The active-set method of Lawson & Hanson (1974, Solving Least Squares Problems, ch. 23), for all
    runs at once: exact after finitely many steps. Where A is singular, a ridge of 1e-12 of its
    diagonal chooses one of the minima. A run that is not finite gets 0.

    Args:
        matrices: A, [R, n, n], float64, symmetric and not indefinite.
        linear: b, [R, n], float64.
    """
    size = linear.shape[1]
    identity = torch.eye(size, dtype=linear.dtype, device=linear.device)
    done = ~(matrices.isfinite().all(2).all(1) & linear.isfinite().all(1))
    a = torch.where(done[:, None, None], identity, matrices)
    b = torch.where(done[:, None], 0, linear)
    # On the scale where A has a diagonal of ones, the ridge is as small for every variable.
    power = a.diagonal(dim1=1, dim2=2)
    unit = torch.where(power > 0, power, 1).rsqrt()
    a = a * unit.unsqueeze(1) * unit.unsqueeze(2) + 1e-12 * identity
    b = b * unit
    tolerance = 1e-11 * b.abs().amax(1, keepdim=True)
    x, free = torch.zeros_like(b), torch.zeros_like(b, dtype=torch.bool)
    tiny = torch.finfo(b.dtype).tiny
    for _ in range(4 * size + 4):
        both = free.unsqueeze(1) & free.unsqueeze(2)
        target = torch.where(free, -b, 0).unsqueeze(2)
        target = torch.linalg.solve_ex(torch.where(both, a, identity), target)[0].squeeze(2)
        # As far towards the minimum over the free variables as all of them stay positive.
        blocks = free & (target <= 0) & ~done.unsqueeze(1)
        share = torch.where(blocks, x / (x - target).clamp(min=tiny), 1)
        step = share.amin(1, keepdim=True)
        reached = ~blocks.any(1, keepdim=True)
        x = torch.where(reached, target, (x + step * (target - x)).clamp(min=0))
        leaves = blocks & (share <= step)
        x, free = x.masked_fill(leaves, 0), free & ~leaves
        # Over: unless the sum falls where one more variable, that of the steepest fall, is freed.
        slope = torch.where(free, 0, b + torch.bmm(x.unsqueeze(1), a).squeeze(1))
        lowest, place = slope.min(1, keepdim=True)
        done |= (reached & (lowest >= -tolerance)).squeeze(1)
        enters = torch.zeros_like(free).scatter_(1, place, reached & ~done.unsqueeze(1))
        free = free | enters
        if bool(done.all()):
            break
    return x * unit
