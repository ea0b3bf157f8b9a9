"""Flatness consolidation with replay: the weights are held, and a small buffer is trained on.

What the weights cannot hold the samples show again.
"""

from __future__ import annotations

from torch import Tensor

from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.strategy import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.consolidation import SnapshotConsolidation, SnapshotSettings
from cl_bench.methods.fluctuation import fluctuations, kronecker_fluctuation
from cl_bench.methods.precision import Kronecker
from cl_bench.methods.replay import Replay, ReplaySettings


class FlatnessER(SnapshotConsolidation, Replay):
    """Flatness consolidation in its Kronecker shape, with ER's buffer beside it.

    The loss is the minibatch's plus a weight times the kept samples', not the mean of both as in
    ER: what is new is learnt at full rate. Replay goes on while the end of a task is explored, so
    that the fluctuation measured there is that of the whole loss.
    """

    title = "Flatness consolidation + ER"
    source = "flatness consolidation (ours) with ER of Chaudhry et al. 2019 (arXiv 1902.10486)"
    precision: Kronecker | None
    gamma: Tensor
    replay_weight: Tensor

    class Settings(SnapshotSettings, ReplaySettings):
        """The strength, how the fluctuation is taken, and the buffer's settings."""

        strength: float = setting(
            0.001, "weight of the penalty", low=0, high=1e12, tune=(1e-6, 1e0), log=True
        )
        every: int = setting(20, "apply the implicit step once every so many training steps", low=1)
        gamma: float = setting(1.0, "power of the variance that gives the precision", low=0, high=4)
        replay_weight: float = setting(
            1.0, "weight of the kept samples' loss", low=0, high=1e6, tune=(0.1, 3.0), log=True
        )

    def begin_step(self, batch: Batch) -> Batch:
        self.kept = self.replayed()
        return batch if self.kept is None else batch.joined(self.kept)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        new = self.learner.fresh.labels.shape[1]
        loss = cross_entropy(logits[:, :new], self.learner.fresh)
        if self.kept is None:
            return loss
        return loss + self.replay_weight * cross_entropy(logits[:, new:], self.kept)

    def after_step(self) -> None:
        SnapshotConsolidation.after_step(self)
        Replay.after_step(self)
        del self.kept  # of this step alone

    def measure(self, task: TaskData) -> Kronecker:
        moves = fluctuations(self.take_snapshots(), "increments")
        network, past = self.learner.network, self.precision
        found = kronecker_fluctuation(
            moves, network.layer_blocks, None if past is None else past.factors
        )
        joined = Kronecker(
            network,
            [layer.left for layer in found],
            [layer.right for layer in found],
            [layer.variance.pow(self.gamma.unsqueeze(-1)) for layer in found],
            [layer.factors for layer in found],
            self.theta.clone(),
        )
        if past is not None:
            joined.take_in(past)
        return joined
