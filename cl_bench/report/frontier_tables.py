"""Tables of a trade-off: every configuration and where it stands, every curve and how good it is.

Rows are plain values; `people=True` gives the same as text that is short enough to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd

from cl_bench.metrics.frontier import DOMINATED, NOT_SHOWN, ON_SET
from cl_bench.metrics.statistics import (
    Interval,
    mean_interval,
    pairwise,
    verdict,
    winner,
)
from cl_bench.plain import plain
from cl_bench.report.frontier import Axis, Front, Point
from cl_bench.report.frontier_curves import Curve, Score
from cl_bench.report.tables import Row, Rows, interval_text
from cl_bench.results.labels import named

REFERENCE = "reference"
"""Verdict of a point that does not compete."""
_WORDS = {ON_SET: "yes", DOMINATED: "no", NOT_SHOWN: "perhaps"}


def configurations(front: Front, curves: Sequence[Curve] = (), *, people: bool = False) -> Rows:
    """Return a row for each configuration: its two figures, and where it stands.

    In the order of the curves where there are some, else by the first figure, its best first.
    """
    standing = {point.group_id: s for point, s in zip(front.points, front.standings, strict=True)}
    ordered: list[tuple[Point, Curve | None]] = [
        (point, curve) for curve in curves for point in curve.points
    ]
    if not curves:
        points = [*front.points, *front.references]
        points.sort(key=lambda p: (front.x.sign * p.x.mean, front.y.sign * p.y.mean))
        ordered = [(point, None) for point in points]
    found: Rows = []
    for point, curve in ordered:
        where = standing.get(point.group_id)
        by = None if where is None or where.by is None else front.points[where.by]
        shown = REFERENCE if where is None else where.verdict
        if people:
            found.append(_point_text(front, point, shown, by))
        else:
            found.append(_point_values(front, point, shown, by, curve))
    return found


def _point_text(front: Front, point: Point, shown: str, by: Point | None) -> Row:
    return {
        "strategy": point.label,
        "seeds": point.x.count,
        front.x.title: quantity_text(front.x, point.x),
        front.y.title: quantity_text(front.y, point.y),
        "Pareto set": _WORDS.get(shown, shown),
        "dominated by": by and by.label,
    }


def _point_values(
    front: Front, point: Point, shown: str, by: Point | None, curve: Curve | None
) -> Row:
    row: Row = {"strategy": point.strategy, "label": point.label, "group_id": point.group_id}
    if curve is not None:
        row |= {"curve": curve.label, "along": curve.along}
        row["value"] = point.settings[curve.along] if curve.along else None
    row["seeds"] = point.x.count
    for axis, interval in ((front.x, point.x), (front.y, point.y)):
        row[axis.name] = plain(interval.mean)
        row |= {f"{axis.name}_low": plain(interval.low), f"{axis.name}_high": plain(interval.high)}
    row |= {"verdict": shown, "by": by.label if by else None}
    row["by_group_id"] = by.group_id if by else None
    return row


class ScoreRow(TypedDict):
    """How good a curve of two errors is: the means over its seeds, with their intervals."""

    strategy: str
    """The curve's label."""
    configurations: int
    seeds: int
    least_sum: float | None
    least_sum_low: float | None
    least_sum_high: float | None
    at: str
    """The setting of the configuration whose errors sum to least."""
    at_group_id: str
    area: float | None
    area_low: float | None
    area_high: float | None


class ScoreDifference(TypedDict):
    """Two curves, paired by seed; the difference is A less B."""

    a: str
    b: str
    seeds: int
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float | None
    p_holm: float | None
    """Corrected over all pairs of curves."""
    verdict: str
    better: str | None


def curve_tables(
    found: Sequence[Score], limit: tuple[float, float], *, people: bool = False
) -> dict[str, Rows]:
    """Return the tables of how good curves are and how they differ, by title.

    Args:
        found: the scores.
        limit: the two errors within which the area was taken.
        people: text rather than plain values.
    """
    scored = score_rows(found)
    sums = score_differences(found, lambda score: score.least_sum, higher_is_better=False)
    areas = score_differences(found, lambda score: score.area, higher_is_better=True)
    area = f"area dominated within {limit[0]:g}, {limit[1]:g}"
    return {
        "curves": [_score_text(row) if people else {**row} for row in scored],
        "paired differences in least sum of errors": [
            _difference_text(row) if people else {**row} for row in sums
        ],
        f"paired differences in {area}": [
            _difference_text(row) if people else {**row} for row in areas
        ],
    }


def score_rows(found: Iterable[Score]) -> list[ScoreRow]:
    """Return a row for each curve: its least sum of errors, where, and the area it dominates."""
    rows = []
    for score in found:
        curve = score.curve
        least, area = mean_interval(score.least_sum), mean_interval(score.area)
        along = [curve.along] if curve.along else []
        rows.append(
            ScoreRow(
                strategy=curve.label,
                configurations=len(curve.points),
                seeds=len(score.area),
                least_sum=plain(least.mean),
                least_sum_low=plain(least.low),
                least_sum_high=plain(least.high),
                at=named("", score.at.settings, along).strip(" ()"),
                at_group_id=score.at.group_id,
                area=plain(area.mean),
                area_low=plain(area.low),
                area_high=plain(area.high),
            )
        )
    return rows


def score_differences(
    found: Sequence[Score],
    value: Callable[[Score], pd.Series[float]],
    *,
    higher_is_better: bool,
) -> list[ScoreDifference]:
    """Return a row for each pair of curves, paired by seed; Holm's correction is over all pairs.

    Args:
        found: the scores.
        value: which of a score's two figures.
        higher_is_better: its direction.
    """
    rows = []
    for i, j, difference, p_holm in pairwise([value(score) for score in found]):
        a, b = found[i].curve.label, found[j].curve.label
        interval = difference.interval
        shown = verdict(interval, p_holm)
        rows.append(
            ScoreDifference(
                a=a,
                b=b,
                seeds=interval.count,
                difference=plain(interval.mean),
                difference_low=plain(interval.low),
                difference_high=plain(interval.high),
                p=plain(difference.p),
                p_holm=plain(p_holm),
                verdict=shown,
                better=winner(shown, a, b, higher_is_better=higher_is_better),
            )
        )
    return rows


def _score_text(row: ScoreRow) -> Row:
    return {
        "strategy": row["strategy"],
        "configurations": row["configurations"],
        "seeds": row["seeds"],
        "least sum of errors": interval_text(
            row["least_sum"], row["least_sum_low"], row["least_sum_high"]
        ),
        "at": row["at"],
        "area dominated": interval_text(row["area"], row["area_low"], row["area_high"]),
    }


def _difference_text(row: ScoreDifference) -> Row:
    sides = row["difference"], row["difference_low"], row["difference_high"]
    return {
        "A": row["a"],
        "B": row["b"],
        "seeds": row["seeds"],
        "A less B": interval_text(*sides, sign="+"),
        "p (Holm)": row["p_holm"],
        "better": row["better"] or row["verdict"],
    }


def quantity_text(axis: Axis, interval: Interval) -> str:
    """Return a figure with its interval as it is read: a fraction, or a number of its unit."""
    if axis.unit == "fraction":
        return interval_text(*(plain(v) for v in (interval.mean, interval.low, interval.high)))
    texts = [
        f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"
        for value in (interval.mean, interval.low, interval.high)
        if not np.isnan(value)
    ]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} [{texts[1]}, {texts[2]}]"
