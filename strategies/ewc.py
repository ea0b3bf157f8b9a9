"""Elastic weight consolidation: each weight is held by its Fisher information on each past task."""

from __future__ import annotations

from cl_bench.consolidation import Consolidation, ConsolidationSettings
from cl_bench.engine.tasks import TaskData
from cl_bench.fisher import Estimator, diagonal_fisher
from cl_bench.precision import Diagonal
from cl_bench.strategy import setting


class EWC(Consolidation):
    """One quadratic penalty a task, each about its own anchor."""

    title = "EWC"
    source = "Kirkpatrick et al. 2017, PNAS 114 (arXiv 1612.00796), eq. 3"
    precision: Diagonal | None

    class Settings(ConsolidationSettings):
        """Strength and Fisher estimator."""

        strength: float = setting(
            100.0, "weight lambda of the penalty", low=0, high=1e12, tune=(1e-2, 1e6), log=True
        )
        fisher: Estimator = setting("exact", "estimator of the Fisher information's diagonal")
        fisher_samples: int = setting(2000, "training images the Fisher is averaged over", low=1)

    def measure(self, task: TaskData) -> Diagonal:
        fisher = diagonal_fisher(self.learner, task, self.fisher, self.fisher_samples)
        new = Diagonal(fisher, self.theta.clone())
        return new if self.precision is None else self.precision.plus(new)
