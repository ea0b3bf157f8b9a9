"""Mode connectivity SGD: each task ends where straight, low-loss ways to two minima meet.

One is the minimum of all tasks before, the other that of the new task alone. Training on all tasks
at once ends at such a place, training on one after another does not.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.methods.replay import TaskReplay


class MCSGD(TaskReplay):
    """Some steps after each task that lower the loss along both lines, the past's and the new one.

    w-bar is the argmin over w of the mean over alpha in (0, 1] of L_past(w-bar' + alpha (w -
    w-bar')) + L_new(w-hat + alpha (w - w-hat)); w-bar' is that of the task before, w-hat where
    training on the new task leads from there, and L_past the loss on kept samples. Here both losses
    count half, so that the protocol's learning rate fits, and each step takes a minibatch of each.
    The authors' first code leaves out the factor alpha in the gradient by w, takes one step on all
    kept samples, and goes on to w-hat from the last w-hat; they search for `start`.
    """

    title = "MC-SGD"
    source = "Mirzadeh et al. 2021, ICLR (arXiv 2010.04495), Mode Connectivity SGD"

    line_steps: int = setting(100, "steps at a task's end that lower the loss along lines", low=1)
    path_points: int = setting(5, "points on each line where the loss is taken", low=1)
    start: Tensor = setting(
        0.9, "where the search starts: 0 at the old minimum, 1 at the new", low=0, high=1
    )

    @classmethod
    def extra_steps(cls, settings: dict[str, Any]) -> int:
        return 1 + int(settings["line_steps"])  # the first is an ordinary one

    def begin_task(self, task: TaskData) -> None:
        self.past = self.theta.clone()
        self.new: Tensor | None = None

    def visit(self, step: int) -> None:
        if step == 1 and self.learner.task > 0:
            self.new = self.theta.clone()
            self.theta.copy_(self.past.lerp(self.new, self.start))
            self.learner.optimizer.reset()

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        if self.new is None:
            return
        learner, points = self.learner, self.path_points
        kept = self.replayed()
        assert kept is not None  # there was a task before
        # At alpha = 1 both lines are at theta; the new task's gradient is there already.
        gradient += learner.gradient_of(kept)
        for point in range(1, points):
            alpha = point / points
            for samples, end in ((kept, self.past), (batch, self.new)):
                at = end.lerp(self.theta, alpha)
                gradient.add_(learner.gradient_of(samples, theta=at), alpha=alpha)
        gradient /= 2 * points

    def end_task(self, task: TaskData) -> None:
        super().end_task(task)
        del self.past, self.new
