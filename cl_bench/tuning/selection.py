"""From trials to a choice: which is best, is it at an edge, and how much each setting matters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from cl_bench.config import Section
from cl_bench.tuning.space import Range, Space
from cl_bench.tuning.trials import TrialResult

RULE = (
    "the best mean over the tuning seeds, on validation data, of the trials that were trained in "
    "full and stayed finite; the first of equals"
)
MOST_BINS = 8
TRIALS_A_BIN = 2
END = 0.05
"""Share of a range, on its scale, that is its end."""


class Bin(Section):
    """A part of a setting's range, and the trials in it, whatever their other settings."""

    setting: str
    low: float
    high: float
    trials: int
    diverged: int
    median: float | None
    """Of the means of the trials that stayed finite; None where there are none."""
    worst: float | None
    best: float | None


def best_first(results: Iterable[TrialResult], higher_is_better: bool) -> list[TrialResult]:
    """Return trials by their mean, those that diverged last; equals by number."""
    sign = -1 if higher_is_better else 1
    return sorted(results, key=lambda each: (each.diverged, sign * each.mean, each.number))


def choose(results: Iterable[TrialResult], higher_is_better: bool) -> TrialResult | None:
    """Return the chosen trial, by `RULE`; None where every trial diverged."""
    able = [each for each in results if each.length == 1 and not each.diverged]
    return best_first(able, higher_is_better)[0] if able else None


def edges(space: Space, results: Sequence[TrialResult], chosen: TrialResult) -> dict[str, str]:
    """Return the settings whose chosen value is the lowest or the highest tried, and which.

    Beyond it lies what was not tried, and may be better.
    """
    found = {}
    for each in space:
        tried = {result.settings[each.name] for result in results}
        value = chosen.settings[each.name]
        if len(tried) > 1 and value in (min(tried), max(tried)):
            found[each.name] = "lowest" if value == min(tried) else "highest"
    return found


def end_reached(each: Range, value: float) -> bool:
    """Return whether a value is at an end of its range or beyond: in its first or last `END`."""
    return not END < each.share(value) < 1 - END


def sensitivity(
    space: Space, results: Sequence[TrialResult], higher_is_better: bool
) -> tuple[Bin, ...]:
    """Return the marginal curve of each setting: the metric in bins of its range.

    Of successive halving the first round counts, in which all trials had the same training.
    """
    compared = on_equal_terms(results)
    count = min(MOST_BINS, max(1, len(compared) // TRIALS_A_BIN))
    return tuple(
        _bin(each, number, count, compared, higher_is_better)
        for each in space
        for number in range(count)
    )


def on_equal_terms(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the trials of one length: the one that most trials had."""
    lengths = Counter(each.length for each in results)
    return [each for each in results if each.length == max(lengths, key=lengths.__getitem__)]


def _bin(
    each: Range, number: int, count: int, results: Sequence[TrialResult], higher_is_better: bool
) -> Bin:
    """Return one of `count` parts of a range, equally wide on its scale."""
    inside = [r for r in results if _place(each, r.settings[each.name], count) == number]
    means = sorted(r.mean for r in inside if not r.diverged)
    ends = (means[0], means[-1]) if means else (None, None)
    worst, best = ends if higher_is_better else ends[::-1]
    return Bin(
        setting=each.name,
        low=each.at(number / count),
        high=each.at((number + 1) / count),
        trials=len(inside),
        diverged=len(inside) - len(means),
        median=median(means) if means else None,
        worst=worst,
        best=best,
    )


def _place(each: Range, value: float, count: int) -> int:
    """Return the number of the bin that holds a value; one outside the range is in the nearest."""
    share = min(max(each.share(value), 0.0), 1.0)
    return min(math.floor(share * count), count - 1)
