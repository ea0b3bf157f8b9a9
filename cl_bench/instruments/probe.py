"""During continual learning: the loss around each task's minimum, and how far it is left behind.

What is measured at a task's end is what forgetting is said to depend on (flatness, curvature,
variance); what is measured of it after each later task tests the second-order account.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.probe import Findings, Probe
from cl_bench.engine.state import Kept
from cl_bench.engine.tasks import Batch, TaskData, shown
from cl_bench.instruments.curvature import (
    curvature_along,
    hessian_product,
    leading_eigenvalues,
    probes,
    trace,
)
from cl_bench.instruments.flatness import sides_along
from cl_bench.instruments.loss import loss_along, mean_loss
from cl_bench.methods.fluctuation import principal_components

WINDOW = 200
"""Ordinary training steps at a task's end whose fluctuation of the weights is measured."""
SNAPSHOTS = 50
"""The most snapshots that are taken over the window, evenly spaced."""
DIRECTIONS = 5
"""Leading principal directions of the fluctuation that flatness is averaged over."""
EIGEN_STEPS = 15
"""Lanczos steps for the largest eigenvalue, a Hessian-vector product each."""
SIGNS = 8
"""Vectors for Hutchinson's trace, a Hessian-vector product each."""
START = 0.1
"""First distance tried when flatness is measured, in units of weight."""
RELATIVE_ERROR = 0.01
"""Of the measured flatness."""


@dataclass
class Minimum(Kept):
    """Where a task was left, and the images that its loss is taken on."""

    theta: Tensor
    """w_j, [R, D]."""
    images: list[Tensor]
    """uint8 (float32 where they are features) [R, B, F], a minibatch each, all of one size."""
    labels: list[Tensor]
    """int64 [R, B]."""


class LandscapeProbe(Probe):
    """Measures the training loss of every task at its own minimum and after each later task.

    It is the cross-entropy of the network itself, over the outputs that competed when the task was
    trained, whatever the strategy adds to its loss or predicts with (icarl's mean features, gdumb's
    other training): for those it says how the network fares, not the predictions. A strategy that
    is given all data so far is measured on each task's own, too. Quantities and their columns:
    `RunRecord.landscape`.

    Args:
        learner: the stack.
        samples: training images a task in the loss, at most all of them.
    """

    def __init__(self, learner: Learner, samples: int) -> None:
        super().__init__(learner)
        self.samples = samples
        self._snapshots: list[Tensor] = []
        self._minima: list[Minimum] = []

    def due(self, step: int, steps: int) -> bool:
        window = min(WINDOW, steps)
        every = -(-window // SNAPSHOTS)
        return step > steps - window and (steps - step) % every == 0

    def look(self) -> None:
        self._snapshots.append(self.learner.theta.clone())

    def end_task(self, task: TaskData) -> Findings:
        found: Findings = {past: self._left_behind(past) for past in range(len(self._minima))}
        batches = list(task.sample(self.samples, "landscape"))
        found[task.index] = self._minimum(task.index, batches)
        self._snapshots = []
        pixels = [batch.kept() for batch in batches]
        labels = [batch.labels for batch in batches]
        self._minima.append(Minimum(self.learner.theta.clone(), pixels, labels))
        return found

    def _minimum(self, index: int, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Measure a task's loss around the weights, where the task was just left, [R] each."""
        network, theta = self.learner.network, self.learner.theta
        product = hessian_product(network, theta, batches)
        start = self._signs("lanczos", index, 1)[:, 0]
        sharpest = leading_eigenvalues(product, start, 1, EIGEN_STEPS)
        # A strategy may take no steps before a task's end: then nothing has fluctuated.
        moves = torch.stack(self._snapshots or [theta], 1)
        moves -= moves.mean(1, keepdim=True)
        noisiest = principal_components(moves, DIRECTIONS)
        level = mean_loss(network, batches)(theta.unsqueeze(1))
        directions = torch.cat([noisiest.directions, sharpest.vectors], 1)
        along = loss_along(network, theta, batches, directions)
        begin = torch.full((len(theta), 2 * directions.shape[1]), START, device=theta.device)
        width = sides_along(along, level, begin, relative_error=RELATIVE_ERROR).flatness
        found = {
            "loss": level.squeeze(1),
            "sharpness": sharpest.values[:, 0],
            "trace": trace(product, self._signs("hutchinson", index, SIGNS)).value,
            "flatness": _geometric_mean(width[:, :-1], noisiest.variances > 0),
            "flatness_sharpest": width[:, -1],
            "variance": moves.square().sum(2).mean(1),
        }
        # A run that has diverged has no minimum.
        sound = found["loss"].isfinite()
        return {name: value.where(sound, math.nan) for name, value in found.items()}

    def _left_behind(self, past: int) -> dict[str, Tensor]:
        """Measure what the weights have come to be for a past task, [R] each."""
        network, theta = self.learner.network, self.learner.theta
        minimum = self._minima[past]
        mask = self.learner.outputs.competing(past, training=True)
        batches = [
            Batch(shown(pixels), labels, mask)
            for pixels, labels in zip(minimum.images, minimum.labels, strict=True)
        ]
        step = theta - minimum.theta
        product = hessian_product(network, minimum.theta, batches)
        return {
            "loss": mean_loss(network, batches)(theta.unsqueeze(1)).squeeze(1),
            "distance": torch.linalg.vector_norm(step, dim=1),
            "quadratic": curvature_along(product, step.unsqueeze(1)).squeeze(1) / 2,
        }

    def _signs(self, purpose: str, index: int, count: int) -> Tensor:
        """Return vectors of random signs [R, count, D] from the streams of a purpose and task."""
        learner = self.learner
        drawn = probes(f"{purpose} {index}", learner.seeds, count, learner.network.size)
        return drawn.to(learner.device)


def _geometric_mean(values: Tensor, counted: Tensor) -> Tensor:
    """Return the geometric mean [R] of the values [R, k] that are counted; NaN where none is."""
    logarithms = values.log().where(counted, 0)
    return (logarithms.sum(1) / counted.sum(1)).exp()
