"""Hold every weight alike at its value after the last task: consolidation without a measure."""

from __future__ import annotations

import torch
from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.consolidation import Consolidation
from cl_bench.methods.precision import Diagonal


class L2(Consolidation):
    """Importance 1 for every weight."""

    title = "L2"
    source = "Kirkpatrick et al. 2017 (arXiv 1612.00796), the control of fig. 2; Hsu et al. 2018"

    strength: Tensor = setting(
        0.03, "weight of the penalty", low=0, high=1e12, tune=(1e-4, 1e3), log=True
    )

    def measure(self, task: TaskData) -> Diagonal:
        return Diagonal(torch.ones_like(self.theta), self.theta.clone())
