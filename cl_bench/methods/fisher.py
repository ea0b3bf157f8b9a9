"""The diagonal of the Fisher information, by its seven estimators, for a whole stack in bulk.

F_i = E_x E_{y ~ p(y|x)} (d log p(y|x) / d theta_i)^2. Which estimator is used changes EWC's
results and is seldom stated (van de Ven 2025, arXiv 2502.11756); here it is always named.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.engine.learner import Learner
from cl_bench.engine.losses import less_one_hot_, masked
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.kronecker import accumulated
from cl_bench.methods.layerwise import layer_inputs, layer_signals, second_moment

Estimator = Literal[
    "exact", "sampled", "empirical", "true-part", "predicted", "reversed", "batch-mean"
]
LayerFisher = Literal["exact", "sampled", "empirical"]
"""Estimators of which a layer's factors are taken."""


class Signal(Protocol):
    """What is pulled back through the network, by the logits and their minibatch."""

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor: ...


def diagonal_fisher(learner: Learner, task: TaskData, estimator: Estimator, samples: int) -> Tensor:
    """Return the Fisher information of each weight, [R, D], averaged over training images.

    Args:
        learner: the stack, at the weights where the information is wanted.
        task: whose training images are used.
        estimator: "exact" takes the expectation over all outputs; "sampled" draws one output from
            the model's own distribution; "empirical" takes the true label; "true-part" is
            the true label's term of the exact expectation; "predicted" takes the model's most
            likely output; "reversed" is the empirical one of logits with their signs reversed,
            which does not vanish where the network is sure (EWC-DR, Liu & Chang 2026, arXiv
            2603.18596; of single gradients, where the authors' code squares those of minibatches
            and cuts them at a most); "batch-mean" squares
            the gradient of each minibatch's mean loss (of the training batch size), which is what
            much published code does and makes the result depend on the batch size.
        samples: training images to average over (all, where there are fewer); "batch-mean" takes
            as many whole minibatches as they hold, one at least.
    """
    total = torch.zeros_like(learner.theta)
    seen = 0
    if estimator == "batch-mean":
        for gradient in minibatch_gradients(learner, task, samples, "fisher", _mean_score):
            total.addcmul_(gradient, gradient)
            seen += 1
        return total.div_(seen)
    for number, batch in enumerate(task.sample(samples, "fisher")):
        cotangents = fisher_cotangents(learner, batch, estimator, number)
        total += learner.network.per_sample_power(learner.theta, batch.images, cotangents, 2)
        seen += batch.labels.shape[1]
        learner.count_passes(cotangents.shape[1] * cotangents.shape[2] / learner.batch_size)
    return total.div_(seen)


def kronecker_fisher(
    learner: Learner, task: TaskData, estimator: LayerFisher, samples: int
) -> list[tuple[Tensor, Tensor]]:
    """Return the factors of each layer's Fisher information, B [R, out, out] and A [R, in + 1, ..].

    B and A are the second moments of a layer's signals and of its inputs (Martens & Grosse 2015,
    arXiv 1503.05671), means over training images.

    Args:
        learner: the stack, at the weights where the information is wanted.
        task: whose training images are used.
        estimator: of the signals, as in `diagonal_fisher`.
        samples: training images to average over.
    """
    rows, columns = list[Tensor](), list[Tensor]()
    seen = 0
    for number, batch in enumerate(task.sample(samples, "fisher")):
        cotangents = fisher_cotangents(learner, batch, estimator, number)
        inputs = layer_inputs(learner.network, learner.theta, batch.images)
        signals = layer_signals(learner.network, learner.theta, inputs, cotangents)
        rows = accumulated(rows, [second_moment(each.flatten(1, 2)) for each in signals])
        columns = accumulated(columns, [second_moment(each) for each in inputs])
        seen += batch.labels.shape[1]
        learner.count_passes(cotangents.shape[1] * cotangents.shape[2] / learner.batch_size)
    return [(b.div_(seen), a.div_(seen)) for b, a in zip(rows, columns, strict=True)]


def minibatch_gradients(
    learner: Learner, task: TaskData, samples: int, purpose: str, signal: Signal
) -> Iterator[Tensor]:
    """Yield the gradient [R, D] of each of some minibatches, every one of the training's size.

    What is made of them nonlinearly depends on that size.

    Args:
        learner: the stack, at the weights where the gradients are wanted.
        task: whose training images are used.
        samples: as many whole minibatches are taken as this many images hold, one at least.
        purpose: of the draw.
        signal: maps logits [R, B, C] and their minibatch to what is pulled back, [R, B, C].

    Yields:
        [R, D]; the next one takes its place in memory.
    """
    size = min(learner.batch_size, task.epoch_samples)
    steps = max(1, min(samples, task.epoch_samples) // size)
    gradient = torch.empty_like(learner.theta)
    for batch in task.minibatches(size, steps, "sample", purpose):
        rule = partial(signal, batch=batch)
        learner.network.backward(learner.theta, batch.images, rule, gradient)
        learner.count_passes(size / learner.batch_size)
        yield gradient


def _mean_score(logits: Tensor, batch: Batch) -> Tensor:
    """Return the gradient of the minibatch's mean cross-entropy by the logits."""
    return scores(logits, batch.mask, batch.labels) / batch.labels.shape[1]


def fisher_cotangents(learner: Learner, batch: Batch, estimator: str, number: int) -> Tensor:
    """Return the vectors on the logits whose gradients, squared and summed, are a Fisher's share.

    Args:
        learner: the stack, at the weights where the information is wanted.
        batch: training images.
        estimator: all but "batch-mean".
        number: of the minibatch: each draws its own outputs.

    Returns:
        [R, B, K, C], one vector a sample or one an output.
    """
    logits = learner.network.forward(learner.theta, batch.images)
    probability = functional.softmax(masked(logits, batch.mask), -1)
    if estimator == "exact":
        # v_c = sqrt(p_c) (onehot_c - p) for every output c: sum of squares is the expectation.
        identity = torch.eye(logits.shape[-1], device=logits.device)
        return (identity - probability.unsqueeze(2)) * probability.sqrt().unsqueeze(-1)
    labels = batch.labels
    if estimator == "sampled":
        # In (0, total]: an output whose probability is 0 is never drawn.
        uniform = 1 - learner.uniform(f"fisher labels {number}", labels.shape[1], 1)
        total = probability.cumsum(-1)
        labels = (total < uniform * total[..., -1:]).sum(-1)
    elif estimator == "predicted":
        labels = masked(logits, batch.mask).argmax(-1)
    found = scores(-logits if estimator == "reversed" else logits, batch.mask, labels)
    if estimator == "true-part":
        found *= probability.gather(-1, labels.unsqueeze(-1)).sqrt()
    return found.unsqueeze(2)


def scores(logits: Tensor, mask: Tensor | None, labels: Tensor) -> Tensor:
    """Return the gradient of -log p(label) by the logits, [R, B, C]."""
    probability = functional.softmax(masked(logits, mask), -1)
    return less_one_hot_(probability, labels)
