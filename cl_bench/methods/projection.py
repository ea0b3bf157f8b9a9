"""What methods share that, in a new task, move the weights only where past tasks leave them free.

A method says which part of a move is not free; this base takes it out of the way gone since the
task began.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from cl_bench.config import Scenario
from cl_bench.engine.settings import setting
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch, TaskData


class Projection(Strategy, ABC):
    """A strategy that projects the way from the task's first weights.

    At every step this is the projection of each gradient, for SGD and momentum, whose ways are
    sums of gradients. For Adam, whose ways are not, it keeps to the free directions all the same.
    """

    every: int = setting(20, "project once every so many training steps; 1 is as published", low=1)
    start: Tensor | None = None

    @abstractmethod
    def free(self, move: Tensor) -> None:
        """Take out of a move [R, D], in place, the part that would disturb past tasks."""

    @abstractmethod
    def remember(self, task: TaskData) -> None:
        """Hold from now on what a task that was just learnt needs."""

    def begin_task(self, task: TaskData) -> None:
        if task.index:
            self.start = self.theta.clone()

    def after_step(self, batch: Batch) -> None:
        if self.learner.step_number % self.every == 0:
            self.project()

    def end_task(self, task: TaskData) -> None:
        self.project()
        self.start = None
        self.remember(task)

    def held_layers(self) -> range:
        """Return the numbers of the layers that past tasks hold.

        Where each task has outputs of its own, the last one is free.
        """
        own_head = self.learner.scenario is Scenario.TASK
        return range(len(self.learner.network.layer_blocks) - own_head)

    def project(self) -> None:
        """Take out of the way gone in this task what would disturb past ones."""
        if self.start is None:
            return
        move = self.theta - self.start
        self.free(move)
        self.theta.copy_(self.start + move)
