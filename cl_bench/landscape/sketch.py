"""Principal components of trajectories of many weights, from random projections of every snapshot.

Where the covariance matrix of a trajectory is too large to keep, what it makes of a few hundred
random vectors is enough to find its leading eigenvectors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cl_bench.engine.linalg import symmetric_eigen
from cl_bench.engine.threads import one_thread
from cl_bench.methods.fluctuation import PrincipalComponents

_BLOCK = 128


class Sketch:
    """The covariance seen through random vectors, where it is too large: every snapshot counts.

    Y = C Omega is summed as the snapshots go by, for normal random vectors Omega [N, m], and
    C ~ Y (Omega^T Y)^-1 Y^T (the Nyström approximation of a stream, Tropp et al. 2017, arXiv
    1706.05736, algorithm 3). Memory is N m numbers a run. Has the methods of `Moments`.

    Args:
        vectors: Omega, [R, N, m], with m some more than the components that will be asked for.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.count = 0
        """Snapshots added."""
        self._vectors = vectors
        runs, size, many = vectors.shape
        self._first = vectors.new_zeros(runs, size)
        self._sums = torch.zeros(runs, 2, size, dtype=torch.float64, device=vectors.device)
        self._seen = torch.zeros(runs, size, many, dtype=torch.float64, device=vectors.device)
        self._block: list[Tensor] = []

    def add(self, weights: Tensor) -> None:
        """Add the next snapshot, [R, N]."""
        if not self.count:
            self._first.copy_(weights)
        self._block.append(weights - self._first)
        self.count += 1
        if len(self._block) == _BLOCK:
            self._flush()

    def _flush(self) -> None:
        if not self._block:
            return
        gap = torch.stack(self._block, 1)
        times = torch.arange(self.count - len(self._block), self.count, device=gap.device)
        weights = torch.stack([torch.ones_like(times), times]).to(gap).expand(len(gap), -1, -1)
        self._sums += torch.bmm(weights, gap)
        self._seen += torch.bmm(gap.transpose(1, 2), torch.bmm(gap, self._vectors))
        self._block = []

    def _factor(self, detrended: bool) -> tuple[Tensor, Tensor]:
        """Return B [R, m, N], float64, and nu [R, 1]: B^T B is the covariance and nu more."""
        self._flush()
        mean, timed = (self._sums / self.count).unbind(1)
        vectors = self._vectors.double()
        seen = self._seen / self.count - _product(mean, mean, vectors)
        if detrended:
            time_variance = (self.count**2 - 1) / 12
            drift = (timed - (self.count - 1) / 2 * mean) / time_variance
            seen -= time_variance * _product(drift, drift, vectors)
        # A little of the identity keeps the inner matrix positive definite (the paper's nu).
        little = seen.square().sum((1, 2)).sqrt() * torch.finfo(self._vectors.dtype).eps
        seen += little[:, None, None] * vectors
        inner = torch.bmm(vectors.transpose(1, 2), seen)
        inner = (inner + inner.transpose(1, 2)) / 2
        with one_thread():
            root = torch.linalg.cholesky_ex(inner).L
            factor = torch.linalg.solve_triangular(root, seen.transpose(1, 2), upper=False)
        return factor, little.unsqueeze(1)

    def components(self, *, detrended: bool, count: int | None = None) -> PrincipalComponents:
        """Return the principal components [R, k, N] and their variances [R, k]."""
        factor, little = self._factor(detrended)
        many = min(count or factor.shape[1], factor.shape[1])
        values, mix = symmetric_eigen(torch.bmm(factor, factor.transpose(1, 2)))
        values, mix = values.flip(1)[:, :many], mix.flip(2)[:, :, :many]
        directions = torch.bmm(mix.transpose(1, 2), factor)
        directions /= directions.norm(dim=2, keepdim=True).clamp(min=torch.finfo().tiny)
        return PrincipalComponents(directions, (values - little).clamp(min=0))

    def variance_along(self, directions: Tensor, *, detrended: bool) -> Tensor:
        """Return the variance [R, k] of the snapshots along directions [R, k, N]."""
        factor, little = self._factor(detrended)
        along = torch.bmm(directions.double(), factor.transpose(1, 2)).square().sum(2)
        return (along - little).clamp(min=0)

    def factor(self) -> Tensor:
        """Return [R, m, N], float32, whose transpose times itself is the raw covariance."""
        return self._factor(False)[0].float()


def _product(left: Tensor, right: Tensor, vectors: Tensor) -> Tensor:
    """Return left right^T times vectors [R, N, m], for left and right [R, N]."""
    return left.unsqueeze(2) * torch.bmm(right.unsqueeze(1), vectors)
