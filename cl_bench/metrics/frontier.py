"""Trade-offs between two figures: which points nothing beats, and how much a curve of them covers.

Everything here counts less as better in both figures; give the negative of one where more is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cl_bench.metrics.evaluations import Array
from cl_bench.metrics.statistics import (
    A_HIGHER,
    MIN_SEEDS,
    TOO_FEW,
    Interval,
    holm,
    paired_difference,
    verdict,
)

if TYPE_CHECKING:
    import pandas as pd

UNIT_REFERENCE = (1.0, 1.0)
"""The worst that two errors can be."""

ON_SET = "on the set"
DOMINATED = "dominated"
NOT_SHOWN = "not shown to be dominated"
TOO_FEW_MEASURED = "too few measurements"


class Kind(Enum):
    """How a figure comes about, and so what its values at several seeds are evidence of."""

    SAMPLED = "differs from seed to seed by chance"
    TIMED = "measured once for several runs and divided among them, as the seconds of a stack are"
    COUNTED = "known without error, as bytes are: nothing to test where no seed changes it"


SAMPLED = (Kind.SAMPLED, Kind.SAMPLED)


@dataclass(frozen=True)
class Standing:
    """Where a configuration stands to the Pareto set of the means of all."""

    verdict: str
    """`ON_SET`, `DOMINATED`, `NOT_SHOWN`, or `TOO_FEW` (`TOO_FEW_MEASURED`) to show it."""
    by: int | None = None
    """Off the set: the member that dominates it, the one shown most clearly to."""


def dominates(a: ArrayLike, b: ArrayLike) -> NDArray[np.bool_]:
    """Return whether points `a[..., 2]` dominate `b[..., 2]`, `[...]`.

    That is to be at least as good in both figures and better in one. What is not defined (NaN)
    neither dominates nor is dominated.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return np.asarray((first <= second).all(-1) & (first < second).any(-1))


def pareto_set(points: ArrayLike) -> NDArray[np.bool_]:
    """Return which points `[N, 2]` no other dominates, `[N]`.

    Equal points do not dominate each other; a point that is not defined (NaN) is not on the set.
    """
    data = np.asarray(points, dtype=float).reshape(-1, 2)
    beaten = dominates(data[:, None], data[None]).any(0)
    return ~beaten & ~np.isnan(data).any(1)


def hypervolume_2d(points: ArrayLike, reference: ArrayLike = UNIT_REFERENCE) -> float:
    """Return the area that points `[N, 2]` dominate within a reference point.

    The area of all (x, y) below the reference that some point is at least as good as. A point
    that is not below the reference in both figures adds nothing. (Zitzler & Thiele 1998, PPSN V.)
    """
    data = np.asarray(points, dtype=float).reshape(-1, 2)
    limit = np.asarray(reference, dtype=float)
    inside = data[(data < limit).all(1)]
    x, y = np.unique(inside[pareto_set(inside)], axis=0).T  # x rises, y falls
    return float((np.diff(x, append=limit[0]) * (limit[1] - y)).sum())


def old_and_new_error(matrix: Array) -> tuple[float, float]:
    """Return a run's error on the tasks before the last, averaged, and on the last, at the end.

    The two axes of the trade-off in Feng & Tu 2020 (arXiv 2001.01678), for any number of tasks;
    the first is NaN for a single task.

    Args:
        matrix: `[T, T]`, accuracy on task j after task i (`Evaluations.matrix`).
    """
    errors = 1 - matrix[-1]
    old = float(errors[:-1].mean()) if len(errors) > 1 else float("nan")
    return old, float(errors[-1])


def least_sum(errors: Array) -> tuple[int, Array]:
    """Return the point of a curve whose two errors add to least, and that sum by seed.

    The point is chosen by the mean over seeds, one for all, so that no seed gets its own.

    Args:
        errors: `[K, S, 2]`, K points of S seeds.

    Returns:
        the point's index, and `[S]`.
    """
    sums = errors.sum(-1)
    best = int(sums.mean(1).argmin())
    return best, sums[best]


