"""Tables of stored runs: what each configuration reached, and one of them in full.

Everything is computed anew from the records. Rows are plain values; `people=True` gives the
same as text that is short enough to read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cl_bench.plain import flatten
from cl_bench.report.protocols import SHOWN

if TYPE_CHECKING:
    import pandas as pd

    from cl_bench.metrics.comparison import Summary
    from cl_bench.report.selection import Runs

Row = dict[str, Any]
"""What is printed: by column, values for programs or text for people."""
Rows = list[Row]
MOST_TASKS = 10
"""Tasks that a table for people has a column for."""
HEADLINES = ("average_accuracy", "forgetting")
_AT_MINIMUM = ("loss", "sharpness", "trace", "flatness", "flatness_sharpest", "variance")
_AT_END = ("loss", "distance", "quadratic")


def every_run(runs: Runs) -> Rows:
    """Return a row for each run: what it is, and its headline metrics."""
    columns = ["strategy", "label", "benchmark", "scenario", "seed", "run_id", "group_id"]
    rows: Any = runs.metrics[[*columns, *HEADLINES, "diverged"]].to_dict("records")
    found: Rows = rows
    return found


def results(runs: Runs, *, people: bool = False) -> Rows:
    """Return a row for each configuration: accuracy by task at the end and headline metrics.

    Tasks are numbered from 1. Intervals are of the mean over seeds (`statistics.mean_interval`).
    """
    from cl_bench.metrics.comparison import summarise

    by_metric = [summarise(runs.metrics, metric) for metric in HEADLINES]
    places = [{row["group_id"]: row for row in rows} for rows in by_metric]
    final = final_accuracy(runs.accuracy)
    broken = runs.metrics.groupby("group_id")["diverged"].sum() if runs.diverged else None
    several = len(runs.protocols) > 1
    found: Rows = []
    for first in by_metric[0]:
        group = first["group_id"]
        summaries = [rows[group] for rows in places]
        diverged = {} if broken is None else {"diverged": int(broken[group])}
        if people:
            found.append(_result_text(summaries, final[group], several, diverged))
        else:
            found.append(_result_values(summaries, final[group], diverged))
    return found


def _result_text(
    summaries: Sequence[Summary], final: Sequence[float], several: bool, diverged: Row
) -> Row:
    first = summaries[0]
    row: Row = {"strategy": first["label"]}
    if several:
        row["protocol"] = first["protocol_id"][:SHOWN]
    row |= {"seeds": first["seeds"], **diverged}
    for each in summaries:
        row[each["metric"].replace("_", " ")] = interval_text(
            each["mean"], each["low"], each["high"]
        )
    for task in _spread(len(final)):
        row[f"task {task + 1}"] = "" if math.isnan(final[task]) else f"{final[task]:.3f}"
    return row


def _result_values(summaries: Sequence[Summary], final: Sequence[float], diverged: Row) -> Row:
    first = summaries[0]
    row: Row = {
        "strategy": first["label"],
        "benchmark": first["benchmark"],
        "scenario": first["scenario"],
        "protocol": first["protocol_id"],
        "group": first["group_id"],
        "seeds": first["seeds"],
        **diverged,
    }
    row |= {f"task_{task + 1}": value for task, value in enumerate(final)}
    for each in summaries:
        name = each["metric"]
        row |= {name: each["mean"], f"{name}_low": each["low"], f"{name}_high": each["high"]}
        row[f"{name}_median"] = each["median"]
    return row


def final_accuracy(accuracy: pd.DataFrame) -> dict[str, list[float]]:
    """Return the accuracy on each task after the last one, averaged over seeds, by group_id."""
    found: dict[str, list[float]] = {}
    for group, rows in accuracy.groupby("group_id"):
        last = rows[rows["after_task"] == rows["after_task"].max()]
        found[str(group)] = last.groupby("task")["accuracy"].mean().tolist()
    return found


def accuracy_matrix(accuracy: pd.DataFrame) -> Rows:
    """Return the matrix, averaged over the given runs: a row for each task learnt, from 1."""
    means = accuracy.groupby(["after_task", "task"])["accuracy"].mean()
    tasks = sorted(set(accuracy["task"]))
    found: Rows = []
    for after in sorted(set(accuracy["after_task"])):
        row: Row = {"after": "start" if after < 0 else f"task {after + 1}"}
        for task in tasks:
            value = means.get((after, task))
            row[f"task {task + 1}"] = None if value is None else float(value)
        found.append(row)
    return found


def figures(runs: Runs, *, people: bool = False) -> Rows:
    """Return a row for each metric of one configuration's runs: its mean with its interval."""
    from cl_bench.metrics import METRICS
    from cl_bench.metrics.comparison import summarise

    found: Rows = []
    for name, metric in METRICS.items():
        (summary,) = summarise(runs.metrics, name)
        if summary["mean"] is None and people:
            continue
        row: Row = {"metric": metric.title if people else name}
        if people:
            row["mean"] = interval_text(summary["mean"], summary["low"], summary["high"])
            row["definition"] = metric.definition
        else:
            row |= {key: summary[key] for key in ("mean", "low", "high", "median", "seeds")}
        found.append(row)
    return found


def landscape(runs: Runs) -> Rows:
    """Return a row for each task, from 1: the loss around its minimum and after the last task.

    Averaged over the given runs (`RunRecord.landscape`); none where it was not measured.
    """
    from cl_bench.results.frames import tables_of

    (table,), _ = tables_of(runs.stored, "landscape")
    found: Rows = []
    for task in sorted(set(table["task"])):
        rows = table[table["task"] == task]
        at = rows[rows["after_task"] == task].mean(numeric_only=True)
        end = rows[rows["after_task"] == table["after_task"].max()].mean(numeric_only=True)
        row: Row = {"task": task + 1}
        row |= {name: float(at[name]) for name in _AT_MINIMUM}
        row |= {f"{name}_at_end": float(end[name]) for name in _AT_END}
        found.append(row)
    return found


def provenance(runs: Runs) -> Rows:
    """Return all that the first run's record says of itself but its tables: a row for each key."""
    content = min(runs.stored, key=lambda run: run.config.seed).content
    left_out = {"files", "tasks"}
    flat = flatten({key: value for key, value in content.items() if key not in left_out})
    return [
        {"key": key, "value": json.dumps(v) if isinstance(v, (list, dict)) else v}
        for key, v in flat.items()
    ]


def interval_text(
    mean: float | None, low: float | None, high: float | None, *, sign: str = "", digits: int = 4
) -> str:
    """Return a figure with its interval: `0.9462 [0.9458, 0.9466]`."""
    if mean is None:
        return ""
    form = f"{sign}.{digits}f"
    if low is None or high is None:
        return f"{mean:{form}}"
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def _spread(count: int) -> list[int]:
    """Return all of 0 … count - 1, or some of it spread evenly, the ends included."""
    if count <= MOST_TASKS:
        return list(range(count))
    return [round(i * (count - 1) / (MOST_TASKS - 1)) for i in range(MOST_TASKS)]
