"""Dark experience replay++: kept logits are held, and kept labels are trained on as well.

Logits that were poor when they were kept, as just after a change of task, no longer mislead.
"""

from __future__ import annotations

from torch import Tensor

from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch
from cl_bench.methods.replay import DarkReplay


class DERPlusPlus(DarkReplay):
    """DER's loss plus beta times the cross-entropy of a second minibatch from the same buffer.

    Eq. 7; the squared change of the logits is taken as DER takes it.
    """

    title = "DER++"
    source = "Buzzega et al. 2020, NeurIPS (arXiv 2004.07211), eq. 7, algorithm 2"

    alpha: Tensor = setting(
        0.5, "weight of the kept logits", low=0, high=1e6, tune=(0.05, 5.0), log=True
    )
    beta: Tensor = setting(
        0.5, "weight of the kept labels", low=0, high=1e6, tune=(0.05, 5.0), log=True
    )

    def begin_step(self, batch: Batch) -> Batch:
        return super().begin_step(batch).joined(self.replayed("replay labels"))

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        loss, change = self.losses(logits, batch)
        labelled = batch.parts.get("replay labels")
        if labelled is None:
            return loss
        said = batch.split(logits)["replay labels"]
        return loss + self.alpha * change + self.beta * cross_entropy(said, labelled)
