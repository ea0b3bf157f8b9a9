"""Flatness consolidation with replay: the weights are held, and a small buffer is trained on.

What the weights cannot hold the samples show again.
"""

from __future__ import annotations

from torch import Tensor

from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.consolidation import FluctuationConsolidation
from cl_bench.methods.kronecker import Kronecker
from cl_bench.methods.replay import Replay


class FlatnessER(FluctuationConsolidation, Replay):
    """Flatness consolidation in its Kronecker shape, with ER's buffer beside it.

    The loss is the minibatch's plus a weight times the kept samples', not the mean of both as in
    ER: what is new is learnt at full rate. Replay goes on while the end of a task is explored, so
    that the fluctuation measured there is that of the whole loss.
    """

    title = "Flatness consolidation + ER"
    source = "flatness consolidation (ours) with ER of Chaudhry et al. 2019 (arXiv 1902.10486)"
    precision: Kronecker | None

    strength: Tensor = setting(
        0.001, "weight of the penalty", low=0, high=1e12, tune=(1e-6, 1e0), log=True
    )
    every: int = setting(20, "apply the implicit step once every so many training steps", low=1)
    replay_weight: Tensor = setting(
        1.0, "weight of the kept samples' loss", low=0, high=1e6, tune=(0.1, 3.0), log=True
    )

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        said, kept = batch.split(logits), batch.parts.get("replay")
        loss = cross_entropy(said["fresh"], batch.fresh)
        if kept is None:
            return loss
        return loss + self.replay_weight * cross_entropy(said["replay"], kept)

    def after_step(self, batch: Batch) -> None:
        FluctuationConsolidation.after_step(self, batch)
        Replay.after_step(self, batch)

    def measure(self, task: TaskData) -> Kronecker:
        return self.kronecker(task)
