"""A user's torch module, optimiser and images in the shape that our strategies know.

The module's parameters become views of a weight stack of one run, so that whatever a strategy
does to the weights is done to the module; nothing is copied while it trains.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cl_bench.benchmarks.base import Benchmark, Examples, Split
from cl_bench.config import Scenario
from cl_bench.engine.modules import ModuleNetwork
from cl_bench.engine.networks import MLP, Gates, Network
from cl_bench.engine.optimizers import Optimizer, column
from cl_bench.engine.tasks import ForbiddenData
from cl_bench.errors import UserError
from cl_bench.seeding import torch_generator


class Pixels:
    """How a user's images become what strategies see, bytes / 255 in [0, 1], and back.

    Images that were normalised (`transforms.Normalize`) are brought back: in each channel their
    lowest value stands for 0 and their highest for 255. Values that are not 256 equal steps
    even so (features, say) are left as they are.

    Args:
        images: float32 [n, *shape], of the first task.
    """

    def __init__(self, images: Tensor) -> None:
        self.shape = tuple(images.shape[1:])
        self._low: Tensor | None = None
        self._range: Tensor
        if are_bytes(images):
            return
        within_channel = (0, 2, 3) if images.dim() == 4 else tuple(range(images.dim()))
        low = images.amin(within_channel, keepdim=True)
        high = images.amax(within_channel, keepdim=True)
        wide = (high - low).clamp(min=torch.finfo(low.dtype).tiny)
        if are_bytes((images - low) / wide):
            self._low, self._range = (v.expand(1, *self.shape).flatten() for v in (low, wide))

    def encode(self, images: Tensor) -> Tensor:
        """Return images [n, *shape] as strategies see them, [n, F]."""
        flat = images.flatten(1)
        return flat if self._low is None else (flat - self._low) / self._range

    def decode(self, seen: Tensor) -> Tensor:
        """Return what strategies see as the user's values, both [..., F]."""
        return seen if self._low is None else seen * self._range + self._low


def are_bytes(values: Tensor) -> bool:
    """Return whether all values are multiples of 1/255 in [0, 1], up to rounding."""
    steps = values * 255
    low, high = steps.aminmax()
    return bool(low > -0.05 and high < 255.05 and (steps - steps.round()).abs().max() < 0.05)


class WrappedMLP(MLP):
    """The network of a user's module that is a plain MLP."""

    def __init__(self, sizes: Sequence[int], pixels: Pixels) -> None:
        super().__init__(sizes[0], sizes[1:-1], sizes[-1])
        self.pixels = pixels

    def activations(
        self, theta: Tensor, images: Tensor, gates: Gates | None = None
    ) -> list[Tensor]:
        return super().activations(theta, self.pixels.decode(images), gates)

    def _forward_many(self, theta: Tensor, images: Tensor) -> Tensor:
        return super()._forward_many(theta, self.pixels.decode(images))


class WrappedModule(ModuleNetwork):
    """The network of any other module, in evaluation mode: its dropout is left out.

    Args:
        module: a module of its own.
        pixels: what strategies see of the images.
        n_outputs: number of logits.
    """

    def __init__(self, module: nn.Module, pixels: Pixels, n_outputs: int) -> None:
        super().__init__(lambda: module, pixels.shape, n_outputs)
        self.pixels = pixels
        self._last = list(linear_layers(module))[-1:]

    def _one(self, theta: Tensor, images: Tensor) -> Tensor:
        return super()._one(theta, self.pixels.decode(images))

    def features(self, theta: Tensor, images: Tensor) -> Tensor:
        if not self._last:
            raise UserError("this strategy needs a model whose last layer is a torch.nn.Linear")
        return super().features(theta, images)


