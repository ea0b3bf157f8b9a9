"""Shapes of a quadratic penalty: which combinations of weights are held, how strongly, and where.

A `Precision` is a quadratic q(theta) = 1/2 (theta - anchor)^T P (theta - anchor) with P diagonal,
of low rank, or diagonal in a Kronecker eigenbasis (`methods.kronecker`). Each knows the implicit
step on q, which cannot diverge however large P is, its gradient, and how to take in another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from cl_bench.engine.linalg import gram, symmetric_eigen
from cl_bench.engine.state import Kept

LARGEST = 1e30
"""Products of rate and precision are cut here, far inside float32's range."""


def shrinkage(stiffness: Tensor) -> Tensor:
    """Return k / (1 + k), the share of a displacement that the implicit step takes back."""
    k = stiffness.clamp(max=LARGEST)
    return k / (1 + k)


class Precision(Kept, ABC):
    """A quadratic penalty on the weights of each run of a stack."""

    @abstractmethod
    def prepare(self, rate: Tensor) -> None:
        """Fix the rate [R, 1] (learning rate times strength) of the implicit steps to come."""

    @abstractmethod
    def pull(self, theta: Tensor) -> None:
        """Take the implicit step in place: theta <- argmin_x 1/2 |x - theta|^2 + rate * q(x)."""

    @abstractmethod
    def gradient(self, theta: Tensor) -> Tensor:
        """Return the gradient of q at theta, [R, D]."""

    @abstractmethod
    def to_matrix(self) -> Tensor:
        """Return P, [R, D, D]: for small networks, to look at it and to test."""


class Diagonal(Precision):
    """Every weight is held by itself.

    Args:
        omega: importance of each weight, [R, D], not negative.
        anchor: where the weights are held, [R, D].
    """

    def __init__(self, omega: Tensor, anchor: Tensor) -> None:
        self.omega = omega
        self.anchor = anchor
        self._share: Tensor | None = None

    def prepare(self, rate: Tensor) -> None:
        self._share = shrinkage(rate * self.omega)

    def pull(self, theta: Tensor) -> None:
        assert self._share is not None, "prepare() comes first"
        theta.lerp_(self.anchor, self._share)

    def gradient(self, theta: Tensor) -> Tensor:
        return self.omega * (theta - self.anchor)

    def to_matrix(self) -> Tensor:
        return torch.diag_embed(self.omega)

    def plus(self, other: Diagonal) -> Diagonal:
        """Return the sum of two penalties, each about its own anchor, up to a constant.

        A sum of quadratics is one quadratic about their weighted mean, so that separate anchors
        for any number of tasks need the memory of one.
        """
        omega = self.omega + other.omega
        share = torch.where(omega > 0, other.omega / omega, torch.ones_like(omega))
        return Diagonal(omega, torch.lerp(self.anchor, other.anchor, share))


