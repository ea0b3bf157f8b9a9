"""Elastic weight consolidation: each weight is held by its Fisher information on each past task."""

from __future__ import annotations

import torch

from cl_bench.config import RunConfig
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.consolidation import FisherConsolidation
from cl_bench.methods.fisher import diagonal_fisher
from cl_bench.methods.part import LAYERS, Layers, Part, Within, no_hidden_layers
from cl_bench.methods.precision import Diagonal


class EWC(FisherConsolidation):
    """One quadratic penalty a task, each about its own anchor."""

    title = "EWC"
    source = "Kirkpatrick et al. 2017, PNAS 114 (arXiv 1612.00796), eq. 3"
    precision: Diagonal | Within | None

    layers: Layers = setting("all", LAYERS, later=True)
    most: int = setting(
        0, "weights held for each task, those of most Fisher information; 0: all", low=0, later=True
    )

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        return no_hidden_layers(config)

    def measure(self, task: TaskData) -> Diagonal | Within:
        part = Part(self.learner.network, self.layers)
        fisher = part.take(diagonal_fisher(self.learner, task, self.fisher, self.fisher_samples))
        if 0 < self.most < fisher.shape[1]:
            top = fisher.topk(self.most, 1)
            fisher = torch.zeros_like(fisher).scatter_(1, top.indices, top.values)
        return part.hold(Diagonal(fisher, part.take(self.theta).clone()), self.precision)
