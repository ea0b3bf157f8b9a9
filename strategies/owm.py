"""Orthogonal weights modification: a layer is changed only off the inputs that past tasks gave it.

Other than an orthogonal projection it lets a direction through the less, the more of the past's
inputs lay along it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.layerwise import layer_inputs
from cl_bench.methods.preconditioning import Preconditioned, inverse


class OWM(Preconditioned):
    """A layer's move G becomes G P, P = (I + sum x x^T / alpha)^-1 over the past's inputs x.

    x is the mean of the layer's inputs over a minibatch; after a task P takes in those of one
    epoch. The paper updates P by one x after another, P <- P - k x^T P with k = P x /
    (alpha + x^T P x), which is the inverse above; alpha falls over a task's minibatches, from
    `alpha` to `alpha * decay`. Where each task has outputs of its own, the last layer is left free.

    Different from the paper: an input has a 1 added for the bias; x is the mean of a layer's
    inputs, as in the authors' code; moves are not projected one by one but `every` so many
    together.
    """

    title = "OWM"
    source = "Zeng et al. 2019, Nature Machine Intelligence 1 (arXiv 1810.01256), Methods: P"
    networks = frozenset({"mlp"})

    alpha: Tensor = setting(
        1.0,
        "inputs of less power than this leave a direction free",
        low=1e-9,
        high=1e6,
        tune=(1e-3, 10),
        log=True,
    )
    decay: Tensor = setting(
        1.0, "factor on alpha from a task's first minibatch to its last", low=1e-9, high=1
    )

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        self.inputs: list[Tensor] = []
        """The sum of x x^T / alpha of each held layer, [R, in + 1, in + 1]."""

    def multipliers(self) -> list[tuple[Tensor | None, Tensor]]:
        found: list[tuple[Tensor | None, Tensor]] = []
        for total in self.inputs:
            identity = torch.eye(total.shape[-1], dtype=total.dtype, device=total.device)
            found.append((None, inverse(identity + total)))
        return found

    def remember(self, task: TaskData) -> None:
        learner = self.learner
        size = min(learner.batch_size, task.epoch_samples)
        count = task.epoch_samples // size
        found: list[list[Tensor]] = []
        for batch in task.minibatches(size, count, "sample", "inputs"):
            inputs = layer_inputs(learner.network, self.theta, batch.images)
            found.append([inputs[layer].mean(1) for layer in self.held_layers()])
            learner.count_passes(size / learner.batch_size / 3)
        place = torch.arange(1, count + 1, device=self.theta.device) / count
        weight = (self.alpha * self.decay**place).rsqrt().unsqueeze(2)
        rows = [weight * torch.stack(means, 1) for means in zip(*found, strict=True)]
        new = [torch.bmm(x.mT, x) for x in rows]
        pairs = zip(self.inputs, new, strict=True)
        self.inputs = [past + more for past, more in pairs] if self.inputs else new
