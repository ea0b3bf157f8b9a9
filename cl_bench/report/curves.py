"""Pictures of forgetting: accuracy against tasks seen, drawn from the accuracy table alone.

The first panel holds every strategy's average accuracy with its interval; then one panel a
strategy shows what becomes of each task.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError
from cl_bench.report.style import STYLE, check_path, heading, look, save

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMNS = 3
MOST_PANELS = 8
"""Strategies with a panel of their own; the first panel holds them all."""
WIDTH, HEIGHT = 4.2, 3.2
"""Inches of a panel with its ticks and titles of one line."""
LINE = 0.17
"""Inches of one more line in a title or a legend."""
LETTERS = 44
"""In a line of a panel's title."""
MOST_IN_PANEL = 6
"""Lines of a legend that may stand within a panel; a longer one has a place of its own."""


def draw(accuracy: pd.DataFrame, path: Path) -> None:
    """Draw the forgetting curves of runs of one protocol as SVG, PNG or HTML, by the file's ending.

    Args:
        accuracy: `cl_bench.load(out)`, or rows of it.
        path: the picture's file; it is replaced.

    Raises:
        UserError: another ending, no such folder, the file cannot be written, or no run is left
            but such that diverged.
    """
    check_path(path)
    accuracy = drawable(accuracy)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        save(picture(accuracy), path)


def drawable(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of runs that did not diverge; a `UserError` where none is left."""
    accuracy = accuracy[~accuracy["diverged"].astype(bool)]
    if accuracy.empty:
        raise UserError("there is nothing to draw: every run diverged")
    return accuracy


def picture(accuracy: pd.DataFrame) -> Figure:
    """Return the picture, as large as its panels and what is written over them need it to be."""
    from matplotlib.figure import Figure

    seen = accuracy[(accuracy["after_task"] >= accuracy["task"])]
    labels = _best_first(seen)
    panels = labels[:MOST_PANELS]
    tasks = int(seen["task"].max()) + 1
    names = {label: textwrap.fill(label, LETTERS, break_long_words=False) for label in labels}
    titles = {label: textwrap.fill(f"{label}: {_ends(tasks)}", LETTERS) for label in panels}
    entries = sum(name.count("\n") + 1 for name in names.values())
    apart = entries > MOST_IN_PANEL or any("\n" in name for name in names.values())
    columns = min(COLUMNS, len(panels) + 1 + apart)
    rows = math.ceil((len(panels) + 1 + apart) / columns)
    height = HEIGHT + LINE * max(title.count("\n") for title in titles.values())
    beside = rows * columns - len(panels) - 1 if apart else 1
    lines = math.ceil(entries / beside) + 1
    if apart:
        height = max(height, LINE * lines)
    figure = Figure(figsize=(WIDTH * columns, height * rows), layout="constrained")
    grid: Any = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    _average_panel(axes[0], seen, labels, names)
    for axis, label in zip(axes[1:], panels, strict=False):
        _task_panel(axis, seen[seen["label"] == label], titles[label])
    for axis in axes[len(panels) + 1 :]:
        axis.set_axis_off()
    where = axes[len(panels) + 1] if apart else axes[0]
    legend = where.legend(
        handles=axes[0].get_lines(),
        loc="upper left" if apart else "best",
        ncols=beside,
        frameon=False,
        fontsize=8,
    )
    legend.set_in_layout(False)
    for number, axis in enumerate(axes[: len(panels) + 1]):
        axis.set_xticks(range(1, tasks + 1, max(1, tasks // 10)))
        axis.set_xlim(0.8, tasks + 0.2)
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("tasks seen")
        if number % columns == 0:
            axis.set_ylabel("accuracy")
    figure.suptitle(heading(seen), x=0.01, ha="left", fontsize=11)
    return figure


def _best_first(seen: pd.DataFrame) -> list[str]:
    last = seen[seen["after_task"] == seen["after_task"].max()]
    ranked = last.groupby("label")["accuracy"].mean().sort_values(ascending=False)
    return [str(label) for label in ranked.index]


def _average_panel(
    axis: Any, seen: pd.DataFrame, labels: list[str], names: Mapping[str, str]
) -> None:
    from cl_bench.metrics.statistics import mean_interval

    for number, label in enumerate(labels):
        mine = seen[seen["label"] == label]
        by_run = mine.groupby(["after_task", "run_id"])["accuracy"].mean()
        steps = sorted(set(mine["after_task"]))
        intervals = [mean_interval(by_run.loc[step].to_numpy()) for step in steps]
        x = [step + 1 for step in steps]
        style = look(number)
        axis.plot(
            x,
            [interval.mean for interval in intervals],
            **style,
            markersize=4,
            label=names[label],
        )
        low, high = ([getattr(i, side) for i in intervals] for side in ("low", "high"))
        axis.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
    axis.set_title("average over tasks seen (band: 95 % interval)")


def _task_panel(axis: Any, mine: pd.DataFrame, title: str) -> None:
    import matplotlib as mpl

    tasks = sorted(set(mine["task"]))
    shades = mpl.colormaps["cividis"].resampled(max(2, len(tasks) + 1))
    for task in tasks:
        curve = mine[mine["task"] == task].groupby("after_task")["accuracy"].mean()
        x = [int(step) + 1 for step in curve.index]
        axis.plot(x, curve.to_numpy(), color=shades(task), marker="o", markersize=3)
    axis.set_title(title)


def _ends(tasks: int) -> str:
    """Return which shade is which task."""
    return f"task 1 (dark) to {tasks} (light)" if tasks > 1 else "task 1"
