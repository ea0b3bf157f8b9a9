"""Function distance regularisation: what the network said of kept samples at a task's end, it says.

The distance is in the space of functions, not of weights: outputs, as probabilities.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cl_bench.engine.losses import cross_entropy, masked
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.replay import TaskReplay

_SMALL = 1e-8
"""Added to a squared distance: its root has a slope at 0."""


class FDR(TaskReplay):
    """Adds alpha times the mean distance of kept samples' probabilities from those they had.

    They are those of the end of a sample's own task, and a sample's distance is the length of the
    difference. Where classes are added, a new one has no share in what is kept. The memory holds
    as many samples of each task.

    Different from the paper, which takes a step on the task and corrects it by a few more steps
    on the distance, weighed against each other: both are one step on one loss, as penalties of
    other methods are.
    """

    title = "FDR"
    source = "Benjamin et al. 2019, ICLR (arXiv 1805.08289), the L2 distance over a working memory"

    alpha: Tensor = setting(
        1.0, "weight of the kept outputs", low=0, high=1e6, tune=(0.1, 100), log=True
    )

    def begin_step(self, batch: Batch) -> Batch:
        return batch.joined(self.replayed())

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        said, kept = batch.split(logits), batch.parts.get("replay")
        loss = cross_entropy(said["fresh"], batch.fresh)
        if kept is None:
            return loss
        now = functional.softmax(masked(said["replay"], kept.mask), -1)
        change = (now - kept.extra["outputs"]).square()
        distance = (change.sum(-1) + _SMALL).sqrt().mean(1, keepdim=True)
        return loss + self.alpha * distance

    def end_task(self, task: TaskData) -> None:
        network, theta = self.learner.network, self.theta
        for batch in task.sample(self.buffer_size, "memory", size=self.buffer_size):
            logits = masked(network.forward(theta, batch.images), batch.mask)
            self.learner.count_passes(batch.labels.shape[1] / self.learner.batch_size / 3)
            self.buffer.add(batch, outputs=functional.softmax(logits, -1))
