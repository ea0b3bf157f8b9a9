"""Sharpness-aware minimisation: weights whose whole neighbourhood has a low loss.

A flat minimum is forgotten less, as later tasks can move the weights further before the loss rises.
"""

from __future__ import annotations

from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch
from cl_bench.methods.ascent import uphill


class SAM(Strategy):
    """Steps along the gradient taken at theta + rho g / |g|, not at theta.

    Two gradients a step, on the same minibatch. The norm is over all weights of a run.
    """

    title = "SAM"
    source = "Foret et al. 2021, ICLR (arXiv 2010.01412), eq. 2-3; Mehta et al. 2023 for forgetting"

    rho: Tensor = setting(
        0.1, "radius of the neighbourhood", low=0, high=100, tune=(0.01, 0.5), log=True
    )

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        above = self.theta + uphill(gradient, self.rho)
        gradient.copy_(self.learner.gradient_of(batch, theta=above))
