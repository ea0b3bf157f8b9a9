"""Curves of a trade-off: what becomes of its two figures as one number, the strength say, varies.

Points of one strategy that differ in that number alone make a curve.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd

from cl_bench.errors import UserError, unknown
from cl_bench.metrics.frontier import hypervolumes, least_sum
from cl_bench.report.frontier import Point, is_number
from cl_bench.results.labels import differing, named


@dataclass(frozen=True)
class Curve:
    """Configurations of one strategy, in the order of the setting that tells them apart."""

    label: str
    along: str | None
    """The setting; None where there is but one configuration."""
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Score:
    """How good a curve of two errors is, by seed."""

    curve: Curve
    least_sum: pd.Series[float]
    """The two errors added, at the curve's best configuration."""
    at: Point
    """That configuration: the one whose mean over seeds is least."""
    area: pd.Series[float]
    """The area that the seed's own curve dominates within the reference point."""


def curves(points: Sequence[Point], along: str | None = None) -> list[Curve]:
    """Return the points as curves: a strategy's configurations that differ in one number alone.

    Args:
        points: those of a front.
        along: the number; None is the one in which a strategy's configurations differ. What else
            they differ in makes several curves of them.

    Raises:
        UserError: a strategy's configurations differ in several numbers and none was named, or
            in none of this name.
    """
    found: list[Curve] = []
    by_strategy: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        by_strategy[point.strategy].append(point)
    for strategy, members in by_strategy.items():
        apart = differing([point.settings for point in members])
        numbers = [key for key in apart if all(is_number(p.settings.get(key)) for p in members)]
        if along is None and len(numbers) > 1:
            raise UserError(
                f"{strategy} differs in {', '.join(numbers)}: name the one that its curve runs "
                "along with --along"
            )
        wanted = along or next(iter(numbers), None)
        own = wanted if wanted in numbers else None
        groups: dict[str, list[Point]] = defaultdict(list)
        for point in members:
            groups[named(strategy, point.settings, [k for k in apart if k != own])].append(point)
        for label, group in groups.items():
            ordered = sorted(group, key=lambda point: point.settings[own]) if own else group
            found.append(Curve(label, own if len(group) > 1 else None, tuple(ordered)))
    if along is not None and not any(curve.along for curve in found):
        keys = {key for p in points for key, v in p.settings.items() if is_number(v)}
        raise unknown("setting for --along that differs", str(along), keys)
    return found


def scores(curves: Sequence[Curve], reference: Sequence[float]) -> list[Score]:
    """Return how good each curve is, the least sum first; those without a common seed left out.

    Args:
        curves: of `old_error` and `new_error`.
        reference: the two errors within which the dominated area is taken.
    """
    found = []
    for curve in curves:
        samples = [point.sample for point in curve.points]
        seeds = reduce(lambda a, b: a.intersection(b), [sample.index for sample in samples])
        if len(seeds):
            errors = np.stack([sample.loc[seeds].to_numpy() for sample in samples])
            best, sums = least_sum(errors)
            area = pd.Series(hypervolumes(errors, reference), seeds)
            found.append(Score(curve, pd.Series(sums, seeds), curve.points[best], area))
    return sorted(found, key=lambda score: float(score.least_sum.mean()))


def cautions(curves: Sequence[Curve], found: Sequence[Score]) -> list[str]:
    """Return what is to be known of the curves before their scores are compared, a line each."""
    told = []
    scored = [score.curve for score in found]
    for curve in curves:
        if curve not in scored:
            told.append(f"no score for {curve.label}: its configurations have no seed in common")
    for score in found:
        ends = (score.curve.points[0], score.curve.points[-1])
        if score.at in ends and len(score.curve.points) > 2:
            told.append(
                f"the least sum is at the end of a curve, which may go on: {score.at.label}"
            )
    if len({len(score.curve.points) for score in found if score.curve.along}) > 1:
        told.append(
            "the curves have different numbers of configurations, which favours the longer ones"
        )
    return told
