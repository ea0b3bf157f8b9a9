"""Elastic weight consolidation: each weight is held by its Fisher information on each past task."""

from __future__ import annotations

from cl_bench.engine.tasks import TaskData
from cl_bench.methods.consolidation import FisherConsolidation
from cl_bench.methods.fisher import diagonal_fisher
from cl_bench.methods.precision import Diagonal


class EWC(FisherConsolidation):
    """One quadratic penalty a task, each about its own anchor."""

    title = "EWC"
    source = "Kirkpatrick et al. 2017, PNAS 114 (arXiv 1612.00796), eq. 3"
    precision: Diagonal | None

    def measure(self, task: TaskData) -> Diagonal:
        fisher = diagonal_fisher(self.learner, task, self.fisher, self.fisher_samples)
        new = Diagonal(fisher, self.theta.clone())
        return new if self.precision is None else self.precision.plus(new)