def hypervolumes(errors: Array, reference: ArrayLike = UNIT_REFERENCE) -> Array:
    """Return the area that each seed's own curve dominates, `[S]`, from `errors[K, S, 2]`."""
    return np.array([hypervolume_2d(errors[:, seed], reference) for seed in range(errors.shape[1])])


def standings(samples: Sequence[pd.DataFrame], kinds: Sequence[Kind] = SAMPLED) -> list[Standing]:
    """Return where each configuration stands: on the Pareto set of the means, or off it, how sure.

    One is shown to be dominated where a member of the set is shown to be better in one figure, and
    in the other is shown to be better, too, or has the very same value at every seed. Shown is what
    `statistics.verdict` calls so: paired by seed, five common seeds at least, the interval clear
    of 0, and the p-value corrected by Holm over all pairs of a configuration with a member that
    dominates it. The p-value of a pair is the larger of its two (both must hold). Of a figure that
    is counted and the same at every seed of each there is nothing to test.

    Args:
        samples: for each configuration its two figures by seed: two columns, and an index by
            which the values are paired, such as (seed, stream_id).
        kinds: how each of the two figures comes about. Of one that is timed equal differences are
            one measurement, and five measurements are needed.
    """
    means = np.array([sample.mean().to_numpy() for sample in samples]).reshape(-1, 2)
    on = pareto_set(means)
    pairs = [
        (off, member)
        for off in np.flatnonzero(~on).tolist()
        for member in np.flatnonzero(on & dominates(means, means[off])).tolist()
    ]
    tests = [_test(samples[off], samples[member], kinds) for off, member in pairs]
    corrected = holm([test.p for test in tests])
    shown = [test.verdict(float(p)) for test, p in zip(tests, corrected, strict=True)]
    found = [Standing(ON_SET if each else NOT_SHOWN) for each in on]
    clearness = np.lexsort((-np.nan_to_num(corrected, nan=1.0), np.array(shown) == DOMINATED))
    for pair in clearness.tolist():  # the clearest comes last, and stays
        off, member = pairs[pair]
        found[off] = Standing(shown[pair], member)
    return found


@dataclass(frozen=True)
class _Test:
    """Whether one configuration is worse than another in both figures."""

    p: float
    """NaN where there are too few values to tell, or nothing to test."""
    intervals: tuple[Interval, ...] = ()
    """The difference in each figure that is not known."""
    too_few: str = ""

    def verdict(self, p_corrected: float) -> str:
        if self.too_few:
            return self.too_few
        shown = [verdict(interval, p_corrected) == A_HIGHER for interval in self.intervals]
        return DOMINATED if all(shown) else NOT_SHOWN


def _test(worse: pd.DataFrame, better: pd.DataFrame, kinds: Sequence[Kind]) -> _Test:
    common = worse.index.intersection(better.index).sort_values()
    a, b = worse.loc[common].to_numpy(), better.loc[common].to_numpy()
    if len(common) < MIN_SEEDS:
        return _Test(float("nan"), too_few=TOO_FEW)
    found = []
    for figure, kind in enumerate(kinds):
        mine, theirs = a[:, figure], b[:, figure]
        known = kind is Kind.COUNTED and np.ptp(mine) == np.ptp(theirs) == 0
        if known or (mine == theirs).all():
            continue
        rows = np.arange(len(common))
        if kind is Kind.TIMED:
            rows = np.unique(mine - theirs, return_index=True)[1]
            if len(rows) < MIN_SEEDS:
                return _Test(float("nan"), too_few=TOO_FEW_MEASURED)
        found.append(paired_difference(mine[rows], theirs[rows]))
    p = max((difference.p for difference in found), default=float("nan"))
    return _Test(p, tuple(difference.interval for difference in found))
