"""Online EWC: one running Fisher information, one anchor, the past decaying by a factor a task."""

from __future__ import annotations

from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.consolidation import FisherConsolidation
from cl_bench.methods.fisher import diagonal_fisher
from cl_bench.methods.precision import Diagonal


class OnlineEWC(FisherConsolidation):
    """All past tasks in one penalty about the weights after the last."""

    title = "Online EWC"
    source = "Schwarz et al. 2018, ICML (arXiv 1805.06370), eq. 8-9"
    precision: Diagonal | None

    decay: Tensor = setting(1.0, "factor gamma on the past's Fisher at each task", low=0, high=1)

    def measure(self, task: TaskData) -> Diagonal:
        fisher = diagonal_fisher(self.learner, task, self.fisher, self.fisher_samples)
        if self.precision is not None:
            fisher += self.decay * self.precision.omega
        return Diagonal(fisher, self.theta.clone())
