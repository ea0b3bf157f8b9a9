"""Gradient projection memory: a layer is changed only orthogonally to its past inputs.

What it had as inputs in past tasks spans a space; without the part of the gradient in it, the
layer's outputs on them do not change.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_bench.config import Scenario
from cl_bench.engine.learner import Learner
from cl_bench.engine.linalg import symmetric_eigen
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.layerwise import layer_inputs
from cl_bench.methods.projection import Projection

_NOTHING = 1e-9
"""Directions with a smaller share of the energy are rounding."""
_PART = 64
"""Basis vectors that a product takes at a time: its shape depends on no run's number of them."""


class GPM(Projection):
    """Each layer keeps an orthonormal basis M of its past inputs; a move G becomes G - G M M^T.

    After a task the inputs of some of its samples, less what M holds of them, are decomposed, and
    the strongest directions join M until it holds a share `threshold` of their energy (eq. 9).
    Where each task has outputs of its own, the last layer is left free.

    Different from the paper: an input has a 1 added for the bias, which the authors' networks
    lack; the first task, too, takes the direction that reaches the threshold (eq. 5; the authors'
    code stops one before); the projection is not taken at every step.
    """

    title = "GPM"
    source = "Saha et al. 2021, ICLR (arXiv 2103.09762), eq. 5-9, algorithm 1"
    scenarios = frozenset({Scenario.TASK, Scenario.DOMAIN})
    networks = frozenset({"mlp"})

    input_threshold: Tensor = setting(
        0.95, "epsilon of the first layer: share of energy held", low=0, high=1, tune=(0.8, 1)
    )
    threshold: Tensor = setting(
        0.99, "epsilon of the other layers: share of energy held", low=0, high=1, tune=(0.8, 1)
    )
    increase: Tensor = setting(0.0, "growth of both at each task, up to 1", low=0, high=1)
    samples: int = setting(300, "training images a task whose inputs are decomposed", low=1)

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        blocks = learner.network.layer_blocks
        sizes = [blocks.block(self.theta, layer).shape[2] for layer in range(len(blocks))]
        self.bases = [self.theta.new_zeros(learner.runs, n, n) for n in sizes]
        """M of each layer, [R, in + 1, in + 1]: columns of which the first `ranks` are not 0."""
        self.ranks = [
            torch.zeros(learner.runs, dtype=torch.int64, device=learner.device) for _ in sizes
        ]
        """Number of basis vectors of each layer, [R]."""
        self.widths = [0 for _ in sizes]
        """Columns of each layer that products take: as many as the largest rank."""

    def free(self, move: Tensor) -> None:
        blocks = self.learner.network.layer_blocks
        for layer in self.held_layers():
            basis, width = self.bases[layer], self.widths[layer]
            block = blocks.block(move, layer)
            held = torch.zeros_like(block)
            for part in basis[..., :width].split(_PART, 2):
                held.baddbmm_(torch.bmm(block, part), part.transpose(1, 2))
            blocks.subtract(move, layer, held)

    def remember(self, task: TaskData) -> None:
        found: list[list[Tensor]] = [[] for _ in self.bases]
        for batch in task.sample(self.samples, "representation"):
            inputs = layer_inputs(self.learner.network, self.theta, batch.images)
            for parts, values in zip(found, inputs, strict=True):
                parts.append(values)
            self.learner.count_passes(batch.labels.shape[1] / self.learner.batch_size / 3)
        for layer, parts in enumerate(found):
            threshold = self.threshold if layer else self.input_threshold
            share = (threshold + self.increase * task.index).clamp(max=1)
            self._extend(layer, torch.cat(parts, 1), share)

    def _extend(self, layer: int, inputs: Tensor, share: Tensor) -> None:
        """Add to a layer's basis until it holds a share [R, 1] of inputs [R, n, in + 1]."""
        basis = self.bases[layer].double()
        exact = inputs.double()
        total = exact.square().sum(2).sum(1, keepdim=True)
        rest = exact - torch.bmm(torch.bmm(exact, basis), basis.transpose(1, 2))
        # The left singular vectors by the Gram matrix of the few samples.
        values, mix = symmetric_eigen(torch.bmm(rest, rest.transpose(1, 2)))
        values, mix = values.flip(1).clamp(min=1e-12 * total), mix.flip(2)
        vectors = torch.bmm(rest.transpose(1, 2), mix / values.sqrt().unsqueeze(1))
        before = total - values.sum(1, keepdim=True) + values.cumsum(1) - values
        new = ((before < share * total) & (values > _NOTHING * total)).sum(1)
        # Column j is the basis's own below its rank, then the new vectors in order, then zero.
        place = torch.arange(basis.shape[2], device=basis.device).unsqueeze(0)
        rank = self.ranks[layer].unsqueeze(1)
        source = (place - rank).clamp(0, vectors.shape[2] - 1).unsqueeze(1).expand_as(basis)
        joined = torch.where((place < rank).unsqueeze(1), basis, vectors.gather(2, source))
        filled = (place < rank + new.unsqueeze(1)).unsqueeze(1)
        self.bases[layer] = torch.where(filled, joined, 0).to(inputs.dtype)
        self.ranks[layer] = (self.ranks[layer] + new).clamp(max=basis.shape[2])
        self.widths[layer] = -(-int(self.ranks[layer].max()) // _PART) * _PART
