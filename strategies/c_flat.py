"""C-Flat: weights around which the loss is low and its slope is small, for learning on and on.

SAM lowers the loss nearby; this also lowers how steep the loss becomes nearby, which tells wide
valleys from narrow ones.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch
from cl_bench.methods.ascent import uphill


class CFlat(Strategy):
    """Minimises the loss at theta + rho g / |g| plus lambda times the largest slope within rho.

    Four gradients a step, on the same minibatch. The slope's own gradient is a difference of two:
    g_3 - g_2, with g_2 at theta + e_1 and g_3 a further rho uphill of there, e_1 the step of length
    rho along g_1 - g_0, where the slope grows. The step is along g_1 + lambda (g_3 - g_2).
    """

    title = "C-Flat"
    source = "Bian et al. 2024, NeurIPS (arXiv 2404.00986), algorithm 1; the authors' code"

    rho: Tensor = setting(
        0.1, "radius of the neighbourhood", low=0, high=100, tune=(0.01, 0.5), log=True
    )
    smoothing: Tensor = setting(
        0.2, "lambda, weight of the slope", low=0, high=100, tune=(0.01, 2.0), log=True
    )

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        slope_at = partial(self.learner.gradient_of, batch)
        above = slope_at(theta=self.theta + uphill(gradient, self.rho))
        steepest = self.theta + uphill(above - gradient, self.rho)
        slope = slope_at(theta=steepest)
        beyond = slope_at(theta=steepest + uphill(slope, self.rho))
        gradient.copy_(above).addcmul_(self.smoothing, beyond - slope)
