"""Kronecker-factored Laplace: each layer is held by its Fisher information in Kronecker form.

Unlike a diagonal it knows which weights of a layer may move together and leave the outputs as
they are.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.consolidation import FisherConsolidation, KroneckerConsolidation
from cl_bench.methods.fisher import LayerFisher, kronecker_fisher
from cl_bench.methods.kronecker import Kronecker
from cl_bench.methods.precision import Precision, Several


class KFACLaplace(FisherConsolidation, KroneckerConsolidation):
    """A layer's Fisher information = B x A, the second moments of its signals and its inputs.

    "online" is the recursion of eq. 8: the past's precision, times a decay, and the newest
    Fisher, both about the newest weights. "per-task" keeps every task's factors and its own
    anchor; memory and time grow with the tasks.

    Different from the paper: the sum of two Kronecker products is none, so that "online" keeps
    the exact diagonal of the sum in the eigenbasis of the summed factors, at constant memory; the
    Fisher is a mean over samples, not a sum (the strength takes the number); no prior.
    """

    title = "KFAC-Laplace"
    source = "Ritter et al. 2018, NeurIPS (arXiv 1805.07810), eq. 8 and 12"
    networks = frozenset({"mlp"})

    strength: Tensor = setting(
        3.0, "weight lambda of the penalty", low=0, high=1e12, tune=(1e-2, 1e7), log=True
    )
    every: int = setting(20, "apply the implicit step once every so many training steps", low=1)
    variant: Literal["online", "per-task"] = setting(
        "online", "one precision about the newest weights, or one a task about its own"
    )
    fisher: LayerFisher = setting(
        "exact", "expectation over all outputs, one drawn from the model, or the label"
    )
    decay: Tensor = setting(1.0, "online: factor on the past at each task", low=0, high=1)

    def measure(self, task: TaskData) -> Precision:
        new = kronecker_fisher(self.learner, task, self.fisher, self.fisher_samples)
        past, anchor = self.precision, self.theta.clone()
        network, rank = self.learner.network, self.input_rank
        if self.variant == "per-task":
            earlier = past.parts if isinstance(past, Several) else []
            return Several([*earlier, Kronecker.joined(network, new, None, anchor, rank=rank)])
        assert past is None or isinstance(past, Kronecker)
        return Kronecker.joined(network, new, past, anchor, rank=rank, decay=self.decay)
