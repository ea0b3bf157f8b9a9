"""Synaptic intelligence: each weight is held by what its motion contributed to the loss's fall."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.consolidation import Consolidation
from cl_bench.methods.precision import Diagonal


class SI(Consolidation):
    """Path integral of the task's loss gradient along the weights' way, by weight."""

    title = "SI"
    source = "Zenke et al. 2017, ICML (arXiv 1703.04200), eq. 3-5; strength is twice the paper's c"
    precision: Diagonal | None

    strength: Tensor = setting(
        1.0, "weight of the penalty (2 c)", low=0, high=1e12, tune=(1e-4, 1e6), log=True
    )
    damping: Tensor = setting(0.1, "xi, keeps the importance bounded", low=1e-9, high=1e3)
    clamp: bool = setting(
        True, "take a task's importance for 0 where its path integral is negative", later=True
    )
    path: Literal["task", "total"] = setting(
        "task",
        "whose gradient is integrated: the task's loss's, or with the penalty",
        later=True,
    )

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        if settings["form"] == "implicit" and not settings["clamp"]:
            raise ValueError("clamp=false: a negative importance needs form=explicit")
        if settings["form"] == "implicit" and settings["path"] == "total":
            raise ValueError("path=total: the penalty has a gradient with form=explicit alone")

    def begin_task(self, task: TaskData) -> None:
        super().begin_task(task)
        self.integral = torch.zeros_like(self.theta)
        self.task_start = self.theta.clone()

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        apart = self.form == "explicit" and self.path == "task"
        self.followed = gradient.clone() if apart else gradient
        self.before = self.theta.clone()
        super().adjust_gradient(gradient, batch)

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.integral.addcmul_(self.followed, self.theta - self.before, value=-1)

    def measure(self, task: TaskData) -> Diagonal:
        integral = self.integral.clamp(min=0) if self.clamp else self.integral
        omega = integral / ((self.theta - self.task_start).square() + self.damping)
        if self.precision is not None:
            omega += self.precision.omega
        del self.integral, self.task_start, self.before, self.followed  # of this task alone
        return Diagonal(omega, self.theta.clone())
