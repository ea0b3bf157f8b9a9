"""The rate of the machine's matrix products, against which training is held."""

from __future__ import annotations

import torch

from cl_bench.bench.timing import clock

SIDES = (256, 384, 512, 768, 1024)
"""Sides of the square matrices tried; the best size is the machine's peak."""


def matrix_product_peak(seconds: float = 0.3) -> float:
    """Return the best rate of square float32 products, in floating-point operations a second.

    Args:
        seconds: time spent trying, shared between the sizes.
    """
    generator = torch.Generator().manual_seed(0)
    best = 0.0
    for side in SIDES:
        a, b = (torch.randn(side, side, generator=generator) for _ in range(2))
        out = torch.empty(side, side)
        end = clock() + seconds / len(SIDES)
        while True:
            start = clock()
            torch.mm(a, b, out=out)
            now = clock()
            best = max(best, 2 * side**3 / (now - start))
            if now > end:
                break
    return best
