"""Pictures of sensitivity: the metric against each setting, over all trials of each strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl_bench.metrics import lookup
from cl_bench.report.curves import COLUMNS
from cl_bench.report.style import COLOURS, STYLE, check_path, save
from cl_bench.tuning.record import TuningRecord
from cl_bench.tuning.selection import on_equal_terms
from cl_bench.tuning.space import Range


def draw(records: Sequence[TuningRecord], path: Path) -> bool:
    """Draw a panel a strategy and setting (SVG, PNG or HTML); return whether there was any to draw.

    Points are trials, with the interval over the seeds; the line joins the medians of the bins.

    Raises:
        UserError: another ending, no such folder, or the file cannot be written.
    """
    check_path(path)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = [(record, each) for record in records for each in record.terms.space]
    if not panels:
        return False
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
        grid: Any = figure.subplots(rows, columns, sharey=True, squeeze=False)
        axes = list(grid.flat)
        for axis, (record, each) in zip(axes, panels, strict=False):
            _panel(axis, record, each)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        terms = panels[0][0].terms
        for axis in axes[::columns]:
            axis.set_ylabel(lookup(terms.metric).title)
        axes[0].legend(loc="best", frameon=False, fontsize=8)
        where = f"{terms.benchmark.name}, validation data"
        title = f"{where}, {terms.method} search, {terms.seeds} seeds"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        save(figure, path)
    return True


def _panel(axis: Any, record: TuningRecord, each: Range) -> None:
    """Draw the trials of one strategy against one of its settings."""
    trials = [trial for trial in on_equal_terms(record.results) if not trial.diverged]
    for trial in trials:
        value = trial.settings[each.name]
        if trial.low is not None and trial.high is not None:
            axis.vlines(value, trial.low, trial.high, color=COLOURS[0], alpha=0.4)
    axis.plot(
        [trial.settings[each.name] for trial in trials],
        [trial.mean for trial in trials],
        color=COLOURS[0],
        linestyle="",
        marker="o",
        markersize=4,
        label="trial",
    )
    bins = [b for b in record.sensitivity if b.setting == each.name and b.median is not None]
    middles = [each.at((each.share(b.low) + each.share(b.high)) / 2) for b in bins]
    axis.plot(middles, [b.median for b in bins], color=COLOURS[1], label="median of the bin")
    chosen = record.choice
    if chosen is not None:
        value = chosen.settings[each.name]
        axis.axvline(value, color=COLOURS[2], linestyle="--", linewidth=1, label="chosen")
    if each.log:
        axis.set_xscale("log")
    axis.set_xlabel(each.name)
    axis.set_title(record.terms.strategy.name)
