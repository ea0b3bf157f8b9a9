"""The training loss of a task as a function of the weights: of many weight vectors at a time.

It is what flatness is bracketed on wherever all weights vary and the scenario masks some outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_bench.engine.learner import cross_entropy
from cl_bench.engine.networks import Network
from cl_bench.engine.tasks import Batch
from cl_bench.landscape.flatness import Loss


def mean_loss(network: Network, batches: Sequence[Batch]) -> Loss:
    """Return the mean cross-entropy of some images, masked as in training (a `flatness.Loss`).

    Args:
        network: the architecture.
        batches: the images, in minibatches of one size; a mask is shared by all of them, [C].
    """

    def one(theta: Tensor, batch: Batch) -> Tensor:
        runs, many = theta.shape[:2]
        logits = network.forward(theta, batch.images).flatten(0, 1)
        labels = batch.labels.repeat_interleave(many, 0)
        return cross_entropy(logits, Batch(batch.images, labels, batch.mask)).view(runs, many)

    return lambda theta: torch.stack([one(theta, batch) for batch in batches]).mean(0)
