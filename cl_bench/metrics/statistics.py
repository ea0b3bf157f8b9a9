"""Statistics across seeds: how sure a mean is, and which of two strategies does better.

Strategies are compared paired by seed: the same task stream and the same initial weights, so
that what differs is the strategy.

A winner is named only where there are at least `MIN_SEEDS` common seeds, the bootstrap interval
of the difference leaves out 0, *and* Holm's correction of the paired t-test holds over all pairs
of the protocol. The interval alone would not do: between equals (normal differences, 5 seeds) a
95 % BCa interval leaves out 0 in 16 of 100 pairs, and among five equal strategies it names at
least one winner in 72 of 100 protocols; with the t-test and Holm it is 3 (measured).

**What few seeds can show.** The t-test takes differences to be normal; that is what it buys small
p-values at five seeds with. The exact sign-flip test takes them to be symmetric about 0 alone, and
n seeds then allow no p below 2 / 2^n: .0625 at 5 (no winner, ever), .03125 at 6 (one pair), .00195
at 10 (25 pairs by Holm). Both are reported. The differences on the suite's leaderboards, centred
and with random signs, five at a time, give t-tests below .05, .01, .001 and .0001 in .67, .57, .75
and 1.3 times as many cases as they should (measured, 122,600 draws), so that there its small
p-values are honest; of exponential differences they are not (2.4, 5, 13 and 25 times).

A t-test needs a spread. Where the differences vary by less than the step that they are measured
in (accuracies are multiples of 1 / images), their deviation is that of rounding: it can be 0 by
chance, and p then, too. Of such differences p is the sign-flip test's, and so never below 2 / 2^n.

How often a 95 % interval of the mean holds the true one, of 2,000 samples each (measured):

    seeds  values         BCa   percentile  Student's t
    5      normal         .85   .86         .96
    5      exponential    .79   .78         .87
    5      log-normal     .74   .71         .82
    10     normal         .89   .89         .95
    10     exponential    .87   .85         .89
    10     log-normal     .83   .81         .85

BCa is the field's custom and follows skew where there are seeds enough to show it; at few seeds
Student's interval is the safer one. A difference has both, and a verdict asks for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cl_bench.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd

MIN_SEEDS = 5
"""Common seeds below which no winner is named."""
LEVEL = 0.95
"""Confidence level of every interval; 1 - LEVEL is the error rate of the verdicts."""
RESAMPLES = 10_000
_SAME = 1e-12
"""Figures that differ by less are the same, but for the order of their sums."""

TOO_FEW = "too few seeds"
A_HIGHER = "A higher"
B_HIGHER = "B higher"
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap confidence interval; NaN where it is not defined."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Share:
    """The share of seeds at which something holds, with its exact interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Two strategies' values at the same seeds, A less B; NaN where it is not defined."""

    interval: Interval
    """The mean difference with its BCa interval."""
    student: Interval
    """The mean difference with Student's t interval."""
    median: float
    deviation: float
    """Standard deviation of the paired differences."""
    above: Share
    """The seeds at which A is above B."""
    p: float
    """Two-sided paired t-test; `p_sign_flip` where the differences vary by less than the step that
    they are measured in, of which a t-test would claim more than so many seeds can show."""
    p_sign_flip: float
    """Two-sided exact sign-flip test (10,000 random flips from 14 seeds on)."""


def mean_interval(values: ArrayLike) -> Interval:
    """Return the mean of independent values with its BCa bootstrap interval.

    The same values give the same interval. Constant values give that constant; fewer than two,
    or any that are not finite, give NaN bounds. (Efron 1987, JASA 82: bias-corrected and
    accelerated.)
    """
    data = np.asarray(values, dtype=float)
    mean = float(data.mean()) if len(data) else float("nan")
    if len(data) < 2 or not np.isfinite(data).all():
        return Interval(mean, float("nan"), float("nan"), len(data))
    if _constant(data):
        return Interval(mean, mean, mean, len(data))
    from scipy.stats import bootstrap

    result = bootstrap(
        (data,),
        np.mean,
        n_resamples=RESAMPLES,
        vectorized=True,
        confidence_level=LEVEL,
        method="BCa",
        rng=numpy_generator("statistics", "bootstrap"),
    ).confidence_interval
    return Interval(mean, float(result.low), float(result.high), len(data))


