"""GDumb: keep a few samples of every class, and at each task learn anew from these alone.

Nothing is learnt from the stream itself. It is the yardstick for methods that keep samples: what
their samples would give without any continual learning.
"""

from __future__ import annotations

import math
from typing import Any

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.replay import Replay


class GDumb(Replay):
    """A class-balanced buffer of the stream; training from the initial weights on it alone.

    The greedy sampler (algorithm 1) keeps the first samples of a class that there is room for;
    here each class keeps a uniform sample of its own. Of the learner (section 3.2), minibatches are
    drawn from the buffer at random rather than pass by pass, and optimiser and rate are the
    protocol's, which has no cosine schedule. Which outputs compete in training is the protocol's
    choice as well; at test time they are masked as in the paper.
    """

    title = "GDumb"
    source = "Prabhu et al. 2020, ECCV, section 3, algorithm 1; passes of the authors' code"
    restart = True
    balance = "class"

    passes: int = setting(128, "passes over what the buffer holds at each task", low=1)

    @classmethod
    def task_steps(
        cls, settings: dict[str, Any], ordinary: int, batch_size: int, images: int
    ) -> int:
        kept = min(settings["buffer_size"], images)
        return math.ceil(settings["passes"] * kept / (settings["replay_batch_size"] or batch_size))

    def begin_task(self, task: TaskData) -> None:
        stream = task.sample(task.epoch_samples, "memory", size=5000)
        for number, batch in enumerate(stream):
            self.buffer.add(batch, purpose=f"buffer {number}")

    def begin_step(self, batch: Batch) -> Batch:
        kept = self.replayed()
        assert kept is not None
        return kept

    def after_step(self, batch: Batch) -> None:
        """Keep nothing: what is kept of the task was chosen as it began."""
