"""Gradient episodic memory: a step may not raise the loss on the samples kept of any past task.

Where it would, the nearest step is taken that does not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.linalg import gram, nonnegative_minimum
from cl_bench.engine.settings import setting
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.replay import Buffer


class GEM(Strategy):
    """Projects the gradient g onto the cone where it opposes no past task's gradient.

    With the rows of G the gradients at each past task's memory, the step is g + G^T v, where v >=
    margin minimises 1/2 v^T G G^T v + g^T G^T v (eq. 11 and the margin below it), and g itself
    where G g >= 0 already. The memory of a task is a uniform sample of it, taken at its end: in
    law the paper's, the last samples of a shuffled stream.
    """

    title = "GEM"
    source = "Lopez-Paz & Ranzato 2017, NeurIPS (arXiv 1706.08840), eq. 11, algorithm 1"
    keeps_samples = True

    memory_per_task: int = setting(256, "samples kept of each task", low=1)
    margin: Tensor = setting(
        0.5, "gamma, least weight of each past task's gradient", low=0, high=100, tune=(0, 1)
    )

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        self.memories: list[Buffer] = []

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        if not self.memories:
            return
        past = [self.learner.gradient_of(memory.all()) for memory in self.memories]
        rows = torch.stack([*past, gradient], 1)
        products = gram(rows, rows)
        inner, along = products[:, :-1, :-1], products[:, :-1, -1]
        opposed = (along < 0).any(1, keepdim=True)
        if not opposed.any():
            return
        least = self.margin.to(along.dtype).expand_as(along)
        # In v - margin, whose bound is 0, the linear term is along + G G^T margin.
        linear = along + torch.bmm(least.unsqueeze(1), inner).squeeze(1)
        v = (least + nonnegative_minimum(inner, linear)).to(gradient.dtype)
        push = torch.bmm(v.unsqueeze(1), rows[:, :-1]).squeeze(1)
        gradient.copy_(torch.where(opposed, gradient + push, gradient))

    def end_task(self, task: TaskData) -> None:
        memory = Buffer(self.learner, min(self.memory_per_task, task.epoch_samples))
        memory.add_sample(task, memory.capacity)
        self.memories.append(memory)
