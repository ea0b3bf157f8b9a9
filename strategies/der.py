"""Dark experience replay: past samples are kept with the logits they had, and these are held.

A label says what is right; the logits also say what the network knew of it at the time.
"""

from __future__ import annotations

from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch
from cl_bench.methods.replay import DarkReplay


class DER(DarkReplay):
    """Adds alpha times the mean squared change of the logits of samples drawn from a reservoir.

    Eq. 6, with the mean over outputs in place of their sum: so has it the authors' code, whose
    alphas are the paper's. In the task-incremental scenario, where the paper trains all outputs,
    only those of the sample's own task are held. In the class-incremental one the paper's way is
    `training.outputs=all`: of outputs not yet trained, kept logits say nothing.
    """

    title = "DER"
    source = "Buzzega et al. 2020, NeurIPS (arXiv 2004.07211), eq. 6, algorithm 1"

    alpha: Tensor = setting(
        0.5, "weight of the kept logits", low=0, high=1e6, tune=(0.05, 5.0), log=True
    )

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        loss, change = self.losses(logits, batch)
        return loss + self.alpha * change
