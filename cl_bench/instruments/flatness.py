"""Flatness of the loss along directions of weight space, measured by bracketing.

F = d_right - d_left, where the loss along the direction has grown by the factor e on either side
(Feng & Tu, arXiv 2001.01678, our reading). A quadratic log-loss of curvature h has F = sqrt(8/h).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
"""Maps weights [R, K, D] to losses [R, K]."""
Along = Callable[[Tensor], Tensor]
"""Maps distances [R, 2k] from w0, along k directions and against them, to losses [R, 2k]."""
Growth = Callable[[Tensor, Tensor], Tensor]
"""Maps distances [n] along n lines, and bool [n] (the lines that are asked for), to how much the
logarithm of the loss has grown there, [n]; what it gives for other lines is not looked at."""

_ROUNDS = 60


@dataclass(frozen=True)
class Sides:
    """How far the loss is flat on either side of the minimum."""

    left: Tensor
    """-d_left, [R, k], in units of weight."""
    right: Tensor
    """d_right, [R, k]."""
    error: Tensor
    """A bound on the error of `flatness`, [R, k]; infinite where a side is flat to the limit."""

    @property
    def flatness(self) -> Tensor:
        """F = d_right - d_left, [R, k]."""
        return self.left + self.right


def flatness(
    loss: Loss,
    theta: Tensor,
    directions: Tensor,
    *,
    start: float = 0.1,
    limit: float = 1e4,
    relative_error: float = 0.005,
) -> Tensor:
    """Return the flatness of the loss along each direction, [R, k], in units of weight.

    Arguments as of `sides`.
    """
    found = sides(loss, theta, directions, start=start, limit=limit, relative_error=relative_error)
    return found.flatness


def sides(
    loss: Loss,
    theta: Tensor,
    directions: Tensor,
    *,
    start: float = 0.1,
    limit: float = 1e4,
    relative_error: float = 0.005,
) -> Sides:
    """Return how far the loss is flat along each direction, on both sides.

    Args:
        loss: the loss of many weight vectors.
        theta: the minimum w0, [R, D].
        directions: unit vectors, [R, k, D].
        start: first distance tried, in units of weight.
        limit: a side that is still flat at this distance counts as this wide.
        relative_error: of each side's distance.
    """
    both = torch.cat([directions, -directions], 1)
    level = loss(theta.unsqueeze(1))

    def along(distance: Tensor) -> Tensor:
        return loss(theta.unsqueeze(1) + distance.unsqueeze(-1) * both)

    begin = torch.full(both.shape[:2], start, device=theta.device)
    return sides_along(along, level, begin, limit=limit, relative_error=relative_error)


def sides_along(
    along: Along,
    level: Tensor,
    start: Tensor,
    *,
    limit: float = 1e4,
    relative_error: float = 0.005,
) -> Sides:
    """Return how far the loss is flat, as `sides` does, where it is known along the lines alone.

    Args:
        along: the loss along k directions and against them.
        level: the loss at the minimum, [R, 1].
        start: first distances tried, [R, 2k].
        limit: a side that is still flat at this distance counts as this wide.
        relative_error: of each side's distance.
    """
    base = level.log()

    def growth(distance: Tensor, asked: Tensor) -> Tensor:
        return (along(distance.view_as(start)).log() - base).reshape(-1)

    low, high = bracket(growth, start.reshape(-1), limit=limit, relative_error=relative_error)
    return from_brackets(low.view_as(start), high.view_as(start))


def from_brackets(low: Tensor, high: Tensor) -> Sides:
    """Return the sides from brackets [R, 2k]: those along the directions, then those against."""
    open_end = high.isinf()
    middle = torch.where(open_end, low, (low + high) / 2)
    right, left = middle.chunk(2, 1)
    errors = ((high - low) / 2).chunk(2, 1)
    return Sides(left, right, errors[0] + errors[1])


def bracket(
    growth: Growth, start: Tensor, *, limit: float = 1e4, relative_error: float = 0.005
) -> tuple[Tensor, Tensor]:
    """Bracket the distance along each line at which the loss has grown by the factor e.

    Outside a bracket the distance grows by what a quadratic log-loss would ask for, at least by
    1.5; inside, trial points come from a straight line in log-log coordinates, set off towards
    the wider part so that both ends close in, and every third halves the bracket whatever comes.

    Args:
        growth: of the logarithm of the loss.
        start: first distance tried on each line, [n].
        limit: a line still flat there is given up: its `high` stays infinite.
        relative_error: half the width of a bracket, against `low`, at which it is done.

    Returns:
        (low, high), [n] each: the loss has grown by less than e at low, by e or more at high.
    """
    low, high = torch.zeros_like(start), torch.full_like(start, math.inf)
    # Growth at either end; at 0 there is none.
    at_low, at_high = torch.zeros_like(start), torch.full_like(start, math.inf)
    trial = start
    for count in range(_ROUNDS):
        open_end = high.isinf()
        done = torch.where(open_end, low >= limit, high - low <= 2 * relative_error * low)
        if bool(done.all()):
            break
        if count:
            halve = count % 3 == 0
            trial = _next(low, high, at_low, at_high, relative_error, halve=halve)
        grown = growth(trial, ~done).to(start.dtype)
        # Not-a-number is a loss beyond all bounds.
        grown = torch.where(grown.isnan(), torch.full_like(grown, math.inf), grown)
        above = grown >= 1
        raised, lowered = ~done & ~above, ~done & above
        low, at_low = torch.where(raised, trial, low), torch.where(raised, grown, at_low)
        high, at_high = torch.where(lowered, trial, high), torch.where(lowered, grown, at_high)
    return low, high


def _next(
    low: Tensor,
    high: Tensor,
    at_low: Tensor,
    at_high: Tensor,
    relative_error: float,
    *,
    halve: bool,
) -> Tensor:
    """Return where to look next on each line."""
    factor = (1.05 / at_low.clamp(min=1e-6)).sqrt().clamp(1.5, 8.0)
    outward = low * factor
    inward = high * (0.95 / at_high).sqrt().clamp(1 / 64, 0.7)
    # Growth ~ distance^a between the ends; where the loss fell at first, half the way.
    steep = at_low > 1e-3
    share = at_low.clamp(min=1e-3).log() / (at_low.clamp(min=1e-3) / at_high).log()
    usable = steep & at_high.isfinite() & share.isfinite()
    share = torch.where(usable & (not halve), share, torch.full_like(share, 0.5))
    width = (high / low.clamp(min=1e-30)).log()
    # Just past the expected place, on the side where more of the bracket is then cut off.
    aside = (relative_error / width).clamp(max=0.25)
    share = torch.where(share < 0.5, share + aside, share - aside).clamp(0.02, 0.98)
    inside = low * (share * width).exp()
    return torch.where(high.isinf(), outward, torch.where(low == 0, inward, inside))
