"""Tables of stored runs: what each configuration reached, and how any two differ.

Everything is computed anew from the records. Rows are plain values; `people=True` gives the
same as text that is short enough to read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError, unknown
from cl_bench.plain import flatten

if TYPE_CHECKING:
    import pandas as pd

Rows = list[dict[str, Any]]
MOST_TASKS = 10
"""Tasks that a table for people has a column for."""
HEADLINES = ("average_accuracy", "forgetting")
_AT_MINIMUM = ("loss", "sharpness", "trace", "flatness", "flatness_sharpest", "variance")
_AT_END = ("loss", "distance", "quadratic")
_ACCURACIES = ("accuracy", "accuracy_agnostic")


@dataclass(frozen=True)
class Runs:
    """Some of the runs in a folder, loaded."""

    accuracy: pd.DataFrame
    """`cl_bench.load(out)`; NaN for runs that diverged, whose answers are no result."""
    metrics: pd.DataFrame
    """`cl_bench.load(out, "metrics")`"""
    warnings: tuple[str, ...] = ()
    """One line for each damaged run that was left out."""

    @property
    def diverged(self) -> list[str]:
        """Return a line for each configuration of which a run diverged."""
        broken = self.metrics[self.metrics["diverged"].astype(bool)]
        return [
            f"{label} diverged (its losses or weights are not finite) at seed "
            f"{', '.join(str(seed) for seed in sorted(rows['seed']))}: not ranked, in no mean"
            for label, rows in broken.groupby("label", sort=True)
        ]

    @property
    def notes(self) -> list[str]:
        """Return all that has to be said of these runs: the warnings, and which diverged."""
        return [*self.warnings, *self.diverged]

    def __bool__(self) -> bool:
        return len(self.metrics) > 0

    @property
    def groups(self) -> int:
        """Return the number of configurations, seeds apart."""
        return int(self.metrics["group_id"].nunique())

    @property
    def protocols(self) -> int:
        """Return the number of protocols; only runs of one can be compared."""
        return int(self.metrics["protocol_id"].nunique())

    def where(self, **columns: Collection[str]) -> Runs:
        """Return the runs whose columns hold one of the given values."""
        accuracy, metrics = self.accuracy, self.metrics
        for name, values in columns.items():
            accuracy = accuracy[accuracy[name].isin(list(values))]
            metrics = metrics[metrics[name].isin(list(values))]
        return Runs(accuracy, metrics, self.warnings)


def select(
    out: Path,
    *,
    run_ids: Collection[str] = (),
    strategies: Collection[str] = (),
    benchmarks: Collection[str] = (),
    protocol: str | None = None,
) -> Runs:
    """Load the runs of a folder that fit; an empty choice is all of them.

    Raises:
        UserError: there is no such folder, or none of its runs has a name that was asked for.
    """
    from cl_bench.results.frames import load_several

    (metrics, accuracy), warnings = load_several(out, "metrics", "accuracy")
    accuracy.loc[accuracy["diverged"].astype(bool), list(_ACCURACIES)] = math.nan
    runs = Runs(accuracy, metrics, tuple(warnings))
    if run_ids:
        runs = runs.where(run_id=run_ids)
    for column, names in (("strategy", strategies), ("benchmark", benchmarks)):
        known = set(metrics[column])
        for name in names:
            if name not in known:
                raise unknown(f"{column} in {out}", name, known)
        if names:
            runs = runs.where(**{column: names})
    if protocol is not None:
        full = [p for p in set(metrics["protocol_id"]) if p.startswith(protocol)]
        if len(full) != 1:
            raise unknown(f"protocol in {out}", protocol, set(metrics["protocol_id"]))
        runs = runs.where(protocol_id=full)
    return runs


def results(runs: Runs, *, people: bool = False) -> Rows:
    """Return a row for each configuration: accuracy by task at the end and headline metrics.

    Tasks are numbered from 1. Intervals are of the mean over seeds (`statistics.mean_interval`).
    """
    from cl_bench.metrics.comparison import summarise

    summaries = {metric: summarise(runs.metrics, metric) for metric in HEADLINES}
    by_group = {
        metric: {row["group_id"]: row for row in rows} for metric, rows in summaries.items()
    }
    final = final_accuracy(runs.accuracy)
    diverged = {g: int(rows.sum()) for g, rows in runs.metrics.groupby("group_id")["diverged"]}
    found: Rows = []
    for summary in summaries[HEADLINES[0]]:
        group = summary["group_id"]
        row: dict[str, Any] = {"strategy": summary["label"]}
        if not people or runs.protocols > 1:
            row["benchmark"] = summary["benchmark"]
            row["scenario"] = summary["scenario"]
            row["protocol"] = summary["protocol_id"][:8]
        if not people:
            row["protocol"], row["group"] = summary["protocol_id"], group
        row["seeds"] = summary["seeds"]
        if runs.diverged:
            row["diverged"] = diverged[group]
        accuracies = final[group]
        shown = _spread(len(accuracies)) if people else range(len(accuracies))
        for task in shown:
            value = accuracies[task]
            if people:
                row[f"task {task + 1}"] = "" if math.isnan(value) else f"{value:.3f}"
            else:
                row[f"task_{task + 1}"] = value
        for metric in HEADLINES:
            figure = by_group[metric][group]
            if people:
                text = interval_text(figure["mean"], figure["low"], figure["high"])
                row[metric.replace("_", " ")] = text
            else:
                row[metric] = figure["mean"]
                row |= {f"{metric}_{side}": figure[side] for side in ("low", "high", "median")}
        found.append(row)
    return found


def differences(
    runs: Runs, metric: str, *, people: bool = False, power: float | None = None
) -> Rows:
    """Return a row for each pair of configurations of one protocol, paired by seed.

    Args:
        runs: the runs to compare.
        metric: a metric's name.
        people: give text that is short enough to read.
        power: also say how many seeds show a true difference of this size with 80 % power, and
            which one the seeds at hand show; each for one test alone (`seeds_needed`,
            `detectable`) and as strictly as Holm's correction ever is (`…_holm`).
    """
    from cl_bench.metrics.comparison import compare

    rows: Rows = [{**row} for row in compare(runs.metrics, metric)]
    if power is not None:
        rows = [row | _powers(row, power, rows) for row in rows]
    if not people:
        return rows
    found: Rows = []
    for row in rows:
        short: dict[str, Any] = {"A": row["a"], "B": row["b"]}
        if runs.protocols > 1:
            short["protocol"] = row["protocol_id"][:8]
        short["seeds"] = row["seeds"]
        short["A less B"] = interval_text(row["difference"], row["low"], row["high"], sign="+")
        short["median"] = interval_text(row["median"], None, None, sign="+")
        sides = (row["improvement"], row["improvement_low"], row["improvement_high"])
        short["P(A better)"] = interval_text(*sides, digits=2)
        short["p (Holm)"] = row["p_holm"]
        short["better"] = row["better"] or row["verdict"]
        if power is not None:
            short["detectable"] = interval_text(row["detectable_holm"], None, None)
            short[f"seeds for {power:g}"] = row["seeds_needed_holm"]
        found.append(short)
    return found


def _powers(row: dict[str, Any], difference: float, rows: Rows) -> dict[str, Any]:
    """Return what a pair's seeds can show, and how many seeds show a difference."""
    from cl_bench.metrics.power import ALPHA, detectable, seeds_needed

    if row["deviation"] is None:
        return dict.fromkeys(("detectable", "seeds_needed", "detectable_holm", "seeds_needed_holm"))
    pairs = sum(other["protocol_id"] == row["protocol_id"] for other in rows)
    found: dict[str, Any] = {}
    for suffix, alpha in (("", ALPHA), ("_holm", ALPHA / pairs)):
        smallest = detectable(row["deviation"], row["seeds"], alpha)
        found[f"detectable{suffix}"] = None if math.isnan(smallest) else smallest
        found[f"seeds_needed{suffix}"] = seeds_needed(difference, row["deviation"], alpha)
    return found


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
        row: dict[str, Any] = {"after": "start" if after < 0 else f"task {after + 1}"}
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
        row: dict[str, Any] = {"metric": metric.title if people else name}
        if people:
            row["mean"] = interval_text(summary["mean"], summary["low"], summary["high"])
            row["definition"] = metric.definition
        else:
            row |= {key: summary[key] for key in ("mean", "low", "high", "median", "seeds")}
        found.append(row)
    return found


