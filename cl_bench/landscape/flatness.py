"""Flatness of the loss along directions of weight space, measured by bracketing.

F = d_right - d_left, where the loss along the direction has grown by the factor e on either side
(Feng & Tu, arXiv 2001.01678, our reading). A quadratic log-loss of curvature h has F = sqrt(8/h).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
"""Maps weights [R, K, D] to losses [R, K]."""


def flatness(
    loss: Loss,
    theta: Tensor,
    directions: Tensor,
    *,
    start: float = 0.1,
    limit: float = 1e4,
    relative_error: float = 0.005,
) -> Tensor:
    """Return the flatness of the loss along each direction.

    All directions and both sides are bracketed at once: the distance doubles until the loss
    exceeds e times its value at theta, then the bracket is halved.

    Args:
        loss: the loss of many weight vectors.
        theta: the minimum w0, [R, D].
        directions: unit vectors, [R, k, D].
        start: first distance tried, in units of weight.
        limit: a side that is still flat at this distance counts as this wide.
        relative_error: of each side's distance.

    Returns:
        [R, k], in units of weight.
    """
    both = torch.cat([directions, -directions], 1)
    target = math.e * loss(theta.unsqueeze(1))
    low = torch.zeros(both.shape[:2], device=theta.device)
    high = torch.full_like(low, math.inf)
    # A side that is steep at `start` already is halved towards 0 from there.
    halvings = math.ceil(math.log2(1 / relative_error)) + 8
    for _ in range(math.ceil(math.log2(limit / start)) + halvings):
        # A bracket that is narrow enough stays as it is, whatever others of the stack still need.
        open_end = high.isinf()
        done = torch.where(open_end, low >= limit, high - low <= 2 * relative_error * low)
        if bool(done.all()):
            break
        distance = torch.where(open_end, (2 * low).clamp(min=start), (low + high) / 2)
        above = loss(theta.unsqueeze(1) + distance.unsqueeze(-1) * both) >= target
        high = torch.where(above & ~done, distance, high)
        low = torch.where(above | done, low, distance)
    side = torch.where(high.isinf(), low, (low + high) / 2)
    k = directions.shape[1]
    return side[:, :k] + side[:, k:]
