"""Synaptic intelligence: each weight is held by what its motion contributed to the loss's fall."""

from __future__ import annotations

import torch
from torch import Tensor

from cl_bench.consolidation import Consolidation, ConsolidationSettings
from cl_bench.engine.tasks import TaskData
from cl_bench.precision import Diagonal
from cl_bench.strategy import setting


class SI(Consolidation):
    """Path integral of the task's loss gradient along the weights' way, by weight."""

    title = "SI"
    source = "Zenke et al. 2017, ICML (arXiv 1703.04200), eq. 3-5; strength is twice the paper's c"
    precision: Diagonal | None
    damping: Tensor

    class Settings(ConsolidationSettings):
        """Strength and damping."""

        strength: float = setting(
            1.0, "weight of the penalty (2 c)", low=0, high=1e12, tune=(1e-4, 1e6), log=True
        )
        damping: float = setting(0.1, "xi, keeps the importance bounded", low=1e-9, high=1e3)

    def begin_task(self, task: TaskData) -> None:
        super().begin_task(task)
        self.path = torch.zeros_like(self.theta)
        self.task_start = self.theta.clone()

    def adjust_gradient(self, gradient: Tensor) -> None:
        self.task_gradient = gradient.clone() if self.form == "explicit" else gradient
        self.before = self.theta.clone()
        super().adjust_gradient(gradient)

    def after_step(self) -> None:
        super().after_step()
        self.path.addcmul_(self.task_gradient, self.theta - self.before, value=-1)

    def measure(self, task: TaskData) -> Diagonal:
        omega = self.path.clamp(min=0) / ((self.theta - self.task_start).square() + self.damping)
        if self.precision is not None:
            omega += self.precision.omega
        del self.path, self.task_start, self.before, self.task_gradient  # of this task alone
        return Diagonal(omega, self.theta.clone())
