"""Memory aware synapses: each weight is held by how strongly the outputs depend on it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.consolidation import Consolidation
from cl_bench.methods.fisher import minibatch_gradients
from cl_bench.methods.precision import Diagonal


class MAS(Consolidation):
    """Mean absolute gradient of the squared length of the outputs; no labels are used.

    The gradients of whole minibatches (of the training size, of the mean over images and outputs)
    are what much published code takes; their absolute values depend on the batch size.
    """

    title = "MAS"
    source = "Aljundi et al. 2018, ECCV (arXiv 1711.09601), eq. 2-5; strength is 2 lambda"
    precision: Diagonal | None

    strength: Tensor = setting(
        0.01, "weight of the penalty (2 lambda)", low=0, high=1e12, tune=(1e-5, 1e5), log=True
    )
    samples: int = setting(2000, "training images the sensitivity is averaged over", low=1)
    gradients: Literal["per-sample", "batch-mean"] = setting(
        "per-sample",
        "whose absolute values are averaged: each image's, or each minibatch's",
        later=True,
    )

    def measure(self, task: TaskData) -> Diagonal:
        measured = self._of_batches if self.gradients == "batch-mean" else self._of_samples
        omega = measured(task)
        if self.precision is not None:
            omega += self.precision.omega
        return Diagonal(omega, self.theta.clone())

    def _of_samples(self, task: TaskData) -> Tensor:
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
        return omega.div_(seen)

    def _of_batches(self, task: TaskData) -> Tensor:
        omega, seen = torch.zeros_like(self.theta), 0
        for gradient in minibatch_gradients(
            self.learner, task, self.samples, "sensitivity", _mean_square_slope
        ):
            omega += gradient.abs()
            seen += 1
        return omega.div_(seen)


def _mean_square_slope(logits: Tensor, batch: Batch) -> Tensor:
    """Return the gradient of the mean square of the outputs that compete, [R, B, C]."""
    if batch.mask is None:
        return 2 * logits / logits[0].numel()
    return 2 * logits * batch.mask / batch.mask.expand_as(logits).sum((1, 2), keepdim=True)
