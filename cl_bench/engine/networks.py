"""Networks as functions of a weight stack: R networks of one shape in one matrix `theta[R, D]`.

A network puts a minibatch's gradient straight into a flat `[R, D]` buffer and gives per-sample
gradients in bulk. `MLP` is written out in batched matrix products, which is what makes the
engine fast.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from cl_bench.engine.layout import LayerBlocks, Parameter, lay_out
from cl_bench.seeding import torch_generator

Cotangent = Callable[[Tensor], Tensor]
"""Maps logits [R, B, C] to the gradient of the loss by the logits, of the same shape."""
Gates = Sequence[Tensor]
"""For each hidden layer, what its activations are multiplied by, [R, B, H]."""


class Network(ABC):
    """One architecture; the weights are always passed in."""

    parameters: tuple[Parameter, ...]
    n_outputs: int
    moved: Tensor | None = None
    """Running statistics after the last `backward`, [R, n_running]: what a step writes."""

    @property
    def n_running(self) -> int:
        """How many of the weights, the last ones, are running statistics (batch normalisation)."""
        return 0

    def settle(self, theta: Tensor, moved: Tensor | None) -> None:
        """Write running statistics [R, n_running] into weights [R, D]."""
        if moved is not None:
            theta[:, -self.n_running :].copy_(moved)

    @property
    def size(self) -> int:
        """The number of weights D."""
        return self.parameters[-1].stop

    @cached_property
    def layer_blocks(self) -> LayerBlocks:
        """The weights as one matrix a layer; a ValueError where they are not such layers."""
        return LayerBlocks(self.parameters)

    def remember(self, flat: Tensor) -> None:  # noqa: B027 - an option, not a duty
        """Keep ready the views of a weight stack that will be passed in many times."""

    def unstack(self, theta: Tensor) -> dict[str, Tensor]:
        """Return the parameters of one run by name, from its weights [D]."""
        return {p.name: p.view(theta) for p in self.parameters}

    @abstractmethod
    def initial(self, seed: int) -> Tensor:
        """Return initial weights [D], drawn on the CPU from a stream of their own."""

    @abstractmethod
    def forward(self, theta: Tensor, images: Tensor) -> Tensor:
        """Return logits.

        Args:
            theta: weights [R, D], or [R, K, D] for K weight vectors on the images of each run.
            images: [R, B, F].

        Returns:
            [R, B, C], or [R, K, B, C].
        """

    @abstractmethod
    def features(self, theta: Tensor, images: Tensor) -> Tensor:
        """Return the input [R, B, H] of the last layer."""

    @abstractmethod
    def backward(
        self,
        theta: Tensor,
        images: Tensor,
        cotangent: Cotangent,
        out: Tensor,
        gates: Gates | None = None,
    ) -> None:
        """Write the loss gradient into `out`, given the loss's gradient by the logits.

        Args:
            theta: weights [R, D].
            images: [R, B, F].
            cotangent: maps the logits to the loss's gradient by them.
            out: [R, D].
            gates: a multiplier of each hidden layer's activations (dropout); MLP only.
        """

    @abstractmethod
    def per_sample_power(
        self, theta: Tensor, images: Tensor, cotangents: Tensor, power: int
    ) -> Tensor:
        """Return the summed powers of per-sample gradients, sum_{b,k} |J_b^T v_{b,k}|^power.

        Args:
            theta: weights [R, D].
            images: [R, B, F].
            cotangents: vectors v on the logits, [R, B, K, C].
            power: 1 (absolute values) or 2 (squares), taken weight by weight.

        Returns:
            [R, D].
        """


class MLP(Network):
    """Fully connected, ReLU between layers.

    Parameters are named `layers.<i>.weight` [out, in] and `layers.<i>.bias` [out].
    """

    def __init__(
        self,
        n_inputs: int,
        hidden: Sequence[int],
        n_outputs: int,
        prepare: Callable[[Tensor], Tensor] | None = None,
        init: Literal["torch", "xavier"] = "torch",
    ) -> None:
        """Lay out the weights.

        Args:
            n_inputs: numbers that the first layer is given.
            hidden: width of each hidden layer.
            n_outputs: number of logits.
            prepare: makes the first layer's input [R, B, n_inputs] of images; None takes them as
                they come.
            init: how initial weights are drawn (`NetworkConfig.init`).
        """
        self.prepare = prepare
        self.init = init
        self.sizes = (n_inputs, *hidden, n_outputs)
        self.n_outputs = n_outputs
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for i, (fan_in, fan_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            shapes += [
                (f"layers.{i}.weight", (fan_out, fan_in)),
                (f"layers.{i}.bias", (fan_out,)),
            ]
        self.parameters = lay_out(shapes)
        self.layers = tuple(zip(self.parameters[::2], self.parameters[1::2], strict=True))
        self._remembered: dict[int, tuple[Tensor, list[tuple[Tensor, Tensor]]]] = {}

    def remember(self, flat: Tensor) -> None:
        self._remembered[id(flat)] = (flat, self._views(flat))

    def _views(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return each layer's weight [R, out, in] and bias [R, out]; slicing costs time."""
        kept = self._remembered.get(id(flat))
        if kept is not None and kept[0] is flat:
            return kept[1]
        return [(weight.view(flat), bias.view(flat)) for weight, bias in self.layers]

    def initial(self, seed: int) -> Tensor:
        generator = torch_generator("initial weights", seed)
        parts = []
        for weight, bias in self.layers:
            fan_out, fan_in = weight.shape
            xavier = self.init == "xavier"
            bound = math.sqrt(6 / (fan_in + fan_out)) if xavier else 1 / math.sqrt(fan_in)
            count = bias.stop - weight.start
            drawn = torch.empty(count).uniform_(-bound, bound, generator=generator)
            if xavier:
                drawn[bias.start - weight.start :] = 0
            parts.append(drawn)
        return torch.cat(parts)

    def forward(self, theta: Tensor, images: Tensor) -> Tensor:
        if theta.dim() == 3:
            return self._forward_many(theta, images)
        return self.activations(theta, images)[-1]

    def features(self, theta: Tensor, images: Tensor) -> Tensor:
        return self.activations(theta, images)[-2]

    def activations(
        self, theta: Tensor, images: Tensor, gates: Gates | None = None
    ) -> list[Tensor]:
        """Return the input of every layer, [R, B, in], then the logits."""
        values = [self.prepare(images) if self.prepare else images]
        for weight, bias in self._views(theta):
            value = torch.baddbmm(bias.unsqueeze(1), values[-1], weight.transpose(1, 2))
            if len(values) < len(self.layers):
                value = value.relu_()
                if gates is not None:
                    value = value * gates[len(values) - 1]  # not in place: autograd needs both
            values.append(value)
        return values

    def _forward_many(self, theta: Tensor, images: Tensor) -> Tensor:
        runs, many, _ = theta.shape
        weight, bias = self.layers[0]
        images = self.prepare(images) if self.prepare else images
        # One product for the K first layers of a run: the images are not copied K times.
        joined = weight.view(theta).reshape(runs, many * weight.shape[0], weight.shape[1])
        value = torch.bmm(images, joined.transpose(1, 2)).unflatten(2, (many, -1)).transpose(1, 2)
        value = value + bias.view(theta).unsqueeze(2)
        flat = theta.flatten(0, 1)
        value = value.flatten(0, 1)
        for weight, bias in self.layers[1:]:
            value = torch.baddbmm(
                bias.view(flat).unsqueeze(1), value.relu_(), weight.view(flat).transpose(1, 2)
            )
        return value.unflatten(0, (runs, many))

    def backward(
        self,
        theta: Tensor,
        images: Tensor,
        cotangent: Cotangent,
        out: Tensor,
        gates: Gates | None = None,
    ) -> None:
        values = self.activations(theta, images, gates)
        signal = cotangent(values.pop())
        weights, slots = self._views(theta), self._views(out)
        for i in range(len(self.layers) - 1, -1, -1):
            weight_slot, bias_slot = slots[i]
            torch.bmm(signal.transpose(1, 2), values[i], out=weight_slot)
            torch.sum(signal, 1, out=bias_slot)
            if i:
                signal = torch.bmm(signal, weights[i][0])
                if gates is None:
                    signal = torch.ops.aten.threshold_backward(signal, values[i], 0)
                else:  # a gate below 0 turns the sign of what passed the ReLU
                    signal = signal.masked_fill_(values[i] == 0, 0).mul_(gates[i - 1])

    def per_sample_power(
        self, theta: Tensor, images: Tensor, cotangents: Tensor, power: int
    ) -> Tensor:
        runs, batch, many, _ = cotangents.shape
        out = theta.new_empty(runs, self.size)
        values = self.activations(theta, images)[:-1]
        signal = cotangents.flatten(1, 2)
        for i in range(len(self.layers) - 1, -1, -1):
            weight, bias = self.layers[i]
            # |g a^T|^p = |g|^p (|a|^p)^T: no per-sample gradient is ever formed.
            powered = power_of(signal, power).view(runs, batch, many, -1).sum(2)
            torch.bmm(powered.transpose(1, 2), power_of(values[i], power), out=weight.view(out))
            torch.sum(powered, 1, out=bias.view(out))
            if i:
                signal = torch.bmm(signal, weight.view(theta))
                gate = (values[i] > 0).unsqueeze(2)
                signal = (signal.view(runs, batch, many, -1) * gate).flatten(1, 2)
        return out


def power_of(values: Tensor, power: int) -> Tensor:
    """Return the absolute values (power 1) or the squares (power 2)."""
    return values.abs() if power == 1 else values.square()
