"""A picture of a trade-off: all configurations, their intervals, and the Pareto set as a staircase.

Filled points are on the set, hollow ones off it. With curves, one line a curve, and its points on
the set say at which setting; without, they are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cl_bench.metrics.frontier import ON_SET
from cl_bench.report.frontier import Axis, Front, Point
from cl_bench.report.frontier_curves import Curve
from cl_bench.report.style import STYLE, check_path, look, save

MOST_IN_LEGEND = 12
"""Colours a reader can look up; where there are more, every point is named instead."""
SPREAD = 20
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
_LETTER = 0.55
"""Width of a letter over its height, on average."""


def draw(front: Front, curves: Sequence[Curve], path: Path, heading: str) -> None:
    """Draw a trade-off as SVG, PNG or HTML, by the file's ending.

    Args:
        front: its points.
        curves: those of them that a line joins; empty for none.
        path: the picture's file; it is replaced.
        heading: what the runs are of.

    Raises:
        UserError: another ending, no such folder, or the file cannot be written.
    """
    check_path(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    on = [p for p, s in zip(front.points, front.standings, strict=True) if s.verdict == ON_SET]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 5.6), layout="constrained")
        axes: Any = figure.subplots()
        _scale(axes, front)
        _staircase(axes, front, on)
        lines = curves or _by_strategy(front)
        for number, line in enumerate(lines):
            _line(axes, line, look(number), on, front.references, joined=bool(curves))
        named = len(lines) > MOST_IN_LEGEND
        if not named:
            figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        axes.set_xlabel(_title(front.x))
        axes.set_ylabel(_title(front.y))
        figure.suptitle(heading, x=0.01, ha="left", fontsize=11)
        axes.set_title("filled: on the Pareto set; thin crosses: 95 % intervals", fontsize=9)
        everything = [point for line in lines for point in line.points]
        _labels(axes, everything, _texts(lines, on, everything=named, curves=bool(curves)))
        save(figure, path)


def _by_strategy(front: Front) -> list[Curve]:
    """Return each strategy's points together."""
    everything = [*front.points, *front.references]
    return [
        Curve(name, None, tuple(p for p in everything if p.strategy == name))
        for name in dict.fromkeys(point.strategy for point in everything)
    ]


def _scale(axes: Any, front: Front) -> None:
    """Take logarithmic axes where values spread over decades; about 0 such an axis is linear."""
    from matplotlib.ticker import EngFormatter, FuncFormatter

    points = [*front.points, *front.references]
    for which in ("x", "y"):
        axis = getattr(axes, f"{which}axis")
        values = np.array([getattr(point, which).mean for point in points])
        positive = values[values > 0]
        wide = len(positive) and positive.max() >= SPREAD * positive.min()
        if wide and len(positive) == len(values):
            getattr(axes, f"set_{which}scale")("log")
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(FuncFormatter(_two_or_five))
        elif wide and values.min() == 0:
            getattr(axes, f"set_{which}scale")("symlog", linthresh=positive.min())
        if getattr(front, which).unit == "bytes":
            axis.set_major_formatter(EngFormatter("B"))


def _two_or_five(value: float, position: int | None = None) -> str:
    """Return the label of a minor tick: a few of the nine in a decade have one."""
    text = f"{value:g}"
    return text if text.strip("0.") in ("2", "5") else ""


def _staircase(axes: Any, front: Front, on: Sequence[Point]) -> None:
    """Draw what is reached at each price, from the best of the first figure to the worst."""
    ordered = sorted(on, key=lambda point: front.x.sign * point.x.mean)
    x, y = [point.x.mean for point in ordered], [point.y.mean for point in ordered]
    axes.plot(x, y, drawstyle="steps-post", color="0.6", linewidth=6, alpha=0.35, zorder=1)


