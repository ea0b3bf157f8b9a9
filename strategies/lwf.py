"""Learning without forgetting: a new task is learnt while the old outputs stay as they were.

Nothing is kept of past tasks but the network; the new task's images stand in for theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cl_bench.config import Scenario
from cl_bench.engine.learner import Learner
from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.settings import setting
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.distillation import competing, cross_entropy_to, probabilities


class LwF(Strategy):
    """L_new + lambda_o * L_old, L_old summed over the past tasks (algorithm 1).

    L_old is the cross-entropy at temperature T between the outputs that the network of the last
    task's end has on the current images and the present ones (eq. 2-3). What is compared follows
    van de Ven & Tolias 2022: where tasks have outputs of their own, each past task's by themselves;
    where they share them, the same outputs for every past task; where classes are added, all old
    ones at once, which counts once. The paper's warm-up of new outputs is left out, as there.
    """

    title = "LwF"
    source = "Li & Hoiem 2017, IEEE TPAMI 40 (arXiv 1606.09282), algorithm 1, eq. 1-3"

    strength: Tensor = setting(
        1.0, "weight lambda_o of the old outputs", low=0, high=1e6, tune=(1e-2, 1e2), log=True
    )
    temperature: Tensor = setting(
        2.0, "temperature T of the compared outputs", low=0.1, high=100, tune=(1, 8), log=True
    )

    def __init__(self, learner: Learner, settings: dict[str, object]) -> None:
        super().__init__(learner, settings)
        self.old: Tensor | None = None

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        loss, learner = cross_entropy(logits, batch), self.learner
        if self.old is None:
            return loss
        with torch.no_grad():
            targets = learner.network.forward(self.old, batch.images)
        learner.count_passes(batch.labels.shape[1] / learner.batch_size / 3)
        new, old = competing(learner, logits, targets)
        distance = cross_entropy_to(probabilities(old, self.temperature), new, self.temperature)
        tasks = learner.task if learner.scenario is Scenario.DOMAIN else 1
        return loss + tasks * self.strength * distance

    def end_task(self, task: TaskData) -> None:
        self.old = self.theta.clone()
