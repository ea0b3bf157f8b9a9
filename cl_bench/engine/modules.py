"""Any `torch.nn.Module` as a network of a weight stack, by way of `torch.func`.

Slower than the products written out for `MLP`, and as free of company: what a run computes does
not depend on how many are stacked.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cl_bench.engine.layout import lay_out
from cl_bench.engine.networks import Cotangent, Gates, Network, power_of
from cl_bench.engine.running import moved_by, norms_of, with_running
from cl_bench.seeding import torch_generator


@contextmanager
def same_kernels() -> Iterator[None]:
    """Keep to kernels whose sums do not depend on how many runs are stacked: oneDNN's do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration")
        with torch.backends.mkldnn.flags(enabled=False):
            yield


class ModuleNetwork(Network):
    """Any `torch.nn.Module`, run over the stack by `torch.func.vmap`.

    A batch normalisation's running statistics are the last columns of the weights: a run's own,
    moved by training steps, and what evaluation normalises by. Other buffers are constants.

    Args:
        build: makes the module; called once with torch's generator seeded for each initial vector.
        input_shape: channels, height, width; images arrive flat and are given this shape.
        n_outputs: number of logits.

    Raises:
        ValueError: a layer's running statistics cannot be a run's own.
    """

    def __init__(
        self, build: Callable[[], nn.Module], input_shape: tuple[int, ...], n_outputs: int
    ) -> None:
        self.build = build
        self.input_shape = input_shape
        self.n_outputs = n_outputs
        self.training = self._made(0).train()
        """The module as it is in training; `module` is the same in evaluation."""
        self.module = copy.deepcopy(self.training).eval()
        trained = [(name, tuple(p.shape)) for name, p in self.module.named_parameters()]
        running = [
            (f"{name}.{kind}", tuple(getattr(norm, kind).shape))
            for name, norm in norms_of(self.module).items()
            for kind in ("running_mean", "running_var")
        ]
        self.parameters = lay_out(trained + running)
        self.trained = self.parameters[: len(trained)]
        self.running = lay_out(running)

    def _made(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(seed)
            return with_running(self.build()).requires_grad_(False)

    @property
    def n_running(self) -> int:
        return self.running[-1].stop if self.running else 0

    def initial(self, seed: int) -> Tensor:
        made = self._made(torch_generator("initial weights", seed).initial_seed())
        values = dict(made.named_parameters()) | dict(made.named_buffers())
        return torch.cat([values[p.name].flatten() for p in self.parameters]).clone()

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
        last = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)][-1:]
        if not last:
            raise ValueError("features need a network whose last layer is a torch.nn.Linear")
        found: list[Tensor] = []
        handle = last[0].register_forward_pre_hook(lambda _, given: found.append(given[0]))

        def one(weights: Tensor, image: Tensor) -> Tensor:
            self._one(weights, image)
            return found.pop()

        try:
            return torch.func.vmap(one)(theta, images)
        finally:
            handle.remove()

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
        if not self.running:
            logits, pull_back = _vjp(lambda t: self.forward(t, images), theta)
            out.copy_(pull_back(cotangent(logits.detach())))
            return
        cut = self.trained[-1].stop

        def in_training(weights: Tensor) -> tuple[Tensor, Tensor]:
            return torch.func.vmap(self._one_in_training)(weights, theta[:, cut:], images)

        found: tuple[Any, ...] = torch.func.vjp(in_training, theta[:, :cut], has_aux=True)
        logits, pull_back, self.moved = found
        out[:, :cut].copy_(pull_back(cotangent(logits.detach()))[0])
        out[:, cut:].zero_()

    def _one_in_training(
        self, weights: Tensor, running: Tensor, images: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of a minibatch, normalised by itself, and the statistics after it."""
        shaped = images.unflatten(-1, self.input_shape)
        values = {p.name: p.view(weights) for p in self.trained}
        values |= {p.name: p.view(running) for p in self.running}
        logits = torch.func.functional_call(self.training, values, (shaped,))
        return logits, moved_by(self.training)

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
