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


def gram(rows: Tensor, others: Tensor, block: int = 8192) -> Tensor:
    """Return rows [R, n, D] times others [R, m, D] transposed, [R, n, m], in float64.

    Summed over blocks of D, so that no float64 copy of the whole is ever made.
    """
    total = rows.new_zeros(rows.shape[0], rows.shape[1], others.shape[1], dtype=torch.float64)
    for a, b in zip(rows.split(block, 2), others.split(block, 2), strict=True):
        total.baddbmm_(a.double(), b.double().transpose(1, 2))
    return total
