"""Kronecker-factored Laplace: each layer is held by its Fisher information in Kronecker form.

Unlike a diagonal it knows which weights of a layer may move together and leave the outputs as
they are.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.consolidation import FisherConsolidation, KroneckerConsolidation
from cl_bench.methods.fisher import fisher_cotangents
from cl_bench.methods.kronecker import Kronecker, accumulated
from cl_bench.methods.layerwise import layer_inputs, layer_signals
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
    fisher: Literal["exact", "sampled", "empirical"] = setting(
        "exact", "expectation over all outputs, one drawn from the model, or the label"
    )
    decay: Tensor = setting(1.0, "online: factor on the past at each task", low=0, high=1)

    def measure(self, task: TaskData) -> Precision:
        new, past, anchor = self._factors(task), self.precision, self.theta.clone()
        network, rank = self.learner.network, self.input_rank
        if self.variant == "per-task":
            earlier = past.parts if isinstance(past, Several) else []
            return Several([*earlier, Kronecker.joined(network, new, None, anchor, rank=rank)])
        assert past is None or isinstance(past, Kronecker)
        return Kronecker.joined(network, new, past, anchor, rank=rank, decay=self.decay)

    def _factors(self, task: TaskData) -> list[tuple[Tensor, Tensor]]:
        """Return each layer's B [R, out, out] and A [R, in + 1, in + 1]."""
        learner, theta = self.learner, self.theta
        moments: list[tuple[Tensor, Tensor]] = []
        seen = 0
        for number, batch in enumerate(task.sample(self.fisher_samples, "fisher")):
            cotangents = fisher_cotangents(learner, batch, self.fisher, number)
            inputs = layer_inputs(learner.network, theta, batch.images)
            signals = layer_signals(learner.network, theta, inputs, cotangents)
            found = [
                (_moment(s.flatten(1, 2)), _moment(x)) for s, x in zip(signals, inputs, strict=True)
            ]
            moments = accumulated(moments, found)
            seen += batch.labels.shape[1]
            learner.count_passes(cotangents.shape[1] * cotangents.shape[2] / learner.batch_size)
        return [(b.div_(seen), a.div_(seen)) for b, a in moments]


def _moment(rows: Tensor) -> Tensor:
    """Return the sum of row^T row over rows [R, n, m], [R, m, m]."""
    return torch.bmm(rows.transpose(1, 2), rows)
