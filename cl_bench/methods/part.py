"""Holding only some layers of a network: which weights they are, and a penalty on these alone.

A penalty on a part is kept at the part's size, so that what a method keeps counts what it holds.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor

from cl_bench.config import RunConfig
from cl_bench.engine.networks import Network
from cl_bench.engine.state import Kept
from cl_bench.methods.precision import Diagonal, LowRank, Precision

P = TypeVar("P", Diagonal, LowRank)
Layers = Literal["all", "hidden"]
LAYERS = "which weights are held: all, or those between hidden layers alone, biases left out"


def no_hidden_layers(config: RunConfig) -> str | None:
    """Return why a run cannot hold the layers that it asks for; None where it can."""
    network = config.network
    if config.strategy.settings.get("layers") != "hidden" or network.name != "mlp":
        return None
    if len(network.hidden) > 1:
        return None
    return (
        f"layers=hidden: network.hidden = {list(network.hidden)} has no weights between hidden "
        "layers; give two widths or more, such as [50, 50], or layers=all"
    )


class Part(Kept):
    """Some of a network's weights, as n of its D columns.

    Args:
        network: whose weights they are.
        layers: "all" of them, or the "hidden" layers: all but the first and the last, no biases.
    """

    def __init__(self, network: Network, layers: Layers) -> None:
        self.size = network.size
        self.places = [(0, network.size)]
        if layers == "hidden":
            inner = network.layer_blocks.pairs[1:-1]
            self.places = [(weight.start, weight.stop) for weight, _ in inner]

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.places == [(0, self.size)]

    def take(self, flat: Tensor) -> Tensor:
        """Return the part's columns of flat weights [..., D], [..., n]; the whole is not copied."""
        if self.whole:
            return flat
        return torch.cat([flat[..., start:stop] for start, stop in self.places], -1)

    def put(self, flat: Tensor, values: Tensor) -> None:
        """Write the part's columns [..., n] into flat weights [..., D]."""
        widths = [stop - start for start, stop in self.places]
        for (start, stop), each in zip(self.places, values.split(widths, -1), strict=True):
            flat[..., start:stop] = each

    def spread(self, values: Tensor) -> Tensor:
        """Return values [..., n] as flat weights [..., D], zero elsewhere."""
        if self.whole:
            return values
        flat = values.new_zeros(*values.shape[:-1], self.size)
        self.put(flat, values)
        return flat

    def hold(self, new: P, past: P | Within | None) -> P | Within:
        """Return a penalty on the part's weights [R, n] as one on all, the past's added to it."""
        inner = past.inner if isinstance(past, Within) else past
        if inner is not None:
            assert isinstance(inner, type(new))
            new = inner.plus(new)
        return new if self.whole else Within(self, new)


class Within(Precision):
    """A penalty on a part of the weights; the others are free.

    Args:
        part: which they are.
        inner: the penalty on them, [R, n].
    """

    def __init__(self, part: Part, inner: Precision) -> None:
        self.part = part
        self.inner = inner

    def prepare(self, rate: Tensor) -> None:
        self.inner.prepare(rate)

    def pull(self, theta: Tensor) -> None:
        values = self.part.take(theta)
        self.inner.pull(values)
        self.part.put(theta, values)

    def gradient(self, theta: Tensor) -> Tensor:
        return self.part.spread(self.inner.gradient(self.part.take(theta)))

    def to_matrix(self) -> Tensor:
        rows = self.part.spread(self.inner.to_matrix())
        return self.part.spread(rows.mT).mT
