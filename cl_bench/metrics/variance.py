"""How much of a metric's spread over seeds is the task stream's, and how much the initialisation's.

Runs of a crossed grid (every stream from every initialisation) are decomposed by a two-way random
effects analysis of variance. A run is determined by its two seeds, so that what neither explains
alone is their interaction, with no noise in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cl_bench.metrics.statistics import LEVEL, RESAMPLES
from cl_bench.seeding import numpy_generator

EFFECTS = ("stream", "initialisation", "interaction")


@dataclass(frozen=True)
class Effect:
    """A figure of one source of variance, with its interval."""

    name: str
    """One of `EFFECTS`, or "both": all of them, what seeds that vary both have."""
    deviation: float
    """Standard deviation that this source alone gives the metric."""
    low: float
    high: float
    share: float
    """Its part of the whole variance; NaN where there is none."""
    share_low: float
    share_high: float


def decompose(values: ArrayLike) -> list[Effect]:
    """Return the effects of stream, initialisation and their interaction, and that of both.

    y[s, i] = mean + a[s] + b[i] + e[s, i], all random; the variances of a, b and e are those of
    the mean squares (Searle, Casella & McCulloch 1992, Variance Components, ch. 4), 0 where that
    is negative. The intervals are generalised confidence intervals (Weerahandi 1993, JASA 88):
    the sums of squares are divided by draws from their chi-squared distributions. On 5 × 5 and
    10 × 10 grids they hold the true figure in 92 to 98 of 100 cases, where resampling the levels
    holds it in 75 to 100 and is wider (measured; normal effects, four mixtures).

    Args:
        values: the metric of each run, `[S, I]`: a row a stream, a column an initialisation.

    Raises:
        ValueError: fewer than two of either, or a value that is not finite.
    """
    grid = np.asarray(values, dtype=float)
    if grid.ndim != 2 or min(grid.shape) < 2 or not np.isfinite(grid).all():
        raise ValueError(f"{grid.shape} values are no grid of at least 2 by 2 finite ones")
    generator = numpy_generator("statistics", "variance components")
    sums, degrees = _sums_of_squares(grid - grid[0, 0])  # equal values have no spread at all
    found = _variances(sums, degrees, grid.shape)
    draws = generator.chisquare(degrees, size=(RESAMPLES, 3))
    drawn = _variances(sums * degrees / draws, degrees, grid.shape)
    both, both_drawn = found.sum(), drawn.sum(-1)
    effects = []
    for name, variance, spread in zip(EFFECTS, found, drawn.T, strict=True):
        share = variance / both if both else float("nan")
        shares = spread / both_drawn if both else np.array([np.nan])
        effects.append(Effect(name, *_figures(np.sqrt(variance), np.sqrt(spread), share, shares)))
    whole = _figures(np.sqrt(both), np.sqrt(both_drawn), 1.0, np.ones(1))
    return [*effects, Effect("both", *whole)]


def _sums_of_squares(grid: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of squares of rows, columns and the rest, [3], and degrees of freedom."""
    streams, inits = grid.shape
    mean = grid.mean()
    rows, columns = grid.mean(1, keepdims=True) - mean, grid.mean(0, keepdims=True) - mean
    rest = grid - mean - rows - columns
    sums = [inits * (rows**2).sum(), streams * (columns**2).sum(), (rest**2).sum()]
    degrees = [streams - 1, inits - 1, (streams - 1) * (inits - 1)]
    return np.array(sums), np.array(degrees, dtype=float)


def _variances(
    sums: NDArray[np.float64], degrees: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the variances of a, b and e, [..., 3], of the sums of squares [..., 3]."""
    streams, inits = shape
    squares = sums / degrees
    rest = squares[..., 2]
    found = [(squares[..., 0] - rest) / inits, (squares[..., 1] - rest) / streams, rest]
    return np.maximum(np.stack(found, -1), 0.0)


def _figures(
    deviation: float, deviations: NDArray[np.float64], share: float, shares: NDArray[np.float64]
) -> tuple[float, ...]:
    bounds = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(deviations, bounds)
    share_low, share_high = np.quantile(shares, bounds)
    return tuple(map(float, (deviation, low, high, share, share_low, share_high)))