class LowRank(Precision):
    """A few directions of weight space are held; optionally every weight a little as well.

    q(theta) = 1/2 sum_i scale_i (q_i . theta - target_i)^2, plus the diagonal's penalty if given.

    Args:
        directions: unit vectors q_i as rows, [R, k, D]; they need not be orthogonal.
        scale: [R, k], not negative.
        target: q_i . anchor, [R, k].
        diagonal: a diagonal penalty to add.
    """

    def __init__(
        self, directions: Tensor, scale: Tensor, target: Tensor, diagonal: Diagonal | None = None
    ) -> None:
        self.directions = directions
        self.scale = scale
        self.target = target
        self.diagonal = diagonal

    @classmethod
    def about(
        cls, directions: Tensor, scale: Tensor, anchor: Tensor, diagonal: Diagonal | None = None
    ) -> LowRank:
        """Return the penalty that holds the directions at an anchor [R, D]."""
        return cls(directions, scale, _project(directions, anchor), diagonal)

    def prepare(self, rate: Tensor) -> None:
        # With M = 1 + rate * omega and B = directions * sqrt(rate * scale):
        # (M + B^T B)^-1 = M^-1 - M^-1 B^T (1 + B M^-1 B^T)^-1 B M^-1   (Woodbury).
        # The small matrix is formed in float64: it is 1 + something positive to that precision.
        if self.diagonal is not None:
            self.diagonal.prepare(rate)
        self._root = (rate * self.scale).clamp(max=LARGEST).sqrt()
        scaled = self._root.unsqueeze(-1) * self.directions
        self._damped = scaled
        if self.diagonal is not None:
            self._damped = scaled / (1 + (rate * self.diagonal.omega).clamp(max=LARGEST))[:, None]
        values, vectors = symmetric_eigen(gram(scaled, self._damped))
        inverse = vectors / (1 + values.clamp(min=0)).unsqueeze(1)
        self._inverse = torch.bmm(inverse, vectors.transpose(1, 2)).to(scaled.dtype)

    def pull(self, theta: Tensor) -> None:
        if self.diagonal is not None:
            self.diagonal.pull(theta)
        gap = (self._root * (_project(self.directions, theta) - self.target)).unsqueeze(1)
        push = torch.bmm(gap, self._inverse.transpose(1, 2))
        theta -= torch.bmm(push, self._damped).squeeze(1)

    def gradient(self, theta: Tensor) -> Tensor:
        gap = self.scale * (_project(self.directions, theta) - self.target)
        total = torch.bmm(gap.unsqueeze(1), self.directions).squeeze(1)
        return total if self.diagonal is None else total + self.diagonal.gradient(theta)

    def to_matrix(self) -> Tensor:
        total = torch.bmm((self.scale.unsqueeze(2) * self.directions).mT, self.directions)
        return total if self.diagonal is None else total + self.diagonal.to_matrix()

    def plus(self, other: LowRank, rank: int | None = None) -> LowRank:
        """Return the sum of two penalties, each about its own anchor.

        Args:
            other: the penalty to add.
            rank: keep this many of the strongest combined directions; None keeps them all.
        """
        diagonal = self.diagonal or other.diagonal
        if self.diagonal is not None and other.diagonal is not None:
            diagonal = self.diagonal.plus(other.diagonal)
        joined = LowRank(
            torch.cat([self.directions, other.directions], 1),
            torch.cat([self.scale, other.scale], 1),
            torch.cat([self.target, other.target], 1),
            diagonal,
        )
        if rank is None or joined.scale.shape[1] <= rank:
            return joined
        return joined._strongest(rank)

    def _strongest(self, rank: int) -> LowRank:
        """Return the best approximation by `rank` orthonormal directions."""
        root = self.scale.sqrt()
        scaled = root.unsqueeze(-1) * self.directions
        values, vectors = symmetric_eigen(gram(scaled, scaled))
        values = values[:, -rank:].clamp(min=1e-12).to(scaled.dtype)
        mix = vectors[:, :, -rank:].to(scaled.dtype).transpose(1, 2) / values.sqrt().unsqueeze(-1)
        target = torch.bmm((root * self.target).unsqueeze(1), mix.transpose(1, 2)).squeeze(1)
        return LowRank(torch.bmm(mix, scaled), values, target, self.diagonal)


def _project(directions: Tensor, theta: Tensor) -> Tensor:
    """Return the coordinates [R, k] of theta [R, D] along directions [R, k, D]."""
    # A row times a matrix: as a matrix times a column, one run alone takes another kernel.
    return torch.bmm(theta.unsqueeze(1), directions.transpose(1, 2)).squeeze(1)


class Several(Precision):
    """The sum of several penalties, each kept as it is.

    Its implicit step is theirs, one after another: as stable, and to first order in the rate the
    step on the sum, which has no closed form.

    Args:
        parts: the penalties.
    """

    def __init__(self, parts: Sequence[Precision]) -> None:
        self.parts = list(parts)

    def prepare(self, rate: Tensor) -> None:
        for part in self.parts:
            part.prepare(rate)

    def pull(self, theta: Tensor) -> None:
        for part in self.parts:
            part.pull(theta)

    def gradient(self, theta: Tensor) -> Tensor:
        total = torch.zeros_like(theta)
        for part in self.parts:
            total += part.gradient(theta)
        return total

    def to_matrix(self) -> Tensor:
        return torch.stack([part.to_matrix() for part in self.parts]).sum(0)
