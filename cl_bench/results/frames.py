"""Finished runs as tidy DataFrames: `cl_bench.load("runs")`.

Every table starts with the columns that say which run a row is of (`RUN_COLUMNS`).
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from cl_bench.config import Number
from cl_bench.errors import UserError, unknown
from cl_bench.metrics import REFERENCE_STRATEGY, evaluations, figures, matrix, names
from cl_bench.metrics.evaluations import Array
from cl_bench.results.files import COLUMNS
from cl_bench.results.store import RunStore, StoredRun

Table = Literal["accuracy", "curve", "predictions", "metrics", "runs"]

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
            - `predictions`: confusion counts after the last task;
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
    kept, parts = [], []
    references = _References(runs)
    for run in runs:
        try:
            parts.append(_metrics(run, references) if table == "metrics" else run.table(table))
            kept.append(run)
        except UserError as error:
            problems.append(f"skipped: {error}")
    if table == "metrics":
        return _frame(kept, parts, names()), problems
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
        differing = _differing(list(members.values()))
        for group_id, settings in members.items():
            shown = [f"{key}={_short(settings[key])}" for key in differing if key in settings]
            result[group_id] = f"{strategy_name} ({', '.join(shown)})" if shown else strategy_name
    return result


def _differing(members: list[dict[str, Number]]) -> list[str]:
    keys = dict.fromkeys(key for settings in members for key in settings)
    return [key for key in keys if len({repr(settings.get(key)) for settings in members}) > 1]


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
    if not runs:
        return pd.DataFrame(columns=[*RUN_COLUMNS, *COLUMNS[table]])
    run_of_row = np.repeat(np.arange(len(runs)), [len(part) for part in parts])
    which = pd.DataFrame(_identities(runs)).take(run_of_row).reset_index(drop=True)
    return pd.concat([which, pd.concat(parts, ignore_index=True)], axis=1)


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


def _metrics(run: StoredRun, references: _References) -> dict[str, float]:
    return figures(evaluations(run.table("accuracy"), run.table("curve"), references.of(run)))


class _References:
    """The joint runs among the loaded ones: what intransigence is measured against."""

    def __init__(self, runs: list[StoredRun]) -> None:
        self._joint: dict[tuple[str, int], list[StoredRun]] = defaultdict(list)
        for run in runs:
            if run.config.strategy.name == REFERENCE_STRATEGY:
                self._joint[self._key(run)].append(run)
        self._known: dict[tuple[str, int], Array | None] = {}

    def of(self, run: StoredRun) -> Array | None:
        """Return the diagonal of the joint run's matrix; None where there is not exactly one."""
        key = self._key(run)
        if key not in self._known:
            joint = self._joint[key]
            try:
                unique = len(joint) == 1
                self._known[key] = np.diag(matrix(joint[0].table("accuracy"))[0]) if unique else None
            except UserError:  # it is reported where it is loaded itself
                self._known[key] = None
        return self._known[key]

    @staticmethod
    def _key(run: StoredRun) -> tuple[str, int]:
        return run.content["protocol_id"], run.config.seed


def _flat_row(run: StoredRun) -> dict[str, Any]:
    content = run.content
    row = _flatten({key: value for key, value in content["config"].items() if key != "seed"})
    row["weights_sha256"] = content["weights_sha256"]
    for part in ("data", "cost", "provenance"):
        row.update(_flatten(content[part], f"{part}."))
    return row


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one, keys joined by dots; lists become tuples."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
    return flat
