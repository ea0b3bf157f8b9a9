"""The training loss of a task as a function of all weights, and along lines through them.

It is what flatness is bracketed on where all weights vary and the scenario masks some outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.networks import MLP, Network
from cl_bench.engine.tasks import Batch
from cl_bench.instruments.flatness import Along, Loss


def mean_loss(network: Network, batches: Sequence[Batch]) -> Loss:
    """Return the mean cross-entropy of some images, masked as in training (a `flatness.Loss`).

    Args:
        network: the architecture.
        batches: the images, in minibatches of one size; a mask is shared by all of them, [C].
    """

    def one(theta: Tensor, batch: Batch) -> Tensor:
        return _by_weights(network.forward(theta, batch.images), batch)

    return lambda theta: torch.stack([one(theta, batch) for batch in batches]).mean(0)


def loss_and_error(
    network: Network, theta: Tensor, batches: Iterable[Batch]
) -> tuple[Tensor, Tensor]:
    """Return mean cross-entropy in nats and share of wrong answers, all outputs competing.

    Args:
        network: the architecture.
        theta: weights, [R, D].
        batches: the images, in minibatches of any size.

    Returns:
        loss and error, each [R], float64.
    """
    loss = torch.zeros(theta.shape[0], dtype=torch.float64, device=theta.device)
    wrong, count = torch.zeros_like(loss), 0
    for batch in batches:
        logits = network.forward(theta, batch.images)
        log_p = logits.log_softmax(-1).gather(-1, batch.labels.unsqueeze(-1)).squeeze(-1)
        loss -= log_p.double().sum(1)
        wrong += (logits.argmax(-1) != batch.labels).sum(1)
        count += batch.labels.shape[1]
    return loss / count, wrong / count


def loss_along(
    network: Network, theta: Tensor, batches: Sequence[Batch], directions: Tensor
) -> Along:
    """Return the same loss along lines through some weights (a `flatness.Along`).

    The first layer of an MLP, nearly all of its work, moves in proportion to the distance: its
    outputs at w0 and their slopes are computed once for all distances.

    Args:
        network: the architecture.
        theta: w0, [R, D].
        batches: the images, as of `mean_loss`.
        directions: [R, k, D].
    """
    if not isinstance(network, MLP) or len(network.layers) == 1:
        loss = mean_loss(network, batches)
        both = torch.cat([directions, -directions], 1)
        return lambda distance: loss(theta.unsqueeze(1) + distance.unsqueeze(-1) * both)
    cut = network.layers[0][1].stop
    first = MLP(network.sizes[0], (), network.sizes[1])
    after = MLP(network.sizes[1], network.sizes[2:-1], network.sizes[-1])
    parts = [
        (
            first.forward(theta[:, :cut], batch.images).unsqueeze(1),
            first.forward(directions[..., :cut], batch.images),
            batch,
        )
        for batch in batches
    ]

    def half(distance: Tensor) -> Tensor:
        """Return the losses at signed distances [R, k]."""
        weights = theta[:, None, cut:] + distance.unsqueeze(-1) * directions[..., cut:]
        losses = []
        for base, slope, batch in parts:
            inputs = torch.addcmul(base, distance[..., None, None], slope).relu_()
            logits = after.forward(weights.flatten(0, 1), inputs.flatten(0, 1))
            losses.append(_by_weights(logits.view(*distance.shape, *logits.shape[1:]), batch))
        return torch.stack(losses).mean(0)

    def along(distance: Tensor) -> Tensor:
        right, left = distance.chunk(2, 1)
        return torch.cat([half(right), half(-left)], 1)

    return along


def _by_weights(logits: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross-entropies [R, K] of logits [R, K, B, C] on the images of each run."""
    runs, many = logits.shape[:2]
    labels = batch.labels.repeat_interleave(many, 0)
    each = cross_entropy(logits.flatten(0, 1), Batch(batch.images, labels, batch.mask))
    return each.view(runs, many)
