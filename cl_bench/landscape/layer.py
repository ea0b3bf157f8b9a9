"""The weights that are studied, and the exact loss as a function of them alone.

For a layer of an MLP everything before it is computed once, and along a line through weight space
its outputs are z0 + d·u with z0 and u computed once, too: a distance then costs the layers after.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from copy import copy

import torch
from torch import Tensor

from cl_bench.engine.losses import less_one_hot_
from cl_bench.engine.networks import MLP, Network
from cl_bench.engine.tasks import Batch
from cl_bench.instruments.curvature import Product, curvature_along, hessian_product
from cl_bench.instruments.flatness import Loss, Sides, bracket, from_brackets
from cl_bench.instruments.flatness import sides as general_sides
from cl_bench.instruments.temperature import minibatch_gradients

_LINES = 8
"""Directions whose outputs are held at a time, on all images."""
_CHUNK = 1000
_MANY = 32
"""Weight vectors that are run at a time."""


class Studied:
    """Which weights are studied: one layer's, without its bias, or all of them.

    Args:
        network: the whole network.
        layer: from 0; None is all weights.
    """

    def __init__(self, network: Network, layer: int | None) -> None:
        self.network = network
        self.layer = layer
        self.tail: Network = network
        """The network from the studied layer on; its weights are theta[:, first:]."""
        self.first = 0
        start, stop = 0, network.size
        if layer is not None:
            start, stop = network.parameters[2 * layer].start, network.parameters[2 * layer].stop
        if layer is not None and isinstance(network, MLP):
            sizes = network.sizes[layer:]
            self.tail = MLP(sizes[0], sizes[1:-1], sizes[-1])
            self.first = start
        elif layer is not None and 2 * layer + 2 == len(network.parameters):
            outputs, inputs = network.parameters[2 * layer].shape
            self.tail = MLP(inputs, (), outputs)
            self.first = start
        self.start, self.stop = start, stop

    @property
    def size(self) -> int:
        """N, the number of weights studied."""
        return self.stop - self.start

    @property
    def span(self) -> slice:
        """Where the studied weights are among the tail's."""
        return slice(self.start - self.first, self.stop - self.first)

    @property
    def by_layer(self) -> bool:
        """Whether it is a layer of an MLP, or the last of any network: the tail is an MLP."""
        return self.layer is not None and isinstance(self.tail, MLP)

    def of(self, theta: Tensor) -> Tensor:
        """Return the studied weights [..., N] of all weights [..., D], sharing memory."""
        return theta[..., self.start : self.stop]

    def put(self, theta: Tensor, weights: Tensor) -> Tensor:
        """Return all weights [..., D] with other studied ones [..., N]; leading axes broadcast."""
        shape = (*weights.shape[:-1], theta.shape[-1])
        whole = theta.expand(shape).clone()
        whole[..., self.start : self.stop] = weights
        return whole

    def inputs(self, theta: Tensor, images: Tensor) -> Tensor:
        """Return what the tail is given for images [R, B, F], [R, B, H]."""
        if not self.by_layer or not self.layer:
            return images
        if not isinstance(self.network, MLP):
            return self.network.features(theta, images)
        return self.network.activations(theta, images)[self.layer]