def linear_layers(module: nn.Module) -> list[nn.Linear]:
    """Return a module's linear layers in the order in which it registered them."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def wrap(module: nn.Module, pixels: Pixels) -> Network:
    """Return the network that a module is: an MLP of ours where it computes the same.

    Its parameters are the module's, in the same order.

    Raises:
        UserError: the module cannot be one of our networks.
    """
    if next(module.buffers(), None) is not None:
        raise UserError(
            "the model has buffers (batch normalisation, heads that grow), which cannot be "
            "consolidated; give one without, with all outputs from the start"
        )
    if any(p.dtype != torch.float32 for p in module.parameters()):
        raise UserError("the model's weights must be float32")
    alone = copy.deepcopy(module).eval()
    device = next(alone.parameters()).device
    generator = torch_generator("a module's images")
    images = torch.randn(16, *pixels.shape, generator=generator).to(device)
    logits = alone(images)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise UserError("the model must return logits, one row an image")
    network = _as_mlp(alone, images, logits, pixels)
    return network or WrappedModule(alone, pixels, logits.shape[1])


def _as_mlp(module: nn.Module, images: Tensor, logits: Tensor, pixels: Pixels) -> WrappedMLP | None:
    """Return the MLP with the module's layers if it gives these logits, else None."""
    layers = linear_layers(module)
    ours = [p for layer in layers for p in (layer.weight, layer.bias)]
    theirs = list(module.parameters())
    if not layers or list(map(id, ours)) != list(map(id, theirs)):
        return None
    sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]
    chained = [layer.in_features for layer in layers] == sizes[:-1]
    if not chained or sizes[0] != images[0].numel() or sizes[-1] != logits.shape[1]:
        return None
    # Which functions stand between the layers is not told by their list: it is tried.
    theta = nn.utils.parameters_to_vector(theirs).unsqueeze(0)
    found = MLP(sizes[0], sizes[1:-1], sizes[-1]).forward(theta, images.flatten(1).unsqueeze(0))[0]
    same = torch.allclose(found, logits, rtol=1e-3, atol=1e-4)
    return WrappedMLP(sizes, pixels) if same else None


class TorchOptimizer(Optimizer):
    """A torch optimiser on a module's parameters, as the optimiser of a stack of one run.

    Args:
        optimizer: the user's.
        give: makes a gradient [1, D] the parameters' own.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, give: Callable[[Tensor], None]) -> None:
        self.optimizer = optimizer
        self._give = give

    @property
    def learning_rate(self) -> Tensor:  # type: ignore[override]
        """The rate of now, [1, 1]."""
        return self._column(self._number("lr"))

    @property
    def effective_rate(self) -> Tensor:
        damped = 1 - self._number("dampening")
        return self._column(self._number("lr") * damped / (1 - self._number("momentum")))

    def set_rate(self, rate: Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = float(rate)

    def _number(self, name: str) -> float:
        found = sorted({float(group.get(name, 0)) for group in self.optimizer.param_groups})
        if len(found) > 1:
            raise UserError(
                f"the optimiser's parameter groups have different {name} "
                f"({', '.join(map(str, found))}); strategies need one for all weights"
            )
        return found[0]

    def _column(self, value: float) -> Tensor:
        return column([value], self.optimizer.param_groups[0]["params"][0].device)

    def step(self, theta: Tensor, gradient: Tensor) -> None:
        # The parameters are views of theta, and the decay is the user's optimiser's.
        self._move(theta, gradient)

    def _move(self, theta: Tensor, gradient: Tensor) -> None:
        self._give(gradient)
        self.optimizer.step()

    def reset(self) -> None:
        self.optimizer.state = defaultdict(dict)


class Experiences(Benchmark):
    """A user's tasks as they come, as the benchmark that `TaskData` is made from."""

    def __init__(self, scenario: Scenario, n_outputs: int) -> None:
        self.scenario = scenario
        self.n_outputs = n_outputs
        self.n_tasks = 0
        self.output_mask = np.zeros((0, n_outputs), dtype=bool)
        self._now: Examples

    def add(self, seen: Tensor, labels: Tensor, outputs: Sequence[int]) -> None:
        """Begin the next task.

        Args:
            seen: its images as strategies see them, float32 [n, F].
            labels: int64 [n].
            outputs: those that belong to it.
        """
        mask = np.zeros((1, self.n_outputs), dtype=bool)
        mask[0, list(outputs)] = True
        self.output_mask = np.concatenate([self.output_mask, mask])
        self.n_tasks += 1
        images = (seen * 255).round().to(torch.uint8) if are_bytes(seen) else seen.float()
        self._now = Examples(images.cpu().numpy(), labels.cpu().numpy())

    def examples(self, seed: int, task: int, split: Split) -> Examples:
        if task != self.n_tasks - 1 or split != "train":
            raise ForbiddenData("only the training data of the task in training are at hand")
        return self._now

    def epoch_size(self, task: int) -> int:
        return len(self._now.labels)

    def stream_id(self, seed: int) -> str:
        return ""

    def describe(self, seed: int) -> list[dict[str, Any]]:
        return []
