"""What every method shares that holds the weights by a quadratic penalty after each task.

A method says what matters (`measure`); this base explores the end of a task, averages the
anchor, keeps the penalty and applies it, implicitly or as a gradient, at the same terms for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.exploration import Exploration
from cl_bench.methods.fisher import Estimator
from cl_bench.methods.precision import Precision


class Consolidation(Exploration, ABC):
    """A strategy that pulls the weights towards anchors after each training step.

    The penalty is strength * q(theta), q the sum of what `measure` returned after each task. The
    implicit step is theta <- argmin_x 1/2 |x - theta|^2 + rate * strength * q(x), rate the
    optimiser's effective rate times `every`: it is stable at any strength. For SGD and momentum
    it has the fixed points of the explicit form; for Adam, which scales gradients weight by
    weight, it is decoupled and holds otherwise than the penalty's gradient would.
    """

    strength: Tensor = setting(1.0, "weight lambda of the penalty in the loss", low=0, high=1e12)
    form: Literal["implicit", "explicit"] = setting(
        "implicit", "apply the penalty by its implicit step, or add its gradient to the loss's"
    )
    every: int = setting(1, "apply the implicit step once every so many training steps", low=1)

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        self.precision: Precision | None = None

    @classmethod
    def check(cls, settings: dict[str, Any], steps: int, outputs: int) -> None:
        if settings["form"] == "implicit" and settings["every"] > steps:
            raise ValueError(
                f"every={settings['every']}: a task takes only {steps} steps, so that the penalty "
                f"would never act; give at most {steps}"
            )

    @abstractmethod
    def measure(self, task: TaskData) -> Precision:
        """Return the penalty to keep from now on, that of earlier tasks included."""

    def begin_task(self, task: TaskData) -> None:
        if self.precision is not None:
            self.precision.prepare(self.learner.effective_rate * self.strength * self.every)

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        if self.precision is not None and self.form == "explicit":
            gradient += self.strength * self.precision.gradient(self.theta)

    def after_step(self, batch: Batch) -> None:
        due = self.learner.step_number % self.every == 0
        if due and self.precision is not None and self.form == "implicit":
            self.precision.pull(self.theta)

    def end_task(self, task: TaskData) -> None:
        super().end_task(task)
        self.precision = self.measure(task)


class FisherConsolidation(Consolidation):
    """A strategy whose importance is the Fisher information."""

    strength: Tensor = setting(
        10.0, "weight lambda of the penalty", low=0, high=1e12, tune=(1e-2, 1e8), log=True
    )
    fisher: Estimator = setting("exact", "estimator of the Fisher information's diagonal")
    fisher_samples: int = setting(2000, "training images the Fisher is averaged over", low=1)


class SnapshotConsolidation(Consolidation):
    """A strategy whose measure is the fluctuation of the weights over the exploration steps."""

    exploration_steps: int = setting(
        300, "extra training steps at a task's end, whose fluctuation is measured", low=4
    )
    snapshot_every: int = setting(6, "training steps from one snapshot to the next", low=1)

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        steps, every = settings["exploration_steps"], settings["snapshot_every"]
        if steps < 3 * every:
            raise ValueError(
                f"exploration_steps={steps} gives fewer than 3 snapshots at "
                f"snapshot_every={every}; use at least {3 * every}"
            )

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        self._snapshots: list[Tensor] = []

    def visit(self, step: int) -> None:
        super().visit(step)
        if step % self.snapshot_every == 0:
            self._snapshots.append(self.theta.clone())

    def take_snapshots(self) -> list[Tensor]:
        """Return the snapshots [R, D] of this task's exploration, and forget them."""
        taken, self._snapshots = self._snapshots, []
        return taken
