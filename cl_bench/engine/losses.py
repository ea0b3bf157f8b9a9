"""The training loss of a minibatch over the outputs that compete, and its gradient by the logits.

Softmax less one-hot, the gradient of -log p(label), is what training, Fisher information and
curvature all start from.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from cl_bench.engine.tasks import Batch

Loss = Callable[[Tensor, Batch], Tensor]
"""Maps logits [R, B, C] and their minibatch to the loss of each run, [R, 1]."""


def masked(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Return logits [..., B, C] that are -inf where an output does not compete.

    Its probability is 0, whatever the other logits, and so is its gradient.

    Args:
        logits: of all outputs.
        mask: bool [C] or [..., B, C], the outputs that compete; None is all of them.
    """
    return logits if mask is None else logits.masked_fill(~mask, -math.inf)


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross-entropy [R, 1] in nats of a minibatch, masked as its scenario says."""
    return sample_losses(logits, batch).mean(1, keepdim=True)


def sample_losses(logits: Tensor, batch: Batch) -> Tensor:
    """Return the cross-entropy of each sample in nats, [R, B], masked as its scenario says."""
    log_p = functional.log_softmax(masked(logits, batch.mask), -1)
    return -log_p.gather(-1, batch.labels.unsqueeze(-1)).squeeze(-1)


def cross_entropy_cotangent(logits: Tensor, batch: Batch) -> Tensor:
    """Return the gradient [R, B, C] of `cross_entropy` by the logits, without autograd."""
    probability = softmax(masked(logits, batch.mask))
    return less_one_hot_(probability, batch.labels).div_(logits.shape[1])


def softmax(logits: Tensor) -> Tensor:
    """Return the softmax of logits over the last axis, of a handful of outputs."""
    # Written out: torch's own is several times slower over so few.
    probability = (logits - logits.amax(-1, keepdim=True)).exp_()
    return probability.div_(probability.sum(-1, keepdim=True))


def less_one_hot_(probability: Tensor, labels: Tensor) -> Tensor:
    """Take 1 from each label's probability in place: the gradient of -log p(label) by the logits.

    Args:
        probability: softmax of the logits, [R, B, C].
        labels: int64 [R, B].
    """
    target = labels.unsqueeze(-1)
    one = probability.new_full((1, 1, 1), -1.0).expand(target.shape)
    return probability.scatter_add_(-1, target, one)