def landscape(out: Path, runs: Runs) -> Rows:
    """Return a row for each task, from 1: the loss around its minimum and after the last task.

    Averaged over the given runs (`RunRecord.landscape`); none where it was not measured.
    """
    from cl_bench.results.frames import load_with_warnings

    table = load_with_warnings(out, "landscape")[0]
    table = table[table["run_id"].isin(runs.metrics["run_id"])]
    found: Rows = []
    for task in sorted(set(table["task"])):
        rows = table[table["task"] == task]
        at = rows[rows["after_task"] == task].mean(numeric_only=True)
        end = rows[rows["after_task"] == table["after_task"].max()].mean(numeric_only=True)
        row: dict[str, Any] = {"task": task + 1}
        row |= {name: float(at[name]) for name in _AT_MINIMUM}
        row |= {f"{name}_at_end": float(end[name]) for name in _AT_END}
        found.append(row)
    return found


def provenance(out: Path, run_id: str) -> Rows:
    """Return all that one run's record says of itself but its tables: a row for each key."""
    from cl_bench.results.store import RunStore

    content = RunStore(out).open(run_id).content
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


def find_runs(out: Path, name: str) -> Runs:
    """Return the runs that a name stands for: a run, a configuration, a label, a strategy.

    Args:
        out: the folder of the runs.
        name: the start of a run id or group id (4 digits at least), a run's folder, a label or
            a strategy's name.

    Raises:
        UserError: nothing has this name, or several configurations have.
    """
    runs = select(out)
    run_id = Path(name).name.rsplit("-", 1)[-1]
    for column, wanted in (("run_id", run_id), ("group_id", name)):
        ids = sorted({i for i in runs.metrics[column] if len(wanted) >= 4 and i.startswith(wanted)})
        if len(ids) > 1:
            raise UserError(f"{name} is the start of several: {', '.join(ids[:5])}; add digits")
        if ids:
            return runs.where(**{column: ids})
    for column in ("label", "strategy"):
        found = runs.where(**{column: [name]})
        if found.groups > 1:
            labels = found.metrics.drop_duplicates("group_id")
            choice = ", ".join(f"{row.group_id} {row.label}" for row in labels.itertuples())
            raise UserError(f"{name} is several configurations: {choice}; name one")
        if found:
            return found
    known = {*runs.metrics["label"], *runs.metrics["strategy"], *runs.metrics["run_id"]}
    raise unknown(f"run in {out}", name, known)


def _spread(count: int) -> list[int]:
    """Return all of 0 … count - 1, or some of it spread evenly, the ends included."""
    if count <= MOST_TASKS:
        return list(range(count))
    return [round(i * (count - 1) / (MOST_TASKS - 1)) for i in range(MOST_TASKS)]
