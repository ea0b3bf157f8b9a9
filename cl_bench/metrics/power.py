"""Power of the paired comparison: how small a difference so many seeds can show.

The test is the two-sided paired t-test that verdicts rest on; its power comes from the noncentral
t distribution. Differences that do not vary are tested by sign flips (`statistics`), which show
them for certain or never. The standard deviation is that of the seeds at hand; at five seeds the
true one may be .6 to 2.9 times as large (95 %), so that what comes out is for planning.
"""

from __future__ import annotations

import math

import numpy as np

from cl_bench.metrics.statistics import LEVEL, MIN_SEEDS, least_sign_flip_p

POWER = 0.8
"""Chance of showing a difference that is there."""
ALPHA = 1 - LEVEL
MOST_SEEDS = 1_000_000
"""Seeds beyond which none is asked for."""


def power(difference: float, deviation: float, seeds: int, alpha: float = ALPHA) -> float:
    """Return the chance that a two-sided paired t-test shows a true difference.

    Args:
        difference: the true mean difference, in the metric's unit.
        deviation: standard deviation of the paired differences, in the same unit.
        seeds: number of common seeds.
        alpha: error rate of the test.

    Returns:
        A probability; NaN under two seeds or where the deviation is not defined.
    """
    if seeds < 2 or not math.isfinite(deviation):
        return float("nan")
    if deviation == 0:
        return float(difference != 0 and least_sign_flip_p(seeds) < alpha)
    return _power(abs(difference) / deviation * math.sqrt(seeds), seeds, alpha)


def seeds_needed(difference: float, deviation: float, alpha: float = ALPHA) -> int | None:
    """Return the fewest seeds at which a true difference is shown with 80 % power.

    Never under `MIN_SEEDS`, below which no winner is named.

    Args:
        difference: the true mean difference, not 0.
        deviation: standard deviation of the paired differences.
        alpha: error rate of the test.

    Returns:
        None where more than a million are needed or the deviation is not defined.
    """

    def enough(seeds: int) -> bool:
        return power(difference, deviation, seeds, alpha) >= POWER

    if not math.isfinite(deviation):
        return None
    low, high = MIN_SEEDS - 1, MIN_SEEDS
    while not enough(high):
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable(deviation: float, seeds: int, alpha: float = ALPHA) -> float:
    """Return the smallest true difference that so many seeds show with 80 % power.

    Args:
        deviation: standard deviation of the paired differences.
        seeds: number of common seeds.
        alpha: error rate of the test.

    Returns:
        A difference in the deviation's unit; NaN where nothing can be shown (under `MIN_SEEDS`,
        or of differences that do not vary), or where the deviation is not defined.
    """
    if seeds < MIN_SEEDS or not math.isfinite(deviation):
        return float("nan")
    if deviation == 0:
        return 0.0 if least_sign_flip_p(seeds) < alpha else float("nan")
    from scipy.optimize import brentq

    root = brentq(lambda at: _power(at, seeds, alpha) - POWER, 0.0, _certain(seeds, alpha))
    return float(root) * deviation / math.sqrt(seeds)


def _power(noncentrality: float, seeds: int, alpha: float) -> float:
    from scipy.stats import nct

    at = min(noncentrality, _certain(seeds, alpha))  # SciPy has 0 where it is far greater
    critical = _critical(seeds, alpha)
    above = nct.sf(critical, seeds - 1, at)
    below = nct.cdf(-critical, seeds - 1, at)  # NaN where it is nearly 0
    return float(np.nan_to_num(above) + np.nan_to_num(below))


def _certain(seeds: int, alpha: float) -> float:
    """Return a noncentrality at which a difference is shown as good as always."""
    return 10 * _critical(seeds, alpha)


def _critical(seeds: int, alpha: float) -> float:
    from scipy.stats import t

    return float(t.isf(alpha / 2, seeds - 1))
