"""Finished runs as tidy DataFrames: `cl_bench.load("runs")`.

Every table starts with the columns that say which run a row is of (`RUN_COLUMNS`).
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd

from cl_bench.errors import UserError, unknown
from cl_bench.metrics import REFERENCE_STRATEGY, diverged, evaluations, figures, matrix, names
from cl_bench.metrics.evaluations import Array
from cl_bench.plain import flatten
from cl_bench.results.labels import configurations
from cl_bench.results.record import TABLES
from cl_bench.results.store import RunStore, StoredRun, TableName

Table = Literal["accuracy", "curve", "predictions", "landscape", "metrics", "runs"]

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
    "diverged",
)
_NEEDS: dict[str, tuple[TableName, ...]] = {"metrics": ("accuracy", "curve"), "runs": ()}


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
    (frame,), problems = load_several(path, table)
    return frame, problems


def load_several(path: Path | str, *tables: Table) -> tuple[list[pd.DataFrame], list[str]]:
    """Return several tables of the runs in a folder, which is read once; as `tables_of` does."""
    for table in tables:
        if table not in get_args(Table):
            raise unknown("table", table, get_args(Table))
    if not Path(path).is_dir():
        raise UserError(f"there is no folder of runs at {path}")
    stored, problems = RunStore(path).scan()
    frames, more = tables_of(stored, *tables)
    return frames, [*problems, *more]


def tables_of(stored: Iterable[StoredRun], *tables: Table) -> tuple[list[pd.DataFrame], list[str]]:
    """Return several tables of runs.

    Returns:
        The tables, of the same runs (but `landscape`, of those that have one), and one line for
        each run that was left out or whose figures lack something.
    """
    wanted = {name for t in tables for name in _NEEDS.get(t, (cast(TableName, t),))}
    runs, problems = [], []
    for each in stored:
        try:
            runs.append(_read(each, wanted))
        except UserError as error:
            problems.append(f"skipped: {error}")
    named = configurations(run.stored for run in runs)
    frames = []
    for table in tables:
        members = (
            [run for run in runs if "landscape" in run.tables] if (table == "landscape") else runs
        )
        rows = [_identity(run, *named[run.run_id]) for run in members]
        if table == "runs":
            frames.append(_frame(rows, [_flat_row(run.stored) for run in members], []))
        elif table == "metrics":
            references, missing = _references(members)
            problems += missing
            frames.append(_frame(rows, [_figures(run, references) for run in members], names()))
        else:
            frames.append(_long_frame(rows, [run.tables[table] for run in members], table))
    return frames, problems


@dataclass(frozen=True)
class _Read:
    """A run with those of its tables that are wanted."""

    stored: StoredRun
    tables: dict[str, pd.DataFrame]
    diverged: bool

    @property
    def run_id(self) -> str:
        return str(self.stored.content["run_id"])

    @property
    def key(self) -> tuple[str, int]:
        """What it shares with the joint run that it is measured against."""
        return self.stored.content["protocol_id"], self.stored.config.seed


def _read(run: StoredRun, wanted: Iterable[TableName]) -> _Read:
    tables: dict[TableName, pd.DataFrame] = {
        name: run.table(name) for name in wanted if name != "landscape" or run.has(name)
    }
    flag = run.content.get("diverged")
    if flag is None:  # from before it was kept: its losses tell
        losses = (tables[n] if n in tables else run.table(n) for n in _NEEDS["metrics"])
        flag = diverged(*losses)
    return _Read(run, {str(name): table for name, table in tables.items()}, bool(flag))


def _frame(
    identities: Sequence[dict[str, Any]], rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> pd.DataFrame:
    if not rows:
        return pd.DataFrame(columns=[*RUN_COLUMNS, *columns])
    return pd.DataFrame([{**one, **row} for one, row in zip(identities, rows, strict=True)])


def _long_frame(
    identities: Sequence[dict[str, Any]], parts: Sequence[pd.DataFrame], table: str
) -> pd.DataFrame:
    """Return the runs' tables, one under the other, after the columns that name the run."""
    columns = [*RUN_COLUMNS, *("target" if c == "label" else c for c in TABLES[table])]
    if not parts:
        return pd.DataFrame(columns=columns)
    run_of_row = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    which = pd.DataFrame(identities).take(run_of_row).reset_index(drop=True)
    return pd.concat([which, pd.concat(parts, ignore_index=True)], axis=1).set_axis(columns, axis=1)


def _identity(run: _Read, group_id: str, label: str) -> dict[str, Any]:
    """Return the columns that say which run a row is of (`RUN_COLUMNS`)."""
    config = run.stored.config
    return {
        "run_id": run.run_id,
        "group_id": group_id,
        "protocol_id": run.stored.content["protocol_id"],
        "strategy": config.strategy.name,
        "label": label,
        "benchmark": config.benchmark.name,
        "scenario": str(config.benchmark.scenario or ""),
        "seed": config.seed,
        "stream_id": run.stored.content["stream_id"],
        "diverged": run.diverged,
    }


def _references(runs: Sequence[_Read]) -> tuple[dict[tuple[str, int], Array], list[str]]:
    """Return what intransigence is measured against, by protocol and seed: the joint runs.

    Also one line for each protocol in which several joint runs of a seed make it unknown.
    """
    joint: dict[tuple[str, int], list[_Read]] = defaultdict(list)
    for run in runs:
        if run.stored.config.strategy.name == REFERENCE_STRATEGY and not run.diverged:
            joint[run.key].append(run)
    references = {
        key: np.diag(matrix(only[0].tables["accuracy"])[0])
        for key, only in joint.items()
        if len(only) == 1
    }
    unclear: dict[str, list[int]] = defaultdict(list)
    for protocol_id, seed in sorted(joint.keys() - references.keys()):
        unclear[protocol_id].append(seed)
    return references, [
        f"no intransigence in protocol {protocol_id[:8]} at seed {', '.join(map(str, seeds))}: "
        f"several joint runs could be the reference"
        for protocol_id, seeds in unclear.items()
    ]


def _figures(run: _Read, references: Mapping[tuple[str, int], Array]) -> dict[str, float]:
    tables = run.tables
    return figures(
        evaluations(
            tables["accuracy"], tables["curve"], references.get(run.key), diverged=run.diverged
        )
    )


def _flat_row(run: StoredRun) -> dict[str, Any]:
    content = run.content
    parts = {key: value for key, value in content["config"].items() if key != "seed"}
    parts["weights_sha256"] = content["weights_sha256"]
    parts |= {part: content[part] for part in ("data", "cost", "provenance")}
    flat = flatten(parts)
    return {key: tuple(v) if isinstance(v, list) else v for key, v in flat.items()}