class Landscape:
    """The exact loss of some images around weights, as the studied weights change.

    Args:
        studied: which weights.
        theta: w0, all weights, [R, D].
        batches: the images, a few at a time, in the same order for every run.
    """

    def __init__(self, studied: Studied, theta: Tensor, batches: Iterable[Batch]) -> None:
        self.studied = studied
        self.theta = theta.clone()
        inputs, labels = [], []
        for batch in batches:
            inputs.append(studied.inputs(self.theta, batch.images))
            labels.append(batch.labels)
        self.inputs = torch.cat(inputs, 1)
        """What the tail is given, [R, n, H]."""
        self.labels = torch.cat(labels, 1)
        """[R, n]."""

    @property
    def weights(self) -> Tensor:
        """The studied weights w0, [R, N]."""
        return self.studied.of(self.theta)

    def moved(self, theta: Tensor) -> Landscape:
        """Return the loss of the same images around weights [R, D] that differ in the studied."""
        other = copy(self)
        other.theta = theta.clone()
        return other

    def loss(self, weights: Tensor) -> Tensor:
        """Return the loss [R, K], float64, of studied weights [R, K, N] (a `flatness.Loss`)."""
        tail = self.theta[:, None, self.studied.first :]
        found = []
        for some in weights.split(_MANY, 1):
            whole = tail.expand(-1, some.shape[1], -1).clone()
            whole[..., self.studied.span] = some
            total = torch.zeros(some.shape[:2], dtype=torch.float64, device=some.device)
            for low in range(0, self.inputs.shape[1], _CHUNK):
                logits = self.studied.tail.forward(whole, self.inputs[:, low : low + _CHUNK])
                labels = self.labels[:, None, low : low + _CHUNK, None]
                right = logits.gather(-1, labels.expand(*logits.shape[:-1], 1)).squeeze(-1)
                total += (logits.logsumexp(-1) - right).double().sum(-1)
            found.append(total / self.inputs.shape[1])
        return torch.cat(found, 1)

    def hessian(self) -> Product:
        """Return the product with the Hessian of the loss at w0, of the studied weights."""
        parts = zip(self.inputs.split(_CHUNK, 1), self.labels.split(_CHUNK, 1), strict=True)
        batches = [Batch(inputs, labels, None) for inputs, labels in parts]
        theta = self.theta[:, self.studied.first :].contiguous()
        return hessian_product(self.studied.tail, theta, batches, self.studied.span)

    def curvature(self, directions: Tensor) -> Tensor:
        """Return p^T H p of the loss at w0 for directions p [R, k, N], unit vectors: [R, k]."""
        return curvature_along(self.hessian(), directions)

    def minibatch_gradients(self, minibatches: Iterable[Batch]) -> Iterator[Tensor]:
        """Yield the gradient of each minibatch's mean loss at w0, [R, N]."""
        studied = self.studied
        theta = self.theta[:, studied.first :].contiguous()
        inner = (
            Batch(studied.inputs(self.theta, batch.images), batch.labels, batch.mask)
            for batch in minibatches
        )
        for gradient in minibatch_gradients(studied.tail, theta, inner):
            yield gradient[:, studied.span].clone()

    def gradient(self, weights: Tensor, rows: Tensor) -> Tensor:
        """Return the gradient [R, N] by studied weights [R, N] of the loss of rows [R, B]."""
        whole = self.theta[:, self.studied.first :].clone()
        whole[:, self.studied.span] = weights
        index = rows.unsqueeze(-1).expand(-1, -1, self.inputs.shape[2])
        labels = self.labels.gather(1, rows)

        def cotangent(logits: Tensor) -> Tensor:
            return less_one_hot_(logits.softmax(-1), labels) / logits.shape[1]

        out = torch.empty_like(whole)
        self.studied.tail.backward(whole, self.inputs.gather(1, index), cotangent, out)
        return out[:, self.studied.span]

    def sides(
        self, directions: Tensor, *, start: float = 0.1, relative_error: float = 0.005
    ) -> Sides:
        """Return how far the loss is flat along directions [R, k, N], unit vectors."""
        if not self.studied.by_layer:
            loss: Loss = self.loss
            return general_sides(
                loss, self.weights, directions, start=start, relative_error=relative_error
            )
        brackets = [
            self._brackets(run, directions[run], start, relative_error)
            for run in range(directions.shape[0])
        ]
        low, high = (torch.stack(parts) for parts in zip(*brackets, strict=True))
        return from_brackets(low, high)

    def _brackets(
        self, run: int, directions: Tensor, start: float, relative_error: float
    ) -> tuple[Tensor, Tensor]:
        """Return the brackets [2k] of one run, along its directions [k, N] and against them."""
        lines = _Lines(self, run)
        found = []
        for some in directions.split(_LINES):
            lines.through(some)
            begin = torch.full((2 * len(some),), start, device=some.device)
            low, high = bracket(lines.growth, begin, relative_error=relative_error)
            found.append((low, high))
            # Neighbouring directions are about as flat: fewer trials for the next ones.
            start = float(low.median()) or start
        lows = torch.cat([low.view(2, -1) for low, _ in found], 1).reshape(-1)
        highs = torch.cat([high.view(2, -1) for _, high in found], 1).reshape(-1)
        return lows, highs


class _Lines:
    """The loss of one run along a few lines through w0, images last: wide rows are fast."""

    def __init__(self, landscape: Landscape, run: int) -> None:
        studied = landscape.studied
        assert isinstance(studied.tail, MLP)
        theta = landscape.theta[run, studied.first :]
        layers = [(w.view(theta), b.view(theta).unsqueeze(1)) for w, b in studied.tail.layers]
        (weight, bias), *self.after = layers
        self.shape = weight.shape
        self.inputs = [part.T.contiguous() for part in landscape.inputs[run].split(_CHUNK)]
        self.labels = [part.unsqueeze(0) for part in landscape.labels[run].split(_CHUNK)]
        self.count = landscape.inputs.shape[1]
        self.base = [torch.addmm(bias, weight, part) for part in self.inputs]
        """z0, [out, images]."""
        self.slopes: list[Tensor] = []
        self.level = self._log_loss(torch.zeros(1, device=theta.device), None)

    def through(self, directions: Tensor) -> None:
        """Choose the lines: along directions [k, N], then against them."""
        self.slopes = []
        flat = directions.reshape(-1, self.shape[1])
        for part in self.inputs:
            self.slopes.append((flat @ part).view(len(directions), self.shape[0], -1))

    def growth(self, distance: Tensor, asked: Tensor) -> Tensor:
        """Return how much ln L has grown at distances along the lines (a `flatness.Growth`)."""
        lines = asked.nonzero().squeeze(1)
        directions = distance.numel() // 2
        sign = torch.where(lines < directions, 1.0, -1.0)
        found = torch.zeros_like(distance)
        at = self._log_loss(distance[lines] * sign, lines % directions)
        found[lines] = (at - self.level).to(found.dtype)
        return found

    def _log_loss(self, distance: Tensor, lines: Tensor | None) -> Tensor:
        """Return ln L at signed distances [n] along lines [n] (None: at w0), float64."""
        total = torch.zeros(len(distance), dtype=torch.float64, device=distance.device)
        for part, base in enumerate(self.base):
            value = base.unsqueeze(0)
            if lines is not None:
                value = torch.addcmul(value, distance[:, None, None], self.slopes[part][lines])
            for weight, bias in self.after:
                value = torch.matmul(weight, value.relu()).add_(bias)
            index = self.labels[part].expand(len(distance), 1, -1)
            right = value.gather(1, index)
            # ln sum exp of what the others have above the right one.
            value = value - right
            top = value.amax(1, keepdim=True)
            loss = (value - top).exp_().sum(1).log_() + top.squeeze(1)
            total += loss.double().sum(1)
        return (total / self.count).clamp(min=math.ulp(0.0)).log()
