"""Any `torch.nn.Module` as a network of a weight stack, by way of `torch.func`.

Slower than the products written out for `MLP`, and as free of company: what a run computes does
not depend on how many are stacked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cl_bench.engine.layout import lay_out
from cl_bench.engine.networks import Cotangent, Gates, Network, power_of
from cl_bench.seeding import torch_generator


@contextmanager
def same_kernels() -> Iterator[None]:
    """Keep to kernels whose sums do not depend on how many runs are stacked: oneDNN's do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration")
        with torch.backends.mkldnn.flags(enabled=False):
            yield


class ModuleNetwork(Network):
    """Any `torch.nn.Module` without buffers, run over the stack by `torch.func.vmap`.

    Args:
        build: makes the module; called once with torch's generator seeded for each initial vector.
        input_shape: channels, height, width; images arrive flat and are given this shape.
        n_outputs: number of logits.
    """

    def __init__(
        self, build: Callable[[], nn.Module], input_shape: tuple[int, ...], n_outputs: int
    ) -> None:
        self.build = build
        self.input_shape = input_shape
        self.n_outputs = n_outputs
        with torch.random.fork_rng(devices=[]):
            self.module = build().requires_grad_(False)
        if next(self.module.buffers(), None) is not None:
            raise ValueError("a stacked network cannot have buffers (batch normalisation, say)")
        self.parameters = lay_out(
            [(name, tuple(p.shape)) for name, p in self.module.named_parameters()]
        )

    def initial(self, seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(torch_generator("initial weights", seed).initial_seed())
            return nn.utils.parameters_to_vector(self.build().parameters()).detach().clone()

    def _one(self, theta: Tensor, images: Tensor) -> Tensor:
        shaped = images.unflatten(-1, self.input_shape)
        return torch.func.functional_call(self.module, self.unstack(theta), (shaped,))

    @same_kernels()
    def forward(self, theta: Tensor, images: Tensor) -> Tensor:
        over_runs = torch.func.vmap(self._one)
        if theta.dim() == 3:
            over_runs = torch.func.vmap(torch.func.vmap(self._one, in_dims=(0, None)))
        return over_runs(theta, images)

    @same_kernels()
    def features(self, theta: Tensor, images: Tensor) -> Tensor:
        if not isinstance(self.module, nn.Sequential):
            raise ValueError("features need a network whose module is a torch.nn.Sequential")
        body = self.module[:-1]
        names = dict(body.named_parameters())

        def one(weights: Tensor, image: Tensor) -> Tensor:
            shaped = image.unflatten(-1, self.input_shape)
            own = {name: value for name, value in self.unstack(weights).items() if name in names}
            return torch.func.functional_call(body, own, (shaped,))

        return torch.func.vmap(one)(theta, images)

    @same_kernels()
    def backward(
        self,
        theta: Tensor,
        images: Tensor,
        cotangent: Cotangent,
        out: Tensor,
        gates: Gates | None = None,
    ) -> None:
        if gates is not None:
            raise ValueError("gates need the network 'mlp'")
        logits, pull_back = _vjp(lambda t: self.forward(t, images), theta)
        out.copy_(pull_back(cotangent(logits.detach())))

    @same_kernels()
    def per_sample_power(
        self, theta: Tensor, images: Tensor, cotangents: Tensor, power: int
    ) -> Tensor:
        def one_vector(weights: Tensor, image: Tensor, vector: Tensor) -> Tensor:
            _, pull_back = _vjp(lambda t: self._one(t, image[None])[0], weights)
            return pull_back(vector)

        over_vectors = torch.func.vmap(one_vector, in_dims=(None, None, 0))
        over_samples = torch.func.vmap(over_vectors, in_dims=(None, 0, 0))
        over_runs = torch.func.vmap(over_samples)
        total = torch.zeros_like(theta)
        # Per-sample gradients are D numbers each: a few images at a time bound the memory.
        for part in range(0, images.shape[1], 16):
            span = slice(part, part + 16)
            total += power_of(over_runs(theta, images[:, span], cotangents[:, span]), power).sum(
                (1, 2)
            )
        return total


def _vjp(
    function: Callable[[Tensor], Tensor], at: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the value of a function of one tensor and its vector-Jacobian product there."""
    value, pull_back = torch.func.vjp(function, at)[:2]
    return value, lambda vector: pull_back(vector)[0]
