"""The network that a configuration asks for: its layers, and how images reach the first of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from cl_bench.config import NetworkConfig
from cl_bench.engine.modules import ModuleNetwork
from cl_bench.engine.networks import MLP, Network
from cl_bench.engine.resnet import resnet18
from cl_bench.errors import UserError

Factory = Callable[[tuple[int, ...], int], nn.Module]
"""Makes a network of one's own, given the inputs' shape and the number of outputs."""

_own: dict[tuple[str, str], Factory] = {}


def add_network(name: str, code: str, factory: Factory) -> None:
    """Make a network of one's own known by what configurations call it: `name` and `code`."""
    _own[name, code] = factory


def _own_factory(config: NetworkConfig) -> Factory:
    factory = _own.get((config.name, config.code or ""))
    if factory is None:
        raise UserError(
            f"network '{config.name}' is of a file or a program of its own (hash {config.code}): "
            "give that file by --network"
        )
    return factory


def convnet(input_shape: tuple[int, ...], hidden: Sequence[int], n_outputs: int) -> nn.Module:
    """Return two convolutions with pooling, a hidden layer and the outputs."""
    channels, height, width = input_shape
    wide = hidden[0] if hidden else 100
    flat = 32 * (height // 4) * (width // 4)
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(flat, wide),
        nn.ReLU(),
        nn.Linear(wide, n_outputs),
    )


class PreparedInput(nn.Module):
    """Images with black pixels around them, standardised, as the first layer takes them."""

    def __init__(self, config: NetworkConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.padding, self.mean, self.std = (
            config.input_padding,
            config.input_mean,
            config.input_std,
        )
        self.input_shape = input_shape
        channels, height, width = input_shape
        self.output_shape = channels, height + 2 * self.padding, width + 2 * self.padding

    @property
    def changes(self) -> bool:
        """Return whether the images are not taken as they come."""
        return (self.padding, self.mean, self.std) != (0, 0, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return what the first layer takes, [..., F'], of images [..., F]."""
        if self.padding:
            images = functional.pad(images.unflatten(-1, self.input_shape), (self.padding,) * 4)
            images = images.flatten(-3)
        return images.sub(self.mean).div_(self.std)


def build_network(config: NetworkConfig, input_shape: tuple[int, ...], n_outputs: int) -> Network:
    """Return the network that a configuration asks for, for inputs and outputs of this size."""
    prepare = PreparedInput(config, input_shape)
    shape = prepare.output_shape
    if config.name in ("mlp", "linear") and config.code is None:
        first = prepare if prepare.changes else None
        hidden = config.hidden if config.name == "mlp" else ()
        return MLP(math.prod(shape), hidden, n_outputs, first, config.init)

    def build() -> nn.Module:
        if config.code is not None:
            module = _own_factory(config)(shape, n_outputs)
        elif config.name == "resnet18":
            module = resnet18(shape, n_outputs, config.norm)
        else:
            module = convnet(shape, config.hidden, n_outputs)
        if not prepare.changes:
            return module
        return nn.Sequential(nn.Flatten(-3), prepare, nn.Unflatten(-1, shape), module)

    return ModuleNetwork(build, input_shape, n_outputs)
