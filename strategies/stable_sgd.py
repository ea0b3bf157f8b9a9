"""Stable SGD: a training regime that forgets less, with no mechanism against forgetting.

Dropout leads to flatter minima, and a learning rate that falls from task to task moves later
tasks less far away from the earlier ones' minima.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cl_bench.engine.networks import MLP
from cl_bench.engine.settings import setting
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch, TaskData


class StableSGD(Strategy):
    """Dropout in the hidden layers, and the rate times `decay` at each new task.

    The paper's third part, small minibatches, is the protocol's to set. The first task has the
    protocol's rate; the authors' code decays that one as well, and stops at a rate of 5e-5.
    """

    title = "Stable SGD"
    source = "Mirzadeh et al. 2020, NeurIPS (arXiv 2006.06958), section 4"
    networks = frozenset({"mlp"})

    dropout: Tensor = setting(
        0.25, "probability that a hidden unit is left out", low=0, high=0.95, tune=(0.0, 0.6)
    )
    decay: Tensor = setting(
        0.6, "factor gamma on the learning rate at each new task", low=0, high=1, tune=(0.2, 1)
    )

    def begin_task(self, task: TaskData) -> None:
        if task.index > 0:
            optimizer = self.learner.optimizer
            optimizer.set_rate(optimizer.learning_rate * self.decay)

    def begin_step(self, batch: Batch) -> Batch:
        network = self.learner.network
        assert isinstance(network, MLP)
        hidden = network.sizes[1:-1]
        left_out = self.dropout.unsqueeze(-1)
        u = self.learner.uniform("dropout", batch.labels.shape[1], sum(hidden))
        # What stays is made larger, so that nothing is to be done at test time.
        kept = torch.where(u < left_out, 0.0, 1 / (1 - left_out))
        return replace(batch, gates=kept.split(hidden, -1))
