"""Optimisers on a weight stack: torch.optim's SGD, momentum, Adam, RMSProp, settings for each run.

Every number is an [R, 1] tensor, so that a grid over learning rates trains as one stack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from cl_bench.config import OptimizerConfig
from cl_bench.engine.state import Kept


def column(values: Sequence[float], device: torch.device) -> Tensor:
    """Return one number a run as a float32 tensor [R, 1]."""
    return torch.tensor(values, dtype=torch.float32, device=device).unsqueeze(1)


class Optimizer(Kept, ABC):
    """One optimiser for the whole stack.

    Args:
        configs: one configuration a run; they share the name.
        device: where the weights live.
    """

    def __init__(self, configs: Sequence[OptimizerConfig], device: torch.device) -> None:
        self.learning_rate: Tensor
        """[R, 1]; `set_rate` changes it."""
        self.set_rate(column([c.learning_rate for c in configs], device))
        self._decay = column([c.weight_decay for c in configs], device)
        self._decays = any(c.weight_decay for c in configs)

    def set_rate(self, rate: Tensor) -> None:
        """Go on with another learning rate, [R, 1]; what is remembered of the past stays."""
        self.learning_rate = rate
        self._negative_rate = -rate

    @property
    def effective_rate(self) -> Tensor:
        """How far a steady gradient of 1 moves a weight each step, [R, 1]."""
        return self.learning_rate

    def step(self, theta: Tensor, gradient: Tensor) -> None:
        """Move theta [R, D] in place along the loss gradient [R, D], which is left as it is."""
        if self._decays:
            gradient = gradient + self._decay * theta
        self._move(theta, gradient)

    @abstractmethod
    def _move(self, theta: Tensor, gradient: Tensor) -> None: ...

    def reset(self) -> None:
        """Forget the past: a new task starts."""


class SGD(Optimizer):
    """theta <- theta - rate * gradient."""

    def _move(self, theta: Tensor, gradient: Tensor) -> None:
        theta.addcmul_(gradient, self._negative_rate)


class Momentum(Optimizer):
    """velocity <- momentum * velocity + gradient; theta <- theta - rate * velocity."""

    def __init__(self, configs: Sequence[OptimizerConfig], device: torch.device) -> None:
        super().__init__(configs, device)
        self._momentum = column([c.momentum for c in configs], device)
        self.velocity: Tensor | None = None

    @property
    def effective_rate(self) -> Tensor:
        return self.learning_rate / (1 - self._momentum)

    def _move(self, theta: Tensor, gradient: Tensor) -> None:
        if self.velocity is None:
            self.velocity = torch.zeros_like(theta)
        self.velocity.mul_(self._momentum).add_(gradient)
        theta.addcmul_(self.velocity, self._negative_rate)

    def reset(self) -> None:
        self.velocity = None


class Adam(Optimizer):
    """Adam with bias correction (Kingma & Ba 2015), in the order of operations of torch.optim."""

    def __init__(self, configs: Sequence[OptimizerConfig], device: torch.device) -> None:
        super().__init__(configs, device)
        self._beta1 = column([c.beta1 for c in configs], device)
        self._beta2 = column([c.beta2 for c in configs], device)
        self._epsilon = column([c.epsilon for c in configs], device)
        self.steps = 0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None

    def _move(self, theta: Tensor, gradient: Tensor) -> None:
        if self.mean is None or self.square is None:
            self.mean = torch.zeros_like(theta)
            self.square = torch.zeros_like(theta)
        self.steps += 1
        self.mean.lerp_(gradient, 1 - self._beta1)
        # One tensor for all that is intermediate: each new one costs a large stack page faults.
        scratch = gradient * (1 - self._beta2)
        self.square.mul_(self._beta2).addcmul_(scratch, gradient)
        torch.sqrt(self.square, out=scratch)
        scratch.div_((1 - self._beta2**self.steps).sqrt()).add_(self._epsilon)
        torch.div(self.mean, scratch, out=scratch)
        theta.add_(scratch.mul_(self._negative_rate / (1 - self._beta1**self.steps)))

    def reset(self) -> None:
        self.steps = 0
        self.mean = self.square = None


class RMSProp(Optimizer):
    """theta <- theta - rate * gradient / (root of its mean square + epsilon) (Hinton 2012)."""

    def __init__(self, configs: Sequence[OptimizerConfig], device: torch.device) -> None:
        super().__init__(configs, device)
        self._beta2 = column([c.beta2 for c in configs], device)
        # Not 1 - beta2 in float32, which is off by 5e-5 of itself and never corrected for.
        self._rest = column([1 - c.beta2 for c in configs], device)
        self._epsilon = column([c.epsilon for c in configs], device)
        self.square: Tensor | None = None

    def _move(self, theta: Tensor, gradient: Tensor) -> None:
        if self.square is None:
            self.square = torch.zeros_like(theta)
        scratch = gradient * self._rest
        self.square.mul_(self._beta2).addcmul_(scratch, gradient)
        torch.sqrt(self.square, out=scratch).add_(self._epsilon)
        torch.div(gradient, scratch, out=scratch)
        theta.add_(scratch.mul_(self._negative_rate))

    def reset(self) -> None:
        self.square = None


_OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adam": Adam,
    "rmsprop": RMSProp,
}


def build_optimizer(configs: Sequence[OptimizerConfig], device: torch.device) -> Optimizer:
    """Return the optimiser of a stack, whose runs share its name."""
    return _OPTIMIZERS[configs[0].name](configs, device)
