"""Learning from what the network said before: which old outputs are held, and the loss for it.

For methods that keep the weights of the last task's end and show that old network images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cl_bench.config import Scenario
from cl_bench.engine.learner import Learner
from cl_bench.engine.losses import masked, softmax


def competing(learner: Learner, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return new and old logits [R, B, C] as they are compared, as van de Ven & Tolias do it.

    Where each task has outputs of its own, every past task's are a distribution by themselves,
    [R, B, t, K]. Where classes are added, the new logits compete among the outputs of now and the
    old ones among those of then, [R, B, C]: a new class has no share in the targets.

    Args:
        learner: the stack, in a task after the first.
        logits: of the network in training.
        targets: of the network as it was at the end of the task before.
    """
    outputs, task = learner.outputs, learner.task
    if outputs.scenario is Scenario.TASK:
        past = outputs.of_task[:task]
        return by_task(logits, past), by_task(targets, past)
    now = outputs.competing(task, training=True)
    then = outputs.competing(task - 1, training=True)
    return masked(logits, now), masked(targets, then)


def by_task(logits: Tensor, outputs: Tensor) -> Tensor:
    """Return logits [R, B, C] task by task, [R, B, t, K].

    Args:
        logits: of all outputs.
        outputs: bool [t, C], those of each task. A task with fewer than the most, K, is filled up
            with outputs that do not compete.
    """
    width = int(outputs.sum(1).max())
    index = outputs.long().argsort(dim=1, descending=True, stable=True)[:, :width]
    chosen = logits.index_select(-1, index.flatten()).unflatten(-1, index.shape)
    return masked(chosen, outputs.gather(1, index))


def probabilities(logits: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
    """Return the softmax of logits [R, …, K] over a temperature, a number or [R, 1]."""
    return softmax(_over(logits, temperature))


def certainties(logits: Tensor) -> Tensor:
    """Return 1 for the largest of logits [R, …, K] and 0 for the others."""
    return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)


def cross_entropy_to(targets: Tensor, logits: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
    """Return the mean cross-entropy [R, 1] in nats to target probabilities.

    Args:
        targets: [R, B, K], or [R, B, t, K] for t distributions a sample, which are summed over.
        logits: of the same shape.
        temperature: what the logits are divided by, a number or [R, 1].
    """
    # Written out, as `softmax` is.
    scaled = _over(logits, temperature)
    scaled = scaled - scaled.detach().amax(-1, keepdim=True)
    # Targets sum to 1, so that -sum p log q is log sum exp less sum p * logit.
    wanted = targets * scaled.masked_fill(targets == 0, 0)  # -inf where it does not compete
    each = scaled.exp().sum(-1).log() - wanted.sum(-1)
    return each.flatten(1).sum(1, keepdim=True) / targets.shape[1]


def _over(logits: Tensor, temperature: Tensor | float) -> Tensor:
    if isinstance(temperature, Tensor):
        temperature = temperature.view(-1, *[1] * (logits.dim() - 1))
    return logits / temperature
