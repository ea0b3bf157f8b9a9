"""Natural continual learning: each step is taken in the metric of what past tasks have fixed.

Where the posterior of the past is narrow a step is short from the start, not pulled back later:
the way to a new task's solution, too, stays where past tasks are known.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.exploration import Exploration
from cl_bench.methods.fisher import LayerFisher, kronecker_fisher
from cl_bench.methods.kronecker_sums import Sum, kronecker_sum
from cl_bench.methods.precision import shrinkage
from cl_bench.methods.preconditioning import Preconditioned, inverse


class NCL(Preconditioned, Exploration):
    """theta <- theta - rate * prior * (P^-1 gradient + lambda (theta - anchor)), P of the past.

    This is the step that lowers the loss plus the past's quadratic penalty the most within a ball
    of the metric P (eq. 7-8). P is `prior` times the identity before any task, so that the first
    one is plain training, and takes in the Kronecker-factored Fisher information of each task
    (eq. 5), the sum made one Kronecker product again (`sum`).

    Different from the paper: steps are not multiplied one by one but `every` so many together; the
    anchor's pull is implicit, and absent in the first task; the Fisher is a mean over
    samples, its expectation over all outputs; a task ends at an average of weights, as for the
    other methods that explore.
    """

    title = "NCL"
    source = "Kao et al. 2021, NeurIPS (arXiv 2106.08085), eq. 5 and 8, algorithm 1"
    networks = frozenset({"mlp"})

    prior: Tensor = setting(
        1e-2,
        "precision of every weight before any task; 1 / samples a task in the paper",
        low=1e-12,
        high=1e6,
        tune=(1e-6, 1e-1),
        log=True,
    )
    strength: Tensor = setting(1.0, "weight lambda of the anchor's pull", low=0, high=1e12)
    sum: Sum = setting(
        "kl",
        "how a sum of Kronecker products is made one: closest by Kullback-Leibler divergence, or "
        "traces balanced, as published code for feedforward networks has it",
    )
    fisher: LayerFisher = setting(
        "exact", "expectation over all outputs, one drawn from the model, or the label"
    )
    fisher_samples: int = setting(2000, "training images the Fisher is averaged over", low=1)

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        self.factors: list[tuple[Tensor, Tensor]] = []
        """B [R, out, out] and A [R, in + 1, in + 1] of each layer's P."""
        self.anchor = self.theta.clone()

    @property
    def at_rest(self) -> bool:
        return self.start is None or self.learner.step_number % self.every == 0

    def held_layers(self) -> range:
        # An output of a task's own has no Fisher information on others: it is free as it is.
        return range(len(self.learner.network.layer_blocks))

    def multipliers(self) -> list[tuple[Tensor | None, Tensor]]:
        scale = self.prior.unsqueeze(2)
        return [(scale * inverse(rows), inverse(columns)) for rows, columns in self.factors]

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        if self.start is not None and self.at_rest:
            rate = self.learner.effective_rate * self.every
            share = shrinkage(rate * self.strength * self.prior)
            for weights in (self.theta, self.start):
                weights.lerp_(self.anchor, share)

    def remember(self, task: TaskData) -> None:
        Exploration.end_task(self, task)
        new = kronecker_fisher(self.learner, task, self.fisher, self.fisher_samples)
        past = self.factors or [(self._before(b), self._before(a)) for b, a in new]
        pairs = zip(past, new, strict=True)
        self.factors = [kronecker_sum(before, now, self.sum) for before, now in pairs]
        self.anchor = self.theta.clone()

    def _before(self, factor: Tensor) -> Tensor:
        """Return a factor of the precision before any task, as large as another."""
        identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
        return self.prior.sqrt().unsqueeze(2) * identity
