"""PackNet: a task keeps the largest of the weights still free, and no later one changes them."""

import torch

from cl_bench import Scenario, Strategy, setting


class PackNet(Strategy):
    """Weights that no task up to the one asked for owns are put out when it is predicted."""

    title = "PackNet"
    source = "Mallya & Lazebnik 2018, CVPR (arXiv 1711.05769)"
    scenarios = frozenset({Scenario.TASK})
    isolates = True

    share: float = setting(0.3, "share of the free weights that a task keeps", low=0, high=1)
    retraining: int = setting(20, "steps that train a task's own weights alone", low=1)

    @classmethod
    def extra_steps(cls, settings):
        return 1 + settings["retraining"]  # the first is an ordinary one

    def __init__(self, learner, settings):
        super().__init__(learner, settings)
        self.owner = torch.full_like(self.theta, -1)  # the task a weight belongs to; -1: free

    def begin_task(self, task):
        free = self.owner < 0
        self.theta.copy_(torch.where(free, self.learner.initial, self.theta))
        self._train_only(free)

    def visit(self, step):
        if step == 1:
            size = self.theta.abs().masked_fill(self.owner >= 0, -1)
            rank = size.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
            mine = rank < (self.share * (self.owner < 0).sum(1, keepdim=True)).long()
            self.owner.masked_fill_(mine, self.learner.task)
            self.theta.masked_fill_(self.owner < 0, 0)
            self._train_only(mine)

    def after_step(self, batch):
        self.theta.copy_(torch.where(self.trains, self.theta, self.held))

    def predict(self, images, task):
        of_others = (self.owner > task) | ((self.owner < 0) & (task < self.learner.task))
        return self.learner.network.forward(self.theta.masked_fill(of_others, 0), images)

    def _train_only(self, weights):
        self.trains, self.held = weights, self.theta.clone()
