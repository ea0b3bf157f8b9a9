"""The reduced ResNet-18 of the continual-learning literature, with batch or group normalisation.

Lopez-Paz & Ranzato 2017 (arXiv 1706.08840, section 4): He et al.'s network for small images with
20, 40, 80 and 160 feature maps, about a third of the usual number at each layer.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Norm = Literal["batch", "group"]
WIDTH = 20
_GROUP = 10
"""Channels of a group."""


def resnet18(input_shape: tuple[int, ...], n_outputs: int, norm: Norm = "batch") -> nn.Module:
    """Return a ResNet of 18 layers with 20 feature maps in the first, and its outputs."""
    blocks: list[nn.Module] = []
    wide = WIDTH
    for stage in range(4):
        for first in (True, False):
            out = WIDTH * 2**stage
            blocks.append(BasicBlock(wide, out, 2 if first and stage else 1, norm))
            wide = out
    return nn.Sequential(
        nn.Conv2d(input_shape[0], WIDTH, 3, padding=1, bias=False),
        _normalisation(WIDTH, norm),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(wide, n_outputs),
    )


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a way around them (He et al. 2016)."""

    def __init__(self, wide: int, out: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(wide, out, 3, stride, padding=1, bias=False),
            _normalisation(out, norm),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            _normalisation(out, norm),
        )
        self.around: nn.Module = nn.Identity()
        if stride > 1 or wide != out:
            self.around = nn.Sequential(
                nn.Conv2d(wide, out, 1, stride, bias=False), _normalisation(out, norm)
            )

    def forward(self, values: Tensor) -> Tensor:
        """Return feature maps [B, out, H / stride, W / stride] of [B, wide, H, W]."""
        return (self.body(values) + self.around(values)).relu()


def _normalisation(channels: int, norm: Norm) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(channels // _GROUP, channels)
