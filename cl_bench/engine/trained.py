"""A strategy's own parameters, trained by its loss along with the network's weights.

Each is a tensor with an optimiser of its own, by the protocol's rule and at its rate.
"""

from __future__ import annotations

from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.state import Kept


class Trained(Kept):
    """A tensor [R, …] of which the strategy's loss is a function, too; kept as its attribute.

    Args:
        learner: the stack.
        value: the initial values, [R, …].
    """

    def __init__(self, learner: Learner, value: Tensor) -> None:
        self.value = value.clone()
        """[R, …]; `loss` and `objective` use it as they use logits."""
        self.optimizer = learner.new_optimizer()

    def step(self) -> None:
        """Take the optimiser's step along the gradient that the loss's differentiation left."""
        assert self.value.grad is not None
        self.optimizer.step(self.value.flatten(1), self.value.grad.flatten(1))
