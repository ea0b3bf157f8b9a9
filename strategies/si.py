"""Synaptic intelligence: each weight is held by what its motion contributed to the loss's fall."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from cl_bench.engine.strategy import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.consolidation import Consolidation, ConsolidationSettings
from cl_bench.methods.precision import Diagonal


class SI(Consolidation):
    """Path integral of the task's loss gradient along the weights' way, by weight."""

    title = "SI"
    source = "Zenke et al. 2017, ICML (arXiv 1703.04200), eq. 3-5; strength is twice the paper's c"
    precision: Diagonal | None
    damping: Tensor
    clamp: bool
    path: str

    class Settings(ConsolidationSettings):
        """Strength and damping."""

        strength: float = setting(
            1.0, "weight of the penalty (2 c)", low=0, high=1e12, tune=(1e-4, 1e6), log=True
        )
        damping: float = setting(0.1, "xi, keeps the importance bounded", low=1e-9, high=1e3)
        clamp: bool = setting(
            True, "take a task's importance for 0 where its path integral is negative", later=True
        )
        path: Literal["task", "total"] = setting(
            "task",
            "whose gradient is integrated: the task's loss's, or with the penalty",
            later=True,
        )

        @model_validator(mode="after")
        def _bounded(self) -> Self:
            if self.form == "implicit" and not self.clamp:
                raise ValueError("clamp=false: a negative importance needs form=explicit")
            if self.form == "implicit" and self.path == "total":
                raise ValueError("path=total: the penalty has a gradient with form=explicit alone")
            return self

    def begin_task(self, task: TaskData) -> None:
        super().begin_task(task)
        self.integral = torch.zeros_like(self.theta)
        self.task_start = self.theta.clone()

    def adjust_gradient(self, gradient: Tensor) -> None:
        apart = self.form == "explicit" and self.path == "task"
        self.followed = gradient.clone() if apart else gradient
        self.before = self.theta.clone()
        super().adjust_gradient(gradient)

    def after_step(self) -> None:
        super().after_step()
        self.integral.addcmul_(self.followed, self.theta - self.before, value=-1)

    def measure(self, task: TaskData) -> Diagonal:
        integral = self.integral.clamp(min=0) if self.clamp else self.integral
        omega = integral / ((self.theta - self.task_start).square() + self.damping)
        if self.precision is not None:
            omega += self.precision.omega
        del self.integral, self.task_start, self.before, self.followed  # of this task alone
        return Diagonal(omega, self.theta.clone())
