"""What may look at a stack while it trains: a probe measures weights and changes nothing in them.

The engine knows this contract alone; what is measured is up to whoever passes a probe in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.state import State, give, take
from cl_bench.engine.tasks import TaskData

Findings = dict[int, dict[str, Tensor]]
"""By task: what was found of it, each [R], by the columns of the record's landscape table."""


class Probe(ABC):
    """Looks at a stack in training; strategies do not see it, and it costs them nothing.

    It draws no random numbers but from streams of its own, and whatever it keeps is its state:
    tensors have the runs as their first axis.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    @abstractmethod
    def due(self, step: int, steps: int) -> bool:
        """Return whether it looks at the weights after a task's step (1 … `steps`).

        Extra steps at a task's end are not counted, and not looked at.
        """

    @abstractmethod
    def look(self) -> None:
        """Look at the weights after a step that was due."""

    @abstractmethod
    def end_task(self, task: TaskData) -> Findings:
        """Measure after a task's end, what the strategy does there included.

        Args:
            task: the training data of that task alone, still at hand.
        """

    def state(self) -> State:
        """Return everything that it keeps."""
        return take(self, {"learner": self.learner}, {"learner"})

    def load_state(self, kept: State) -> None:
        """Take back what `state` returned."""
        give(self, kept, {"learner": self.learner}, {"learner"})

    def bytes_kept(self) -> int:
        """Return the bytes of `state` that one run keeps."""
        return self.state().nbytes // self.learner.runs
