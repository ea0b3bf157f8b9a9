"""The second moments of a weight trajectory, taken as it goes by: memory does not grow with it.

Snapshots are summed in blocks, in float64 about the first of them; mean, straight-line drift and
covariance, with the drift or without it, all come from the same sums. Where the covariance matrix
is too large, snapshots kept now and then stand in, or random projections of all of them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from cl_bench.engine.linalg import gram, symmetric_eigen
from cl_bench.engine.threads import one_thread
from cl_bench.landscape.sketch import Sketch
from cl_bench.methods.fluctuation import PrincipalComponents, principal_components

if TYPE_CHECKING:
    from cl_bench.landscape.dynamics import Dynamics

Kind = Literal["exact", "snapshots", "sketch"]
"""How a trajectory is followed: by its covariance matrix, by snapshots kept now and then and
their Gram matrix, or by random projections of every snapshot."""

_BLOCK = 256
EXACT = 2500
"""More weights than this are followed by snapshots kept now and then."""
_KEPT = 1000
_PROJECTED = 64


class Moments:
    """Mean, drift and covariance of the snapshots of each run.

    Args:
        runs: R.
        size: N, the weights that are watched; the memory is N^2 numbers a run.
        device: where the snapshots are.
    """

    def __init__(self, runs: int, size: int, device: torch.device) -> None:
        self.count = 0
        """Snapshots added."""
        self._first = torch.zeros(runs, size, dtype=torch.float64, device=device)
        self._sum = torch.zeros_like(self._first)
        self._timed = torch.zeros_like(self._first)
        self._square = self._first.new_zeros(runs, size, size)
        self._block: list[Tensor] = []

    def add(self, weights: Tensor) -> None:
        """Add the next snapshot, [R, N]."""
        if not self.count:
            self._first.copy_(weights)
        self._block.append(weights.clone())
        self.count += 1
        if len(self._block) == _BLOCK:
            self._flush()

    def _flush(self) -> None:
        if not self._block:
            return
        gap = torch.stack(self._block, 1).double() - self._first.unsqueeze(1)
        start = self.count - len(self._block)
        times = torch.arange(start, self.count, dtype=gap.dtype, device=gap.device)
        self._sum += gap.sum(1)
        self._timed += (gap * times[:, None]).sum(1)
        self._square.baddbmm_(gap.transpose(1, 2), gap)
        self._block = []

    @property
    def mean(self) -> Tensor:
        """The mean weights, [R, N], float64."""
        self._flush()
        return self._first + self._sum / self.count

    @property
    def drift(self) -> Tensor:
        """The least-squares slope of each weight, [R, N], in units of weight a snapshot."""
        self._flush()
        middle = (self.count - 1) / 2
        return (self._timed - middle * self._sum) / (self.count * self._time_variance)

    @property
    def _time_variance(self) -> float:
        return (self.count**2 - 1) / 12

    def covariance(self, *, detrended: bool) -> Tensor:
        """Return the covariance of the snapshots, [R, N, N], float64.

        Args:
            detrended: take each weight's straight-line drift over the window away first.
        """
        self._flush()
        mean = self._sum / self.count
        found = self._square / self.count - mean.unsqueeze(2) * mean.unsqueeze(1)
        if detrended:
            drift = self.drift
            found -= self._time_variance * drift.unsqueeze(2) * drift.unsqueeze(1)
        return found

    def components(self, *, detrended: bool, count: int | None = None) -> PrincipalComponents:
        """Return principal components p_i [R, k, N] and their variances sigma_i^2 [R, k].

        Args:
            detrended: take each weight's straight-line drift over the window away first.
            count: k, so many leading ones, which takes a third of the time; None is all N.
        """
        covariance = self.covariance(detrended=detrended)
        if count is None or count >= covariance.shape[1]:
            values, vectors = symmetric_eigen(covariance)
        else:
            values, vectors = _leading(covariance, count)
        return PrincipalComponents(vectors.flip(2).transpose(1, 2), values.flip(1).clamp(min=0))

    def variance_along(self, directions: Tensor, *, detrended: bool) -> Tensor:
        """Return the variance [R, k] of the snapshots along directions [R, k, N]."""
        covariance = self.covariance(detrended=detrended)
        rows = directions.double()
        return (torch.bmm(rows, covariance) * rows).sum(2)

    def factor(self) -> Tensor:
        """Return [R, N, N], float32, whose transpose times itself is the raw covariance."""
        covariance = self.covariance(detrended=False)
        diagonal = covariance.diagonal(dim1=1, dim2=2)
        # Weights that never move, and rounding, leave it not quite positive definite.
        diagonal += 1e-9 * diagonal.mean(1, keepdim=True) + torch.finfo(torch.float64).tiny
        with one_thread():
            return torch.linalg.cholesky(covariance, upper=True).float()


class Snapshots:
    """The snapshots themselves, where the weights are too many for their covariance matrix.

    Of all that are added at most a thousand are kept, evenly spaced, and their principal
    components go by the Gram matrix. Has the methods of `Moments`.

    Args:
        runs: R.
        size: N.
        device: where the snapshots are.
        expected: how many will be added.
    """

    def __init__(self, runs: int, size: int, device: torch.device, expected: int) -> None:
        self.count = 0
        self.every = max(1, -(-expected // _KEPT))
        """One in so many is kept."""
        self._kept: list[Tensor] = []

    def add(self, weights: Tensor) -> None:
        """Add the next snapshot, [R, N]."""
        if self.count % self.every == 0:
            self._kept.append(weights.clone())
        self.count += 1

    def _deviations(self, detrended: bool) -> Tensor:
        found = torch.stack(self._kept, 1)
        found -= found.mean(1, keepdim=True)
        if detrended:
            time = torch.arange(found.shape[1], dtype=found.dtype, device=found.device)
            time -= time.mean()
            drift = (found * time[:, None]).sum(1, keepdim=True) / time.square().sum()
            found -= time[:, None] * drift
        return found

    def components(self, *, detrended: bool, count: int | None = None) -> PrincipalComponents:
        """Return the principal components [R, k, N] there are and their variances [R, k]."""
        moves = self._deviations(detrended)
        return principal_components(moves, count or moves.shape[1])

    def variance_along(self, directions: Tensor, *, detrended: bool) -> Tensor:
        """Return the variance [R, k] of the snapshots along directions [R, k, N]."""
        moves = self._deviations(detrended)
        return torch.bmm(moves, directions.transpose(1, 2)).square().mean(1)

    def factor(self) -> Tensor:
        """Return [R, n, N] whose transpose times itself is the raw covariance."""
        moves = self._deviations(False)
        return moves / moves.shape[1] ** 0.5


class Projections:
    """The snapshots along some directions, all of them kept.

    Args:
        directions: unit vectors p_i, [R, k, N].
        origin: what is taken away from every snapshot, [R, N].
        steps: how many snapshots there will be.
    """

    def __init__(self, directions: Tensor, origin: Tensor, steps: int) -> None:
        self._directions, self._origin = directions, origin.clone()
        runs, many, _ = directions.shape
        self._found = directions.new_empty(runs, steps, many)
        self._done = 0
        self._block: list[Tensor] = []

    def add(self, weights: Tensor) -> None:
        """Add the next snapshot, [R, N]."""
        self._block.append(weights - self._origin)
        if len(self._block) == _PROJECTED:
            self._flush()

    def _flush(self) -> None:
        if self._block:
            stop = self._done + len(self._block)
            self._found[:, self._done : stop] = gram(torch.stack(self._block, 1), self._directions)
            self._done = stop
            self._block.clear()

    @property
    def path(self) -> Tensor:
        """The snapshots added, [R, T, k]."""
        self._flush()
        return self._found[:, : self._done]


class MovingMean:
    """Gives on how far each snapshot is from the mean of those around it.

    Drift of every shape that is slower than that is gone.

    Args:
        width: snapshots in the mean.
        to: is given the deviations; so many snapshots at either end have none.
    """

    def __init__(self, width: int, to: Trajectory) -> None:
        self.width, self.to = width, to
        self._kept: deque[Tensor] = deque()
        self._sum = torch.zeros(())

    def add(self, weights: Tensor) -> None:
        """Add the next snapshot, [R, N]."""
        self._kept.append(weights.clone())
        self._sum = self._sum + weights.double()
        if len(self._kept) == self.width:
            self.to.add((self._kept[self.width // 2] - self._sum / self.width).float())
            self._sum = self._sum - self._kept.popleft()


def _leading(matrices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues [R, k], ascending, and eigenvectors [R, n, k], as `eigh`'s."""
    from scipy.linalg import eigh

    size = matrices.shape[1]
    values, vectors = [], []
    for matrix in matrices.cpu():
        if not bool(matrix.isfinite().all()):  # a run that has diverged stays so, by itself
            matrix = torch.eye(size, dtype=matrix.dtype)
        found = eigh(matrix.numpy(), subset_by_index=[size - count, size - 1], driver="evr")
        values.append(torch.from_numpy(found[0]))
        vectors.append(torch.from_numpy(found[1]))
    return torch.stack(values).to(matrices.device), torch.stack(vectors).to(matrices.device)


Trajectory = Moments | Snapshots | Sketch


def follow(
    kind: Kind | None, dynamics: Dynamics, size: int, *, expected: int, count: int
) -> Trajectory:
    """Return what takes in a trajectory.

    Args:
        kind: how; None is exact where the covariance matrix is small enough, else by snapshots.
        dynamics: the stack in training.
        size: N, the weights that are watched.
        expected: how many snapshots there will be.
        count: how many principal components will be asked for.
    """
    kind = kind or ("exact" if size <= EXACT else "snapshots")
    runs, device = len(dynamics.seeds), dynamics.device
    if kind == "exact":
        return Moments(runs, size, device)
    if kind == "snapshots":
        return Snapshots(runs, size, device, expected)
    return Sketch(dynamics.normal("sketch", size, min(2 * count + 20, size)))
