"""Finished runs as tidy DataFrames: `cl_bench.load("runs")`.

Every table starts with the columns that say which run a row is of (`RUN_COLUMNS`).
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd

from cl_bench.config import Number
from cl_bench.errors import UserError, unknown
from cl_bench.metrics import REFERENCE_STRATEGY, evaluations, figures, matrix, names
from cl_bench.metrics.evaluations import Array
from cl_bench.plain import flatten
from cl_bench.results.record import TABLES
from cl_bench.results.store import RunStore, StoredRun

Table = Literal["accuracy", "curve", "predictions", "landscape", "metrics", "runs"]
Part = TypeVar("Part")

RUN_COLUMNS = (
    "run_id",
    "group_id",
    "protocol_id",
    "strategy",
    "label",
    "benchmark",
    "scenario",
    "seed",
    "stream_id",
)


def load(path: Path | str, table: Table = "accuracy") -> pd.DataFrame:
    """Return the runs in a folder as one tidy table; damaged ones are skipped with a warning.

    Args:
        path: the folder that holds the run directories.
        table: which table:

            - `accuracy`: a row for each (run, after_task, task) that was evaluated; after_task
              -1 is the untrained network;
            - `curve`: a row for each evaluation during training;
            - `predictions`: confusion counts after the last task, `label` named `target`;
            - `landscape`: the loss around each past task's minimum (`RunRecord.landscape`), of
              the runs where it was measured (`evaluation.landscape`);
            - `metrics`: a row a run, a column for each metric;
            - `runs`: a row a run, with the config, data, cost and provenance flattened into
              columns such as `training.batch_size` and `strategy.settings.strength`.

    Raises:
        UserError: there is no such folder or table.
    """
    frame, problems = load_with_warnings(path, table)
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return frame


def load_with_warnings(
    path: Path | str, table: Table = "accuracy"
) -> tuple[pd.DataFrame, list[str]]:
    """Return what `load` returns, and one line for each damaged run that was left out."""
    if table not in get_args(Table):
        raise unknown("table", table, get_args(Table))
    if not Path(path).is_dir():
        raise UserError(f"there is no folder of runs at {path}")
    runs, problems = RunStore(path).scan()
    if table == "runs":
        rows = [_flat_row(run) for run in runs]
        return _frame(runs, rows, []), problems
    if table == "metrics":
        kept, rows = _readable(runs, _Figures(runs), problems)
        return _frame(kept, rows, names()), problems
    if table == "landscape":
        runs = [run for run in runs if run.has(table)]
    kept, parts = _readable(runs, lambda run: run.table(table), problems)
    return _long_frame(kept, parts, table), problems


def labels(runs: Iterable[StoredRun]) -> dict[str, str]:
    """Return the label of each group_id: its strategy, and the settings that tell groups apart.

    `ewc (strength=100)` where the runs hold EWC at several strengths, `ewc` where at one.
    """
    groups: dict[str, dict[str, dict[str, Number]]] = defaultdict(dict)
    for run in runs:
        strategy = run.config.strategy
        settings = dict(strategy.settings)
        if strategy.code is not None:
            settings["code"] = strategy.code[:8]
        groups[strategy.name][run.content["group_id"]] = settings
    result = {}
    for strategy_name, members in groups.items():
        shown = differing(list(members.values()))
        for group_id, settings in members.items():
            result[group_id] = named(strategy_name, settings, shown)
    return result


def differing(members: Sequence[Mapping[str, Number]]) -> list[str]:
    """Return the names of the settings in which a strategy's configurations differ."""
    keys = dict.fromkeys(key for settings in members for key in settings)
    return [key for key in keys if len({repr(settings.get(key)) for settings in members}) > 1]


def named(strategy: str, settings: Mapping[str, Number], shown: Iterable[str]) -> str:
    """Return a strategy's name with those of its settings that are to be shown."""
    texts = [f"{key}={_short(settings[key])}" for key in shown if key in settings]
    return f"{strategy} ({', '.join(texts)})" if texts else strategy


def _readable(
    runs: list[StoredRun], read: Callable[[StoredRun], Part], problems: list[str]
) -> tuple[list[StoredRun], list[Part]]:
    """Return the runs that could be read and what was read; note the others in `problems`."""
    kept, parts = [], []
    for run in runs:
        try:
            parts.append(read(run))
            kept.append(run)
        except UserError as error:
            problems.append(f"skipped: {error}")
    return kept, parts


def _short(value: Number) -> str:
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return str(int(value)) if whole else str(value)


def _frame(runs: list[StoredRun], rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    full = [{**first, **row} for first, row in zip(_identities(runs), rows, strict=True)]
    if not full:
        return pd.DataFrame(columns=[*RUN_COLUMNS, *columns])
    return pd.DataFrame(full)


def _long_frame(runs: list[StoredRun], parts: list[pd.DataFrame], table: str) -> pd.DataFrame:
    """Return the runs' tables, one under the other, after the columns that name the run."""
    columns = [*RUN_COLUMNS, *("target" if c == "label" else c for c in TABLES[table])]
    if not runs:
        return pd.DataFrame(columns=columns)
    run_of_row = np.repeat(np.arange(len(runs)), [len(part) for part in parts])
    which = pd.DataFrame(_identities(runs)).take(run_of_row).reset_index(drop=True)
    return pd.concat([which, pd.concat(parts, ignore_index=True)], axis=1).set_axis(columns, axis=1)


def _identities(runs: list[StoredRun]) -> list[dict[str, Any]]:
    label = labels(runs)
    return [
        {
            "run_id": run.content["run_id"],
            "group_id": run.content["group_id"],
            "protocol_id": run.content["protocol_id"],
            "strategy": run.config.strategy.name,
            "label": label[run.content["group_id"]],
            "benchmark": run.config.benchmark.name,
            "scenario": str(run.config.benchmark.scenario or ""),
            "seed": run.config.seed,
            "stream_id": run.content["stream_id"],
        }
        for run in runs
    ]


class _Figures:
    """Computes a run's metrics; finds the joint run that its intransigence is measured against."""

    def __init__(self, runs: list[StoredRun]) -> None:
        self._joint: dict[tuple[str, int], list[StoredRun]] = defaultdict(list)
        for run in runs:
            if run.config.strategy.name == REFERENCE_STRATEGY:
                self._joint[self._key(run)].append(run)
        self._known: dict[tuple[str, int], Array | None] = {}

    def __call__(self, run: StoredRun) -> dict[str, float]:
        key = self._key(run)
        if key not in self._known:
            self._known[key] = self._reference(self._joint[key])
        return figures(evaluations(run.table("accuracy"), run.table("curve"), self._known[key]))

    @staticmethod
    def _key(run: StoredRun) -> tuple[str, int]:
        return run.content["protocol_id"], run.config.seed

    @staticmethod
    def _reference(joint: list[StoredRun]) -> Array | None:
        """Return the diagonal of the joint run's matrix; None where there is not exactly one."""
        if len(joint) != 1:
            return None
        try:
            return np.diag(matrix(joint[0].table("accuracy"))[0])
        except UserError:  # it is reported where it is loaded itself
            return None


def _flat_row(run: StoredRun) -> dict[str, Any]:
    content = run.content
    parts = {key: value for key, value in content["config"].items() if key != "seed"}
    parts["weights_sha256"] = content["weights_sha256"]
    parts |= {part: content[part] for part in ("data", "cost", "provenance")}
    flat = flatten(parts)
    return {key: tuple(v) if isinstance(v, list) else v for key, v in flat.items()}
