"""Riemannian walk: each weight is held by its Fisher information and by its way's worth.

Both are taken while the network trains: what moving the weight did for the loss counts the more,
the shorter the way was in the Fisher's metric.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.consolidation import Consolidation
from cl_bench.methods.fisher import scores
from cl_bench.methods.precision import Diagonal


class RWalk(Consolidation):
    """Importance = Fisher + score, each divided by its largest value in the network (eq. 8).

    The Fisher is a moving average over minibatches (eq. 6). The score adds up, interval by
    interval, the fall of the loss through a weight over half its Fisher times its squared move
    (eq. 7); falls below 0 count nothing, as in the authors' code. After each task the score is
    averaged with that of the tasks before, so that it does not grow rigid.

    Different from the paper: the Fisher is of single samples' gradients at each interval's first
    minibatch (the authors' code squares minibatch means, which depend on the batch size); the
    samples of past tasks that it replays in class-incremental learning are left out.
    """

    title = "RWalk"
    source = "Chaudhry et al. 2018, ECCV (arXiv 1801.10112), eq. 6-8; strength is twice its lambda"
    precision: Diagonal | None

    strength: Tensor = setting(
        2.0, "weight of the penalty (2 lambda)", low=0, high=1e12, tune=(1e-3, 1e6), log=True
    )
    fisher_rate: Tensor = setting(
        0.9, "alpha, weight of the newest minibatch in the Fisher's average", low=0, high=1
    )
    damping: Tensor = setting(1e-3, "epsilon, keeps the score bounded", low=1e-9, high=1e3)
    interval: int = setting(10, "Delta t, training steps from one score to the next", low=1)

    fisher: Tensor | None = None
    score: Tensor | None = None

    @classmethod
    def check(cls, settings: dict[str, Any], steps: int, outputs: int) -> None:
        super().check(settings, steps, outputs)
        if settings["interval"] > steps:
            raise ValueError(
                f"interval={settings['interval']}: a task takes only {steps} steps, so that no "
                f"score would ever be taken; give at most {steps}"
            )

    def begin_task(self, task: TaskData) -> None:
        super().begin_task(task)
        self.task_score = torch.zeros_like(self.theta)

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        if self.learner.step_number % self.interval == 0:
            new = self._minibatch_fisher(batch)
            self.fisher = new if self.fisher is None else self.fisher.lerp(new, self.fisher_rate)
            self.gain = torch.zeros_like(self.theta)
            self.interval_start = self.theta.clone()
        self.task_gradient = gradient.clone() if self.form == "explicit" else gradient
        self.before = self.theta.clone()
        super().adjust_gradient(gradient, batch)

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.gain.addcmul_(self.task_gradient, self.before - self.theta)
        if self.learner.step_number % self.interval == 0:
            assert self.fisher is not None
            distance = self.fisher * (self.theta - self.interval_start).square() / 2
            self.task_score += self.gain.clamp(min=0) / (distance + self.damping)

    def _minibatch_fisher(self, batch: Batch) -> Tensor:
        """Return the mean square of the minibatch's single gradients, [R, D]."""
        learner = self.learner
        logits = learner.network.forward(self.theta, batch.images)
        signal = scores(logits, batch.mask, batch.labels)
        count = batch.labels.shape[1]
        learner.count_passes(count / learner.batch_size)
        power = learner.network.per_sample_power(self.theta, batch.images, signal.unsqueeze(2), 2)
        return power / count

    def measure(self, task: TaskData) -> Diagonal:
        assert self.fisher is not None
        new = self.task_score
        self.score = new if self.score is None else (self.score + new) / 2
        omega = _normalised(self.fisher) + _normalised(self.score)
        del self.task_score, self.gain, self.interval_start, self.before, self.task_gradient
        return Diagonal(omega, self.theta.clone())


def _normalised(importance: Tensor) -> Tensor:
    """Return importances [R, D] in units of each run's largest."""
    largest = importance.amax(1, keepdim=True)
    return importance / largest.clamp(min=torch.finfo(importance.dtype).tiny)
