"""Shrink and perturb: each task starts from smaller weights with some fresh noise in them.

Shrinking keeps what the network says but makes it less sure, so that a new task's gradients are
not drowned; the noise brings back units that no longer learn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import TaskData


class ShrinkAndPerturb(Strategy):
    """theta <- shrink * theta + perturb * fresh initial weights, before each task but the first.

    As in the authors' code, the noise is a network's initial weights, which have the right size
    layer by layer. Fresh ones are the run's own initial weights in a new order in each parameter.
    """

    title = "Shrink and perturb"
    source = "Ash & Adams 2020, NeurIPS (arXiv 1910.08475), section 4; the authors' code"

    shrink: Tensor = setting(0.9, "factor lambda on the weights", low=0, high=1, tune=(0.3, 1.0))
    perturb: Tensor = setting(
        0.1, "factor on the fresh initial weights", low=0, high=10, tune=(0.01, 1.0), log=True
    )

    def begin_task(self, task: TaskData) -> None:
        if task.index > 0:
            self.theta.mul_(self.shrink).addcmul_(self.perturb, self._fresh())

    def _fresh(self) -> Tensor:
        learner = self.learner
        numbers = learner.uniform("fresh weights", learner.network.size)
        fresh = torch.empty_like(self.theta)
        for parameter in learner.network.parameters:
            span = slice(parameter.start, parameter.stop)
            order = numbers[:, span].argsort(dim=1, stable=True)
            fresh[:, span] = learner.initial[:, span].gather(1, order)
        return fresh
