"""What every method shares that holds the weights by a quadratic penalty after each task.

A method says what matters (`measure`); this base explores the end of a task, averages the
anchor, keeps the penalty and applies it, implicitly or as a gradient, at the same terms for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.networks import MLP
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.exploration import Exploration
from cl_bench.methods.fisher import Estimator
from cl_bench.methods.fluctuation import Motion, as_large, in_units_of_the_mean
from cl_bench.methods.kronecker import Kronecker, accumulated
from cl_bench.methods.layerwise import layer_inputs, second_moment
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
            self.prepare(self.precision, self.learner.effective_rate * self.every, task)

    def prepare(self, precision: Precision, rate: Tensor, task: TaskData) -> None:
        """Fix the implicit steps of a task.

        Args:
            precision: what holds the weights.
            rate: effective learning rate times `every`, [R, 1].
            task: the task about to be trained.
        """
        precision.prepare(rate * self.strength)

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        if self.precision is not None and self.form == "explicit":
            gradient += self.strength * self.precision.gradient(self.theta)

    @property
    def at_rest(self) -> bool:
        """Whether the weights were pulled after this step, where they are pulled at all."""
        due = self.learner.step_number % self.every == 0
        return due or self.precision is None or self.form == "explicit"

    def after_step(self, batch: Batch) -> None:
        if self.precision is not None and self.form == "implicit" and self.at_rest:
            self.precision.pull(self.theta)

    def end_task(self, task: TaskData) -> None:
        super().end_task(task)
        self.precision = self.measure(task)


class KroneckerConsolidation(Consolidation, ABC):
    """A strategy that may hold the weights in Kronecker form, with a floor under a layer's rows.

    What is measured at a task's end tells which combinations of a layer's outputs the task needs
    as the network then is. Few classes need few, and leave the other rows free to move: what they
    do with the inputs of old tasks changes those combinations themselves. Where a task trains
    outputs that earlier tasks have trained, and these constrained r combinations of them
    (`Kronecker.outputs_constrained`), each input direction is therefore also held in every row, by
    row_floor / r^2 times what it is held by in the mean of the rows: two classes constrain one
    combination, ten about eight. Outputs of a task's own (heads, new classes) get no floor.
    """

    row_floor: Tensor = setting(
        0.0,
        "holds each input direction in every row, in units of the rows' mean, where r = 1",
        low=0,
        high=1e12,
        later=True,
    )
    input_rank: int = setting(
        0, "input directions of a layer that are told apart; 0 is all", low=0, later=True
    )

    def prepare(self, precision: Precision, rate: Tensor, task: TaskData) -> None:
        if isinstance(precision, Kronecker):
            of_task = self.learner.outputs.of_task
            own, seen = of_task[self.learner.task], of_task[: self.learner.task].any(0)
            shared = (own & seen).sum() / own.sum()
            precision.row_floor = self.row_floor * shared / precision.outputs_constrained.square()
        super().prepare(precision, rate, task)


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
            self.take_snapshot()

    def take_snapshot(self) -> None:
        """Take in the weights as they are at this step of the exploration."""
        self._snapshots.append(self.theta.clone())

    def take_snapshots(self) -> list[Tensor]:
        """Return the snapshots [R, D] of this task's exploration, and forget them."""
        taken, self._snapshots = self._snapshots, []
        return taken


class FluctuationConsolidation(KroneckerConsolidation, SnapshotConsolidation):
    """A strategy that may hold a layer by B x A, B how its rows fluctuate, A what comes into it.

    SGD moves a layer's matrix by signal input^T: the moves' row factor B = sum dW dW^T says which
    of its outputs the loss depends on. Their column factor sum dW^T dW is the inputs' second
    moment as far as samples still have an error; "inputs" takes that of all samples alike, from
    forward passes alone, as large as the motion's. Networks that are not an MLP have the motion's.
    """

    gamma: Tensor = setting(1.0, "power of the variance that gives the precision", low=0, high=4)
    columns: Literal["inputs", "motion"] = setting(
        "motion",
        "column factor of the Kronecker form: the layer's inputs', or that of the weights' motion",
        later=True,
    )
    input_samples: int = setting(
        2000, "inputs: training images whose inputs are averaged", low=1, later=True
    )

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        self._motion = Motion()

    @property
    def by_layer(self) -> bool:
        """Whether each layer's moments of the increments are all that is taken of the snapshots."""
        return True

    @property
    def of_inputs(self) -> bool:
        """Whether a layer's column factor is that of its inputs, which an MLP tells."""
        return self.columns == "inputs" and isinstance(self.learner.network, MLP)

    def take_snapshot(self) -> None:
        if self.by_layer:
            blocks = self.learner.network.layer_blocks
            self._motion.add(self.theta, blocks, columns=not self.of_inputs)
        else:
            super().take_snapshot()

    def moments(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return sum dW dW^T and, where they are wanted, sum dW^T dW of each layer; forget them."""
        taken, self._motion = self._motion, Motion()
        return taken.rows, taken.columns

    def kronecker(self, task: TaskData) -> Kronecker:
        """Return the penalty of this task in Kronecker form, with the earlier ones taken in."""
        past, anchor, network = self.precision, self.theta.clone(), self.learner.network
        assert past is None or isinstance(past, Kronecker)
        rows, columns = self.moments()
        if self.of_inputs:
            inputs = self._input_moments(task)
            columns = [as_large(each, row) for each, row in zip(inputs, rows, strict=True)]
        factors = in_units_of_the_mean(rows, columns, anchor.shape[1])
        return Kronecker.joined(
            network, factors, past, anchor, rank=self.input_rank, power=self.gamma
        )

    def _input_moments(self, task: TaskData) -> list[Tensor]:
        """Return the sum of x x^T over samples of the task, x the input of each layer and a 1."""
        learner, total = self.learner, list[Tensor]()
        for batch in task.sample(self.input_samples, "inputs"):
            inputs = layer_inputs(learner.network, self.theta, batch.images)
            total = accumulated(total, [second_moment(x) for x in inputs])
            learner.count_passes(batch.labels.shape[1] / learner.batch_size / 3)
        return total
