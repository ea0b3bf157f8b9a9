"""Batch normalisation whose running statistics are a run's own, as columns of the weight stack.

A run's statistics then are stored, copied and taken up again wherever its weights are. They have
no gradient; what a training step found is written after the optimiser's and the strategy's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class RunningNorm(nn.Module):
    """`torch.nn.BatchNorm` that returns what becomes of its statistics and changes none in place.

    Args:
        layer: the layer whose place it takes; parameters and statistics keep their names.

    Raises:
        ValueError: the layer's average counts batches (`momentum=None`).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layer: _BatchNorm) -> None:
        super().__init__()
        if layer.momentum is None:
            raise ValueError("batch normalisation with momentum=None; give it a number")
        self.weight, self.bias = layer.weight, layer.bias
        self.register_buffer("running_mean", layer.running_mean)
        self.register_buffer("running_var", layer.running_var)
        self.momentum, self.eps = layer.momentum, layer.eps
        self.moved: tuple[Tensor, Tensor] | None = None
        """The statistics after the last minibatch, mean and variance [channels]."""

    def forward(self, values: Tensor) -> Tensor:
        """Return values [B, channels, ...] normalised.

        By the minibatch in training, else by the running statistics.
        """
        mean, variance = self.running_mean.detach(), self.running_var.detach()
        if self.training:
            axes = [axis for axis in range(values.dim()) if axis != 1]
            past_mean, past_variance, count = mean, variance, values.numel() // values.shape[1]
            mean = values.mean(axes)
            variance = values.var(axes, correction=0)
            unbiased = variance.detach() * (count / max(1, count - 1))
            self.moved = (
                past_mean.lerp(mean.detach(), self.momentum),
                past_variance.lerp(unbiased, self.momentum),
            )
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shape = [-1] + [1] * (values.dim() - 2)
        normal = (values - mean.view(shape)) * scale.view(shape)
        return normal if self.bias is None else normal + self.bias.view(shape)

    def take(self) -> tuple[Tensor, Tensor]:
        """Return the statistics after the last minibatch, and forget them."""
        assert self.moved is not None, "a layer that was not used"
        moved, self.moved = self.moved, None
        return moved


def with_running(module: nn.Module) -> nn.Module:
    """Return a module with its batch normalisations, if they keep statistics, as `RunningNorm`."""
    if isinstance(module, _BatchNorm) and module.running_mean is not None:
        return RunningNorm(module)
    for name, inner in module.named_children():
        setattr(module, name, with_running(inner))
    return module


def norms_of(module: nn.Module) -> dict[str, RunningNorm]:
    """Return the layers of a module that keep running statistics, by name."""
    return {n: each for n, each in module.named_modules() if isinstance(each, RunningNorm)}


def moved_by(module: nn.Module) -> Tensor:
    """Return the statistics after a module's last minibatch, in the order of `norms_of`."""
    return torch.cat([part for each in norms_of(module).values() for part in each.take()])