def paired_difference(a: ArrayLike, b: ArrayLike) -> Difference:
    """Return the mean of a - b with its interval and tests; `a[i]` and `b[i]` share a seed.

    Raises:
        ValueError: `a` and `b` differ in length.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} values cannot be paired")
    delta = first - second
    interval = mean_interval(delta)
    nan = float("nan")
    median = float(np.median(delta)) if len(delta) else nan
    if len(delta) < 2:
        return Difference(interval, interval, median, nan, share_above(delta), nan, nan)
    deviation = float(delta.std(ddof=1))
    p_sign_flip = _sign_flip_p(delta)
    student, p = interval, p_sign_flip
    if not _constant(delta):
        from scipy.stats import ttest_1samp

        test = ttest_1samp(delta, 0.0)
        bounds = test.confidence_interval(LEVEL)
        student = Interval(interval.mean, float(bounds.low), float(bounds.high), len(delta))
        if deviation >= _step(delta) * (1 - _SAME):
            p = float(test.pvalue)
    return Difference(
        interval=interval,
        student=student,
        median=median,
        deviation=deviation,
        above=share_above(delta),
        p=p,
        p_sign_flip=p_sign_flip,
    )


def least_sign_flip_p(seeds: int) -> float:
    """Return the least p that the exact two-sided sign-flip test has at so many seeds: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - seeds))


def _sign_flip_p(delta: NDArray[np.float64]) -> float:
    from scipy.stats import permutation_test

    same = _same(delta)
    delta = np.round(delta / same) * same  # else sums that tie would not, for their rounding
    flips = permutation_test(
        (delta, np.zeros_like(delta)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=numpy_generator("statistics", "sign flips"),
    )
    return float(flips.pvalue)


def share_above(delta: ArrayLike) -> Share:
    """Return the share of differences above 0, ties counting half, with its exact interval.

    Of A less B by seed this is the probability that A is above B on a new seed, the paired form
    of the probability of improvement (Agarwal et al. 2021, NeurIPS, arXiv 2108.13264). The
    interval is Clopper and Pearson's, its lower bound with every tie lost and its upper one with
    every tie won; NaN where there are no differences.
    """
    values = np.asarray(delta, dtype=float)
    if not len(values):
        return Share(float("nan"), float("nan"), float("nan"))
    from scipy.stats import binomtest

    above, ties = int((values > _SAME).sum()), int((np.abs(values) <= _SAME).sum())

    def interval(count: int) -> Any:
        return binomtest(count, len(values)).proportion_ci(LEVEL, method="exact")

    return Share(
        share=(above + ties / 2) / len(values),
        low=float(interval(above).low),
        high=float(interval(above + ties).high),
    )


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values corrected for their number by Holm's step-down method.

    NaN stays NaN and is not counted. (Holm 1979, Scandinavian Journal of Statistics 6.)
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    stepped = p[order] * np.arange(len(order), 0, -1)
    corrected = np.full_like(p, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected


def verdict(interval: Interval, p_corrected: float) -> str:
    """Return what a comparison shows: who is higher, no difference shown, or too few seeds."""
    if interval.count < MIN_SEEDS:
        return TOO_FEW
    if p_corrected < 1 - LEVEL and interval.low > 0:
        return A_HIGHER
    if p_corrected < 1 - LEVEL and interval.high < 0:
        return B_HIGHER
    return NO_DIFFERENCE


def winner(shown: str, a: str, b: str, *, higher_is_better: bool) -> str | None:
    """Return the name of the one that a verdict favours; None where it favours neither."""
    if shown not in (A_HIGHER, B_HIGHER):
        return None
    return a if (shown == A_HIGHER) == higher_is_better else b


def pairwise(samples: Sequence[pd.Series]) -> list[tuple[int, int, Difference, float]]:
    """Return each pair of samples with its difference and its p-value by Holm over all pairs.

    Args:
        samples: one a configuration; values are paired by their index, such as (seed, stream_id),
            and those that only one of the two has are left out.

    Returns:
        (i, j, values of i less those of j, p-value of the t-test corrected for all pairs), i < j.
    """
    pairs = list(combinations(range(len(samples)), 2))
    found = []
    for i, j in pairs:
        common = samples[i].index.intersection(samples[j].index).sort_values()
        found.append(paired_difference(samples[i].loc[common], samples[j].loc[common]))
    corrected = holm([difference.p for difference in found])
    return [
        (i, j, difference, float(p))
        for (i, j), difference, p in zip(pairs, found, corrected, strict=True)
    ]


def _constant(values: NDArray[np.float64]) -> bool:
    return bool(np.ptp(values) <= _same(values))


def _same(values: NDArray[np.float64]) -> float:
    """Return by how much values may differ that are the same but for the order of their sums."""
    return _SAME * max(1.0, float(np.abs(values).max()))


def _step(values: NDArray[np.float64]) -> float:
    """Return the least distance between values that differ: the step they are measured in, or more.

    Of values that all differ the deviation is never below it (from three on).
    """
    gaps = np.diff(np.sort(values))
    return float(gaps[gaps > _same(values)].min())
