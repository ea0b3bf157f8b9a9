"""Orthogonal gradient descent: steps avoid the directions that would change past outputs.

To first order the network's outputs on the kept samples of past tasks stay as they are.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cl_bench.config import Scenario
from cl_bench.engine.linalg import symmetric_eigen
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.layerwise import layer_inputs, layer_signals
from cl_bench.methods.projection import Projection

_SPANNED = 1e-6
"""A unit gradient whose squared rest beyond those already kept is less adds no direction."""
Factors = list[tuple[Tensor, Tensor]]


class OGD(Projection):
    """A move g becomes g - Q^T Q g, Q an orthonormal basis of past outputs' gradients.

    Which outputs: the label's ("gtl"), the mean of the task's ("ave"), or each ("all"), with
    respect to all weights, at the end of the task.

    An output's gradient at one sample is a row times a column in each layer: these are kept in
    place of all its D numbers, and Q = W G is applied through them, with W from the gradients'
    Gram matrix G G^T. They contain the image, and so do the gradients.

    Different from the paper: one memory is shared by all tasks, so that time and memory do not
    grow with them; the projection is not taken at every step.
    """

    title = "OGD"
    source = "Farajtabar et al. 2020, AISTATS (arXiv 1910.07104), algorithm 1"
    scenarios = frozenset({Scenario.TASK, Scenario.DOMAIN})
    networks = frozenset({"mlp"})
    keeps_samples = True

    variant: Literal["gtl", "ave", "all"] = setting(
        "gtl", "outputs whose gradients are kept: the label's, their mean, or each"
    )
    memory: int = setting(1000, "gradients kept of all tasks together, as many of each", low=1)

    counts: tuple[int, ...] = ()
    """Gradients kept of each past task."""
    factors: Factors | None = None
    """Of each layer: inputs [R, k, in + 1] and signals [R, k, out] of the k gradients kept."""

    def free(self, move: Tensor) -> None:
        assert self.factors is not None
        blocks = self.learner.network.layer_blocks
        along = move.new_zeros(self.whitening.shape[:2])
        for layer, (inputs, signals) in enumerate(self.factors):
            block = blocks.block(move, layer)
            along += (torch.bmm(inputs, block.transpose(1, 2)) * signals).sum(2)
        # A row times a matrix: as a matrix times a column, one run alone takes another kernel.
        share = torch.bmm(along.unsqueeze(1), self.whitening.transpose(1, 2))
        share = torch.bmm(share, self.whitening).transpose(1, 2)
        for layer, (inputs, signals) in enumerate(self.factors):
            blocks.subtract(move, layer, torch.bmm((signals * share).transpose(1, 2), inputs))

    def remember(self, task: TaskData) -> None:
        most = max(1, self.memory // (task.index + 1))
        new = self._gradients(task, most)
        kept = [min(count, most) for count in self.counts]
        if self.factors is not None:
            new = [
                (self._joined(a, b, most), self._joined(c, d, most))
                for (a, c), (b, d) in zip(self.factors, new, strict=True)
            ]
        self.counts = (*kept, new[0][0].shape[1] - sum(kept))
        self.keep(new)

    def keep(self, factors: Factors) -> None:
        """Project on the complement of these gradients from now on."""
        self.factors = factors
        values, vectors = symmetric_eigen(_gram(factors))
        scale = torch.where(values > _SPANNED, values.clamp(min=_SPANNED).rsqrt(), 0)
        self.whitening = (vectors.transpose(1, 2) * scale.unsqueeze(2)).to(self.theta.dtype)

    def _joined(self, old: Tensor, new: Tensor, most: int) -> Tensor:
        """Return kept rows, at most so many of each task, and new ones after them."""
        return torch.cat([*(part[:, :most] for part in old.split(list(self.counts), 1)), new], 1)

    def _gradients(self, task: TaskData, most: int) -> Factors:
        """Return the factors of at most so many of this task's gradients, each of length 1."""
        learner, theta = self.learner, self.theta
        many = 1
        if self.variant == "all":
            many = learner.network.n_outputs if task.mask is None else int(task.mask.sum())
        batches = list(task.sample(max(1, most // many), "directions"))
        images = torch.cat([batch.images for batch in batches], 1)
        labels = torch.cat([batch.labels for batch in batches], 1)
        inputs = layer_inputs(learner.network, theta, images)
        vectors = self._cotangents(labels, task.mask)
        signals = layer_signals(learner.network, theta, inputs, vectors)
        learner.count_passes(labels.shape[1] * vectors.shape[2] / learner.batch_size)
        found = [
            (x.repeat_interleave(many, 1), s.flatten(1, 2))
            for x, s in zip(inputs, signals, strict=True)
        ]
        squares = [x.square().sum(2) * s.square().sum(2) for x, s in found]
        length = torch.stack(squares).sum(0).sqrt().clamp(min=torch.finfo(theta.dtype).tiny)
        return [(x, s / length.unsqueeze(2)) for x, s in found]

    def _cotangents(self, labels: Tensor, mask: Tensor | None) -> Tensor:
        """Return the vectors on the logits whose gradients are kept, [R, B, K, C]."""
        outputs = self.learner.network.n_outputs
        one_hot = torch.eye(outputs, device=labels.device)
        if self.variant == "gtl":
            return one_hot[labels].unsqueeze(2)
        own = one_hot if mask is None else one_hot[mask]
        if self.variant == "ave":
            own = own.mean(0, keepdim=True)
        return own.expand(*labels.shape, -1, -1)


def _gram(factors: Factors) -> Tensor:
    """Return the inner products of gradients, [R, k, k], in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for inputs, signals in factors:
        a, s = inputs.double(), signals.double()
        total = total + torch.bmm(a, a.transpose(1, 2)) * torch.bmm(s, s.transpose(1, 2))
    return total