def _line(
    axes: Any,
    line: Curve,
    style: dict[str, str],
    on: Sequence[Point],
    references: Sequence[Point],
    *,
    joined: bool,
) -> None:
    colour = style["color"]
    x, y = [point.x.mean for point in line.points], [point.y.mean for point in line.points]
    if joined:
        axes.plot(x, y, color=colour, linewidth=1, zorder=2)
    for point in line.points:
        sides = {}
        for which in ("x", "y"):
            interval = getattr(point, which)
            if not np.isnan(interval.low):
                below, above = interval.mean - interval.low, interval.high - interval.mean
                sides[f"{which}err"] = [[max(0.0, below)], [max(0.0, above)]]
        axes.errorbar(
            point.x.mean,
            point.y.mean,
            **sides,
            fmt="none",
            ecolor=colour,
            elinewidth=0.7,
            alpha=0.6,
            zorder=2,
        )
    label = line.label
    for filled in (True, False):
        some = [point for point in line.points if (point in on) == filled]
        if some:
            reference = some[0] in references
            axes.plot(
                [point.x.mean for point in some],
                [point.y.mean for point in some],
                linestyle="none",
                markersize=9 if reference else 5.5,
                markeredgecolor=colour,
                markerfacecolor=colour if filled else "white",
                marker="*" if reference else style["marker"],
                zorder=4 if filled else 3,
                label=f"{label} (all tasks' data)" if reference else label,
            )
            label = "_"  # one entry in the legend


def _texts(
    lines: Sequence[Curve], on: Sequence[Point], *, everything: bool, curves: bool
) -> list[tuple[Point, str, str]]:
    """Return the points that are named, with text and colour; those on the set come first."""
    found = []
    for number, line in enumerate(lines):
        for point in line.points:
            if point in on or everything:
                text = point.label
                if curves and line.along:
                    text = f"{point.settings[line.along]:g}"
                found.append((point, text, look(number)["color"]))
    return sorted(found, key=lambda each: each[0] not in on)


def _labels(
    axes: Any, points: Iterable[Point], texts: Iterable[tuple[Point, str, str]], size: float = 7
) -> None:
    """Write each text beside its point, where it covers neither a point nor another text."""
    axes.figure.draw_without_rendering()  # fixes where in the picture a point comes to lie
    unit = axes.figure.dpi / 72
    left, right = axes.bbox.x0, axes.bbox.x1
    places = [axes.transData.transform((point.x.mean, point.y.mean)) for point in points]
    taken = [(x - 3 * unit, y - 3 * unit, x + 3 * unit, y + 3 * unit) for x, y in places]
    for point, text, colour in texts:
        px, py = axes.transData.transform((point.x.mean, point.y.mean))
        width, height = len(text) * size * _LETTER * unit, size * 1.2 * unit
        for distance in range(4, 60, 4):
            options = [
                (side, up * distance) for up in (0.7, -0.7, 0.0, 1.0, -1.0) for side in (1, -1)
            ]
            boxes = [_box(px, py, side * 5, up, width, height, unit) for side, up in options]
            free = [
                k
                for k, box in enumerate(boxes)
                if left < box[0] and box[2] < right and not any(_meet(box, b) for b in taken)
            ]
            if free:
                break
        else:
            continue  # it would stand nowhere near its point
        (side, up), box = options[free[0]], boxes[free[0]]
        taken.append(box)
        axes.annotate(
            text,
            (point.x.mean, point.y.mean),
            (side * 5, up),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=size,
            color=colour,
            zorder=5,
        )


def _box(
    x: float, y: float, side: float, up: float, width: float, height: float, unit: float
) -> tuple[float, float, float, float]:
    left = x + side * unit - (width if side < 0 else 0)
    middle = y + up * unit
    return left, middle - height / 2, left + width, middle + height / 2


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _title(axis: Axis) -> str:
    """Return an axis's title with the way that is better."""
    return f"{axis.title} ({'more' if axis.higher_is_better else 'less'} is better)"
