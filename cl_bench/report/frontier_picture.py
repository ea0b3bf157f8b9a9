"""A picture of a trade-off: all configurations, their intervals, and the Pareto set as a staircase.

Filled points are on the set, hollow ones off it. With curves, one line a curve, and its points on
the set say at which setting; without, they are named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from cl_bench.metrics.frontier import ON_SET
from cl_bench.report.frontier import Axis, Front, Point
from cl_bench.report.frontier_curves import Curve
from cl_bench.report.style import STYLE, check_path, look, save

Style = dict[str, str]
"""Colour and marker."""

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
    lines = _lines(front, curves)
    in_legend = len(lines) <= MOST_IN_LEGEND
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 5.6), layout="constrained")
        axes: Any = figure.subplots()
        _scale(axes, front)
        _staircase(axes, front, on)
        for line, style in lines:
            _draw_line(axes, line, style, on, joined=bool(curves))
        if in_legend:
            figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        axes.set_xlabel(_title(front.x))
        axes.set_ylabel(_title(front.y))
        figure.suptitle(heading, x=0.01, ha="left", fontsize=11)
        told = ["filled: on the Pareto set", "thin crosses: 95 % intervals"]
        told += dict.fromkeys(f"numbers: {curve.along}" for curve in curves if curve.along)
        axes.set_title("; ".join(told), fontsize=9)
        points = [point for line, _ in lines for point in line.points]
        _write_labels(axes, points, _texts(lines, on, everything=not in_legend))
        save(figure, path)


def _lines(front: Front, curves: Sequence[Curve]) -> list[tuple[Curve, Style]]:
    """Return the curves, or each strategy's points where there are none, with how they look."""
    lines = list(curves)
    if not lines:
        by_strategy: dict[str, list[Point]] = defaultdict(list)
        for point in (*front.points, *front.references):
            by_strategy[point.strategy].append(point)
        lines = [Curve(name, None, tuple(points)) for name, points in by_strategy.items()]
    found = []
    for number, line in enumerate(lines):
        if line.points[0] in front.references:
            line = replace(line, label=f"{line.label} (all tasks' data)")
            found.append((line, {"color": "0.3", "marker": "*"}))
        else:
            found.append((line, look(number)))
    return found


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
            axis.set_tick_params(which="minor", pad=5)  # in line with the longer ticks' labels
        elif wide and values.min() == 0:
            smallest = max(positive.min(), positive.max() / 1000)
            getattr(axes, f"set_{which}scale")("symlog", linthresh=smallest)
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


def _draw_line(axes: Any, line: Curve, style: Style, on: Sequence[Point], *, joined: bool) -> None:
    colour = style["color"]
    sides = []
    for intervals in ([p.x for p in line.points], [p.y for p in line.points]):
        away = [(i.mean - i.low, i.high - i.mean) for i in intervals]
        sides.append(np.nan_to_num(np.array(away)).clip(min=0).T)  # rounding can make it negative
    axes.errorbar(
        [point.x.mean for point in line.points],
        [point.y.mean for point in line.points],
        xerr=sides[0],
        yerr=sides[1],
        color=colour,
        linestyle="-" if joined else "none",
        linewidth=1,
        elinewidth=0.5,
        zorder=2,
    )
    label = line.label
    for filled in (True, False):
        some = [point for point in line.points if (point in on) == filled]
        if some:
            axes.plot(
                [point.x.mean for point in some],
                [point.y.mean for point in some],
                linestyle="none",
                marker=style["marker"],
                markersize=9 if style["marker"] == "*" else 5.5,
                markeredgecolor=colour,
                markerfacecolor=colour if filled else "white",
                zorder=4 if filled else 3,
                label=label,
            )
            label = "_"  # one entry in the legend


def _texts(
    lines: Sequence[tuple[Curve, Style]], on: Sequence[Point], *, everything: bool
) -> list[tuple[Point, str, str]]:
    """Return the points that are named, with text and colour; those on the set come first."""
    found = []
    for line, style in lines:
        for point in line.points:
            text = line.label if len(line.points) == 1 else point.label
            if line.along and not everything:
                text = f"{point.settings[line.along]:g}"
            if point in on or everything:
                found.append((point, text, style["color"]))
    return sorted(found, key=lambda each: each[0] not in on)


def _write_labels(
    axes: Any, points: Iterable[Point], texts: Iterable[tuple[Point, str, str]], size: float = 7
) -> None:
    """Write each text beside its point, where it covers neither a point nor another text.

    One for which there is no room near its point is left out.
    """
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()  # fixes where in the picture a point comes to lie
    pixels = axes.figure.dpi / 72

    def place(point: Point) -> tuple[float, float]:
        x, y = axes.transData.transform((point.x.mean, point.y.mean))
        return float(x), float(y)

    taken = [
        Bbox.from_bounds(x - 3 * pixels, y - 3 * pixels, 6 * pixels, 6 * pixels)
        for x, y in map(place, points)
    ]
    heights = sorted(range(-56, 60, 4), key=lambda up: (abs(abs(up) - 4), -up))
    for point, text, colour in texts:
        x, y = place(point)
        width, height = len(text) * size * _LETTER * pixels, size * 1.2 * pixels
        for up, side in product(heights, (1, -1)):
            left = x + side * 5 * pixels - (width if side < 0 else 0)
            box = Bbox.from_bounds(left, y + up * pixels - height / 2, width, height)
            within = axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)
            if within and not box.count_overlaps(taken):
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
                break


def _title(axis: Axis) -> str:
    """Return an axis's title with the way that is better."""
    return f"{axis.title} ({'more' if axis.higher_is_better else 'less'} is better)"
