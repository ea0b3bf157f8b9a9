"""What methods share that go on training for a while at a task's end and average the weights.

The weights' mean over these exploration steps is a better solution than any of them; methods
that get it and methods that do not cannot be compared, so that it is one setting for all.
"""

from __future__ import annotations

from typing import Any

import torch

from cl_bench.engine.settings import setting
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import TaskData


class Exploration(Strategy):
    """A strategy that explores at constant rate at each task's end."""

    exploration_steps: int = setting(300, "extra training steps at a task's end", low=0)
    average_weights: bool = setting(
        True, "end a task at the weights' mean over its exploration steps, not at the last ones"
    )

    @classmethod
    def extra_steps(cls, settings: dict[str, Any]) -> int:
        return int(settings["exploration_steps"])

    @property
    def at_rest(self) -> bool:
        """Whether the weights are where the strategy wants them after this step."""
        return True

    def visit(self, step: int) -> None:
        if step == 1:
            self.explored = torch.zeros_like(self.theta)
            self.averaged = 0
        if self.at_rest:
            self.explored += self.theta
            self.averaged += 1

    def end_task(self, task: TaskData) -> None:
        if not self.exploration_steps:
            return
        if self.average_weights and self.averaged:
            self.theta.copy_(self.explored.div_(self.averaged))
        del self.explored, self.averaged
