"""ER with asymmetric cross-entropy: new samples compete among their own classes, kept ones in all.

New classes are learnt without pushing down the outputs of old ones, which the new minibatch
never shows.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.tasks import Batch
from cl_bench.methods.replay import Replay


class ERACE(Replay):
    """Cross-entropy of the new minibatch over the classes in it, plus that of a replayed one.

    Each loss is a mean over its own samples. The buffer is a reservoir, drawn from at every step;
    in the first task, where nothing is old, both compete among all outputs of their scenario, as
    in Mammoth's code.
    """

    title = "ER-ACE"
    source = "Caccia et al. 2022, ICLR (arXiv 2104.05025), the asymmetric cross-entropy of ER-ACE"

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        said, fresh = batch.split(logits), batch.fresh
        loss = cross_entropy(said["fresh"], self.among_its_own(fresh, logits.shape[-1]))
        kept = batch.parts.get("replay")
        return loss if kept is None else loss + cross_entropy(said["replay"], kept)

    def among_its_own(self, batch: Batch, outputs: int) -> Batch:
        """Return a minibatch whose labels alone compete, once there is a past."""
        if not self.learner.task:
            return batch
        present = functional.one_hot(batch.labels, outputs).any(1, keepdim=True)
        return Batch(batch.images, batch.labels, present.expand(*batch.labels.shape, -1))
