"""SGD in the network's own landscape as a quadratic, under its own noise or another: pure tensors.

The landscape is the exact Hessian in some leading directions; a step's noise is the mean of a
minibatch of per-sample gradients. What those gradients know of the Hessian can be taken out of
them with their power kept, and each sample's own Hessian can be put in: then directions couple.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.engine.linalg import symmetric_eigen
from cl_bench.engine.networks import MLP
from cl_bench.landscape.layer import Landscape

_CHUNK = 1000

Hessians = Literal["mean", "diagonal", "whole"]
"""Which Hessian a minibatch steps by: all images' (the same for all), or its own samples', with
what couples directions left out or left in."""


@dataclass(frozen=True)
class Samples:
    """One run's images at w0, along K directions of the studied weights."""

    gradients: Tensor
    """Of each image's loss, [n, K], float64."""
    roots: Tensor
    """[n, C, K]: roots^T roots is the Hessian of the image's loss."""
    lengths: Tensor
    """Of each image's residual, |softmax - one-hot|, [n], float64."""

    def rescaled(self, power: float) -> Tensor:
        """Return the gradients were each residual as long as a power of its length, [n, K].

        1 leaves them as they are, 0 makes all residuals equally long. Their mean is taken away.
        """
        scaled = self.gradients * self.lengths.pow(power - 1).unsqueeze(1)
        return scaled - scaled.mean(0)


def samples(landscape: Landscape, run: int, directions: Tensor) -> Samples:
    """Return every image's gradient and Hessian along directions [K, N] of one run.

    The Hessian is exact: behind the studied layer the network is linear in pieces (ReLU), so a
    loss's Hessian is the logits' Hessian between the logits' derivatives, each direction's.

    Raises:
        ValueError: the studied weights are not a layer of an MLP, or the last of a network.
    """
    tail = landscape.studied.tail
    if not landscape.studied.by_layer or not isinstance(tail, MLP):
        raise ValueError("only a layer of an MLP has its samples along directions")
    theta = landscape.theta[run, landscape.studied.first :]
    (weight, bias), *after = [(w.view(theta), b.view(theta)) for w, b in tail.layers]
    moves = directions.reshape(-1, weight.shape[1])
    gradients, roots, lengths = [], [], []
    for inputs, labels in zip(
        landscape.inputs[run].split(_CHUNK), landscape.labels[run].split(_CHUNK), strict=True
    ):
        values = inputs @ weight.T + bias
        moved = (inputs @ moves.T).view(len(inputs), len(directions), -1)
        for below, offset in after:
            moved = torch.where((values > 0).unsqueeze(1), moved, 0.0) @ below.T
            values = values.relu() @ below.T + offset
        # Above the right logit: where an image is all but learnt nothing cancels.
        right = labels.view(-1, 1)
        index = right.unsqueeze(2).expand(-1, len(directions), 1)
        moved = (moved - moved.gather(2, index)).double()
        probability = functional.softmax(values.double(), 1)
        others = probability.scatter(1, right, 0.0)
        gradients.append((moved * others.unsqueeze(1)).sum(2))
        centred = moved - gradients[-1].unsqueeze(2)
        roots.append((centred * probability.sqrt().unsqueeze(1)).transpose(1, 2).float())
        lengths.append((others.square().sum(1) + others.sum(1).square()).sqrt())
    return Samples(torch.cat(gradients), torch.cat(roots).contiguous(), torch.cat(lengths))


def turned(gradients: Tensor, generator: torch.Generator) -> Tensor:
    """Return gradients [n, K] turned all alike to random directions: the same power."""
    normal = torch.randn(2 * gradients.shape[1:], generator=generator, dtype=gradients.dtype)
    rotation, upper = torch.linalg.qr(normal)
    return gradients @ (rotation * upper.diagonal().sign())


def dealt(gradients: Tensor, generator: torch.Generator) -> Tensor:
    """Return gradients [n, K] with the directions' noises dealt out anew among them."""
    return gradients[:, torch.randperm(gradients.shape[1], generator=generator)]


def apart(gradients: Tensor, generator: torch.Generator) -> Tensor:
    """Return gradients [n, K] with each direction's dealt out among the samples by itself.

    Every direction keeps its noise; no two go together any more.
    """
    order = torch.rand(gradients.shape, generator=generator).argsort(0)
    return gradients.gather(0, order)


