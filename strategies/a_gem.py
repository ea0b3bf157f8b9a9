"""Averaged gradient episodic memory: a step may not go uphill on samples kept of past tasks.

Where it would, the part of the gradient that does is taken away.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_bench.engine.linalg import gram
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.replay import TaskReplay


class AGEM(TaskReplay):
    """Projects the gradient off that of a minibatch of the memory where the two are opposed.

    Eq. 11: g - (g . r / r . r) r where g . r < 0, with r the gradient at samples drawn from all
    past tasks. The memory holds as many samples of each task, taken at random (the paper takes the
    last of each class). It is full from the first task on, unless `per_task` gives every task so
    many places and no more, as the paper does.
    """

    title = "A-GEM"
    source = "Chaudhry et al. 2019, ICLR (arXiv 1812.00420), eq. 11"

    per_task: int = setting(
        0, "samples kept of each task; 0 divides the buffer among the tasks", low=0, later=True
    )

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        if settings["per_task"] > settings["buffer_size"]:
            raise ValueError(
                f"per_task={settings['per_task']} is more than the memory has places; give at "
                f"most buffer_size={settings['buffer_size']}"
            )

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        kept = self.replayed()
        if kept is None:
            return
        reference = self.learner.gradient_of(kept)
        rows = torch.stack([gradient, reference], 1)
        along, power = gram(rows, rows)[:, 1].unsqueeze(-1).unbind(1)
        share = torch.where(along < 0, along / power, 0)
        gradient.addcmul_(share.to(gradient.dtype), reference, value=-1)

    def end_task(self, task: TaskData) -> None:
        self.buffer.add_sample(task, self.per_task or self.buffer_size)
