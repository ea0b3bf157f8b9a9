"""Experience replay: each minibatch is trained on together with samples kept of the past."""

from __future__ import annotations

from typing import Any, Literal

from cl_bench.engine.learner import Learner
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.replay import Replay


class ER(Replay):
    """A reservoir of all samples seen; as many of them again with every minibatch.

    With `fill=task` the buffer holds past tasks alone, as many samples of each, as much published
    code has it ("naive rehearsal" of Hsu et al. 2018, arXiv 1810.12488; Avalanche's Replay).
    """

    title = "ER"
    source = "Chaudhry et al. 2019 (arXiv 1902.10486), algorithm 1 with a reservoir"

    fill: Literal["stream", "task"] = setting(
        "stream",
        "when samples are kept: as they come, a reservoir of the stream; or at a task's end, "
        "as many of each task",
        later=True,
    )

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        if settings["fill"] == "task":
            self.balance = "task"
        super().__init__(learner, settings)

    def after_step(self, batch: Batch) -> None:
        if self.fill == "stream":
            super().after_step(batch)

    def end_task(self, task: TaskData) -> None:
        if self.fill == "task":
            self.buffer.add_sample(task, self.buffer_size)
