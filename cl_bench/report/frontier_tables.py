"""Tables of a trade-off: every configuration and where it stands, every curve and how good it is.

Rows are plain values; `people=True` gives the same as text that is short enough to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cl_bench.metrics.frontier import DOMINATED, NOT_SHOWN, ON_SET
from cl_bench.metrics.statistics import A_HIGHER, B_HIGHER, Interval, mean_interval, pairwise
from cl_bench.metrics.statistics import verdict as verdict_of
from cl_bench.plain import plain as _plain
from cl_bench.report.frontier import Axis, Front
from cl_bench.report.frontier_curves import Curve, Score
from cl_bench.report.tables import Rows, interval_text
from cl_bench.results.frames import named

REFERENCE = "reference"
"""Verdict of a point that does not compete."""
_WORDS = {ON_SET: "yes", DOMINATED: "no", NOT_SHOWN: "perhaps"}


def configurations(front: Front, curves: Sequence[Curve] = (), *, people: bool = False) -> Rows:
    """Return a row for each configuration: its two figures, and where it stands.

    In the order of the curves where there are some, else by the first figure, its best first.
    """
    standing = {point.group_id: s for point, s in zip(front.points, front.standings, strict=True)}
    place = {point.group_id: curve for curve in curves for point in curve.points}
    ordered = [point for curve in curves for point in curve.points] or sorted(
        [*front.points, *front.references],
        key=lambda point: (front.x.sign * point.x.mean, front.y.sign * point.y.mean),
    )
    found: Rows = []
    for point in ordered:
        where = standing.get(point.group_id)
        by = None if where is None or where.by is None else front.points[where.by]
        verdict = REFERENCE if where is None else where.verdict
        row: dict[str, Any] = {"strategy": point.label if people else point.strategy}
        if not people:
            row |= {"label": point.label, "group_id": point.group_id}
        if place and not people:
            curve = place[point.group_id]
            row |= {"curve": curve.label, "along": curve.along}
            row["value"] = point.settings[curve.along] if curve.along else None
        row["seeds"] = point.x.count
        for axis, interval in ((front.x, point.x), (front.y, point.y)):
            if people:
                row[axis.title] = quantity_text(axis, interval)
            else:
                row |= _columns(axis.name, interval)
        if people:
            row |= {"Pareto set": _WORDS.get(verdict, verdict), "dominated by": by and by.label}
        else:
            row |= {"verdict": verdict, "by": by.label if by else None}
            row["by_group_id"] = by.group_id if by else None
        found.append(row)
    return found


def score_rows(found: Iterable[Score], *, people: bool = False) -> Rows:
    """Return a row for each curve: its least sum of errors, where, and the area it dominates."""
    rows: Rows = []
    for score in found:
        curve = score.curve
        row: dict[str, Any] = {
            "strategy": curve.label,
            "configurations": len(curve.points),
            "seeds": len(score.area),
        }
        along = [curve.along] if curve.along else []
        at = named("", score.at.settings, along).strip(" ()")
        least, area = mean_interval(score.least_sum), mean_interval(score.area)
        if people:
            row |= {"least sum of errors": _text(least), "at": at, "area dominated": _text(area)}
        else:
            row |= {**_columns("least_sum", least), "at": at, "at_group_id": score.at.group_id}
            row |= _columns("area", area)
        rows.append(row)
    return rows


def score_differences(
    found: Sequence[Score],
    value: Callable[[Score], pd.Series[float]],
    *,
    higher_is_better: bool,
    people: bool = False,
) -> Rows:
    """Return a row for each pair of curves, paired by seed; Holm's correction is over all pairs.

    Args:
        found: the scores.
        value: which of a score's two figures.
        higher_is_better: its direction.
        people: text rather than plain values.
    """
    rows: Rows = []
    for i, j, difference, p_holm in pairwise([value(score) for score in found]):
        a, b = found[i].curve.label, found[j].curve.label
        interval = difference.interval
        verdict = verdict_of(interval, p_holm)
        better = None
        if verdict in (A_HIGHER, B_HIGHER):
            better = a if (verdict == A_HIGHER) == higher_is_better else b
        if people:
            row = {
                "A": a,
                "B": b,
                "seeds": interval.count,
                "A less B": _text(interval, sign="+"),
                "p (Holm)": _plain(p_holm),
                "better": better or verdict,
            }
        else:
            row = {"a": a, "b": b, "seeds": interval.count, **_columns("difference", interval)}
            row |= {"p": _plain(difference.p), "p_holm": _plain(p_holm)}
            row |= {"verdict": verdict, "better": better}
        rows.append(row)
    return rows


def quantity_text(axis: Axis, interval: Interval) -> str:
    """Return a figure with its interval as it is read: a fraction, or a number of its unit."""
    if axis.unit == "fraction":
        return _text(interval)
    texts = [
        f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"
        for value in (interval.mean, interval.low, interval.high)
        if not np.isnan(value)
    ]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _text(interval: Interval, sign: str = "") -> str:
    return interval_text(
        *(_plain(v) for v in (interval.mean, interval.low, interval.high)), sign=sign
    )


def _columns(name: str, interval: Interval) -> dict[str, float | None]:
    return {
        name: _plain(interval.mean),
        f"{name}_low": _plain(interval.low),
        f"{name}_high": _plain(interval.high),
    }