def white(gradients: Tensor, generator: torch.Generator) -> Tensor:
    """Return normal numbers [n, K] of the same power in all, alike in every direction."""
    power = gradients.square().sum(1).mean() / gradients.shape[1]
    drawn = torch.randn(gradients.shape, generator=generator, dtype=gradients.dtype)
    return (drawn - drawn.mean(0)) * power.sqrt()


NOISES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "measured": lambda gradients, generator: gradients,
    "apart": apart,
    "turned": turned,
    "dealt": dealt,
    "white": white,
}
"""Noise by name: the network's own, the same with its directions taken apart, and three of its
power that do not know its Hessian."""
BLIND = ("turned", "dealt", "white")
"""Noises that know nothing of the Hessian."""


def minibatch_variance(gradients: Tensor, batch: int) -> Tensor:
    """Return the variance [K] of a minibatch's mean of gradients [n, K] whose mean is 0."""
    count = len(gradients)
    return gradients.square().mean(0) * (count - batch) / ((count - 1) * batch)


def sgd(
    curvature: Tensor,
    gradients: Tensor,
    learning_rate: float,
    *,
    batch: int,
    steps: int,
    generator: torch.Generator,
    replacement: bool,
    hessians: Hessians = "mean",
    roots: Tensor | None = None,
) -> Tensor:
    """Return the path [steps, K], float64, of SGD about the minimum of a quadratic.

    Args:
        curvature: H_i, [K], with alpha H_i < 1.
        gradients: of each sample at the minimum, [n, K], float64, their mean 0.
        learning_rate: alpha.
        batch: samples a minibatch; a last one that is not whole is left out.
        steps: how many.
        generator: deals the samples out.
        replacement: draw samples independently; else each once an epoch.
        hessians: which Hessian minibatches step by.
        roots: [n, C, K], of the samples' Hessians, unless that is the mean one.
    """
    count, size = gradients.shape
    epoch = count // batch
    delta = _start(curvature, gradients, learning_rate, batch, generator, replacement)
    path = curvature.new_empty(steps, size, dtype=torch.float64)
    keep = 1 - learning_rate * curvature.double()
    own = None if roots is None or hessians != "diagonal" else roots.square().sum(1)
    for first in range(0, steps, epoch):
        if replacement:
            order = torch.randint(count, (epoch, batch), generator=generator)
        else:
            order = torch.randperm(count, generator=generator)[: epoch * batch].view(epoch, batch)
        kicks = torch.stack([gradients[rows].mean(0) for rows in order]) * learning_rate
        if own is not None:
            keeps = 1 - learning_rate * torch.stack([own[rows].mean(0) for rows in order]).double()
        for step in range(min(epoch, steps - first)):
            if hessians == "mean":
                delta = keep * delta - kicks[step]
            elif own is not None:
                delta = keeps[step] * delta - kicks[step]
            else:
                assert roots is not None
                some = roots[order[step]].flatten(0, 1)
                pull = (some @ delta.float()) @ some
                delta = delta - pull.double() * (learning_rate / batch) - kicks[step]
            path[first + step] = delta
    return path


def _start(
    curvature: Tensor,
    gradients: Tensor,
    learning_rate: float,
    batch: int,
    generator: torch.Generator,
    replacement: bool,
) -> Tensor:
    """Return a draw [K] from where the mean Hessian's SGD is at an epoch's start, for ever.

    Kicks x_t of covariance C, weighed by a_i^t going back, add up to C_ij / (1 - a_i a_j). Without
    replacement each epoch's M kicks add up to 0: <x_s x_t> = C (M delta_st - 1) / (M - 1).
    """
    count, size = gradients.shape
    scale = (count - batch) / ((count - 1) * batch) * learning_rate**2
    covariance = gradients.T @ gradients / count * scale
    log = torch.log1p(-learning_rate * curvature.double())
    both = log.unsqueeze(0) + log.unsqueeze(1)
    if replacement:
        found = covariance / -torch.expm1(both)
    else:
        epoch = count // batch
        weights = (torch.arange(epoch, dtype=log.dtype) * log.unsqueeze(1)).exp()
        weights = weights - weights.mean(1, keepdim=True)
        kicked = weights @ weights.T * (epoch / (epoch - 1))
        found = covariance * kicked / -torch.expm1(epoch * both)
    values, vectors = symmetric_eigen(found.unsqueeze(0))
    drawn = torch.randn(size, generator=generator, dtype=torch.float64)
    return (vectors[0] * values[0].clamp(min=0).sqrt()) @ drawn
