"""Landscape-dependent constraints: the paper's form, with measured flatness along PCA directions.

Directions p_i are the leading ones of the weights' fluctuation at a task's end; each is held by
the inverse square of the loss's measured flatness F_i along it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from cl_bench.config import RunConfig
from cl_bench.engine.networks import MLP
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.instruments.flatness import flatness
from cl_bench.instruments.loss import mean_loss
from cl_bench.methods.consolidation import SnapshotConsolidation
from cl_bench.methods.fluctuation import fluctuations, principal_components
from cl_bench.methods.part import LAYERS, Layers, Part, Within, no_hidden_layers
from cl_bench.methods.precision import LowRank

_LOSSES = 10
"""Losses that the bracket of one side of a direction usually takes."""


class LDC(SnapshotConsolidation):
    """lambda * sum_{i <= Nc} F_i^-2 ((w - w1) . p_i)^2 for each past task, about its own anchor."""

    title = "LDC"
    source = "Feng & Tu 2020 (arXiv 2001.01678), our reading; strength is twice the paper's lambda"
    precision: LowRank | Within | None

    strength: Tensor = setting(
        0.3, "weight of the penalty (2 lambda)", low=0, high=1e12, tune=(1e-3, 1e4), log=True
    )
    every: int = setting(10, "apply the implicit step once every so many training steps", low=1)
    directions: int = setting(20, "Nc, principal directions held for each task", low=1)
    flatness_samples: int = setting(1000, "training images the loss is taken over", low=1)
    layers: Layers = setting("all", LAYERS, later=True)

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        return no_hidden_layers(config)

    def measure(self, task: TaskData) -> LowRank | Within:
        part = Part(self.learner.network, self.layers)
        snapshots = [part.take(snapshot) for snapshot in self.take_snapshots()]
        found = principal_components(fluctuations(snapshots, "deviations"), self.directions)
        batches = list(task.sample(self.flatness_samples, "flatness"))
        width = self._flatness(batches, part.spread(found.directions))
        # A loss is a forward pass, a third of the products of a gradient. Counted is what a bracket
        # usually takes: it is the same for every run of a stack.
        images = sum(batch.labels.shape[1] for batch in batches)
        lines = 2 * found.directions.shape[1]
        self.learner.count_passes(_LOSSES * lines * images / self.learner.batch_size / 3)
        new = LowRank.about(found.directions, width.pow(-2), part.take(self.theta))
        return part.hold(new, self.precision)

    def _flatness(self, batches: Sequence[Batch], directions: Tensor) -> Tensor:
        """Return the flatness of the loss on some images along directions [R, k, D], [R, k]."""
        network, theta = self.learner.network, self.theta
        if self.layers == "hidden" and isinstance(network, MLP):
            # The first layer, nearly all of the work, stays: the rest is a network on its outputs.
            first = network.layers[0][1].stop
            batches = [replace(b, images=network.activations(theta, b.images)[1]) for b in batches]
            network = MLP(network.sizes[1], network.sizes[2:-1], network.sizes[-1])
            theta, directions = theta[:, first:], directions[..., first:]
        return flatness(mean_loss(network, batches), theta, directions)
