"""What methods share that turn and shrink every move of a new task by what the past has measured.

A layer's move G [out, in + 1] becomes L G R with matrices of the past. Other than a projection it
lets a little through in every direction, so that it may be applied to each part of the way once.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from cl_bench.engine.linalg import symmetric_eigen
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.projection import Projection


class Preconditioned(Projection):
    """A strategy that multiplies what a layer moved since the last time, from both sides.

    At every step this is gradient descent whose gradient is multiplied, for SGD and momentum,
    whose steps are linear in the gradients. For Adam it multiplies the step.
    """

    maps: list[tuple[Tensor | None, Tensor]] | None = None
    """L [R, out, out], None for the identity, and R [R, in + 1, in + 1] of each held layer."""

    @abstractmethod
    def multipliers(self) -> list[tuple[Tensor | None, Tensor]]:
        """Return L and R of each held layer for the task that begins, which is not the first."""

    def begin_task(self, task: TaskData) -> None:
        super().begin_task(task)
        self.maps = self.multipliers() if task.index else None

    def end_task(self, task: TaskData) -> None:
        super().end_task(task)
        self.maps = None

    def free(self, move: Tensor) -> None:
        assert self.maps is not None
        blocks = self.learner.network.layer_blocks
        for layer, (left, right) in zip(self.held_layers(), self.maps, strict=True):
            block = blocks.block(move, layer)
            kept = torch.bmm(block, right)
            blocks.subtract(move, layer, block - (kept if left is None else torch.bmm(left, kept)))

    def project(self) -> None:
        super().project()
        if self.start is not None:
            self.start = self.theta.clone()


def inverse(matrices: Tensor) -> Tensor:
    """Return the inverses of symmetric positive matrices [R, n, n], in their type.

    Eigenvalues below rounding (1e-7 of the largest) count as that much.
    """
    values, vectors = symmetric_eigen(matrices.double())
    least = 1e-7 * values[:, -1:].clamp(min=torch.finfo(matrices.dtype).tiny)
    scaled = vectors / values.maximum(least).unsqueeze(1)
    return torch.bmm(scaled, vectors.mT).to(matrices.dtype)
