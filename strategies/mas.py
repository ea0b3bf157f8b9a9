"""Memory aware synapses: each weight is held by how strongly the outputs depend on it."""

from __future__ import annotations

import torch

from cl_bench.consolidation import Consolidation, ConsolidationSettings
from cl_bench.engine.tasks import TaskData
from cl_bench.precision import Diagonal
from cl_bench.strategy import setting


class MAS(Consolidation):
    """Mean absolute gradient of the squared length of the outputs; no labels are used."""

    title = "MAS"
    source = "Aljundi et al. 2018, ECCV (arXiv 1711.09601), eq. 2-5; strength is 2 lambda"
    precision: Diagonal | None
    samples: int

    class Settings(ConsolidationSettings):
        """Strength and number of images."""

        strength: float = setting(
            0.01, "weight of the penalty (2 lambda)", low=0, high=1e12, tune=(1e-5, 1e5), log=True
        )
        samples: int = setting(2000, "training images the sensitivity is averaged over", low=1)

    def measure(self, task: TaskData) -> Diagonal:
        omega, seen = torch.zeros_like(self.theta), 0
        network = self.learner.network
        for batch in task.sample(self.samples, "sensitivity"):
            outputs = network.forward(self.theta, batch.images)
            if batch.mask is not None:
                outputs = outputs * batch.mask
            omega += network.per_sample_power(
                self.theta, batch.images, 2 * outputs.unsqueeze(2), power=1
            )
            seen += batch.labels.shape[1]
            self.learner.count_passes(batch.labels.shape[1] / self.learner.batch_size)
        omega /= seen
        if self.precision is not None:
            omega += self.precision.omega
        return Diagonal(omega, self.theta.clone())
