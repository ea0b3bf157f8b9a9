"""L2 Init: every weight is held alike at its initial value, so that the network stays trainable.

Weights that no recent loss needs drift back to where learning was easy. It keeps up the ability
to learn more than what was learnt.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.consolidation import Consolidation
from cl_bench.methods.precision import Diagonal


class L2Init(Consolidation):
    """One penalty from the first step on, about the weights before any training."""

    title = "L2 Init"
    source = "Kumar et al. 2023 (arXiv 2308.11958), the loss of section 4; strength is 2 lambda"
    precision: Diagonal

    strength: Tensor = setting(
        1e-4, "weight of the penalty (2 lambda)", low=0, high=1e12, tune=(1e-6, 1e-2), log=True
    )

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        self.precision = Diagonal(torch.ones_like(self.strength), learner.initial)

    def measure(self, task: TaskData) -> Diagonal:
        return self.precision
