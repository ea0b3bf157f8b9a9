"""Which of a folder's runs are meant: by strategy, benchmark and protocol, or by one name.

A folder is read once, and everything after is of what was read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cl_bench.config import Protocol, RunConfig
from cl_bench.errors import UserError, unknown
from cl_bench.report import protocols
from cl_bench.results.store import RunStore, StoredRun

if TYPE_CHECKING:
    import pandas as pd

MOST_CHOICES = 12
"""Choices that are listed where a name means several; the rest are counted."""
_ACCURACIES = ("accuracy", "accuracy_agnostic")
_NAMES = {"run_id": True, "folder": True, "group_id": False, "label": False, "strategy": False}
"""Columns that a name may be of, and whether it then stands for a run (or a configuration)."""


@dataclass(frozen=True)
class Runs:
    """Some of the runs in a folder, loaded."""

    out: Path
    stored: tuple[StoredRun, ...]
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

    @cached_property
    def protocols(self) -> dict[str, RunConfig]:
        """Return the configuration of one run of each protocol; runs of one can be compared."""
        return {run.content["protocol_id"]: run.config for run in self.stored}

    def where(self, column: str, values: Collection[str]) -> Runs:
        """Return the runs whose column of the metrics holds one of the given values."""
        metrics = self.metrics[self.metrics[column].isin(list(values))]
        kept = set(metrics["run_id"])
        return replace(
            self,
            stored=tuple(run for run in self.stored if run.content["run_id"] in kept),
            accuracy=self.accuracy[self.accuracy["run_id"].isin(kept)],
            metrics=metrics,
        )

    def one_protocol(self, text: str, config: Protocol | None = None) -> Runs:
        """Return the runs of the protocol that a text means (`protocols.choose`)."""
        chosen = protocols.choose(self.protocols, text, str(self.out), config)
        return self.where("protocol_id", [chosen])


def select(
    out: Path,
    *,
    run_ids: Collection[str] = (),
    strategies: Collection[str] = (),
    benchmarks: Collection[str] = (),
    protocol: str | None = None,
    config: Protocol | None = None,
) -> Runs:
    """Load the runs of a folder that fit; an empty choice is all of them.

    Args:
        out: the folder of the runs.
        run_ids: only these.
        strategies: only these, by name.
        benchmarks: only runs of these, by name.
        protocol: what `protocols.choose` takes.
        config: the protocol that this is the name of.

    Raises:
        UserError: there is no such folder, or none of its runs has a name that was asked for.
    """
    runs = _load(out)
    if run_ids:
        runs = runs.where("run_id", run_ids)
    for column, names in (("strategy", strategies), ("benchmark", benchmarks)):
        known = set(runs.metrics[column])
        for name in names:
            if name not in known:
                raise unknown(f"{column} in {out}", name, known)
        if names:
            runs = runs.where(column, names)
    return runs if protocol is None else runs.one_protocol(protocol, config)


def find(out: Path, name: str) -> Runs:
    """Return the runs that a name stands for: a run, a configuration, a label, a strategy.

    Args:
        out: the folder of the runs.
        name: the start of a run's id, of its folder's name, of a configuration's id, of a label or
            of a strategy's name. What is a whole name is not taken for the start of others.

    Raises:
        UserError: nothing has this name, or several runs or configurations have.
    """
    runs = _load(out)
    folders = {run.content["run_id"]: run.path.name for run in runs.stored}
    rows = runs.metrics.assign(folder=runs.metrics["run_id"].map(folders))
    for whole in (True, False):
        meant = _meant(rows, Path(name).name, whole)
        if len(meant) == 1:
            return runs.where("run_id", next(iter(meant)))
        if meant:
            raise UserError(
                f"'{name}' is the start of several; give more of one, or an id",
                _choices(runs, rows.set_index("run_id"), meant),
            )
    raise unknown(f"run in {out}", name, {*rows["label"], *rows["strategy"], *rows["folder"]})


def _load(out: Path) -> Runs:
    from cl_bench.results.frames import tables_of

    if not out.is_dir():
        raise UserError(f"there is no folder of runs at {out}")
    stored, warnings = RunStore(out).scan()
    (metrics, accuracy), damaged = tables_of(stored, "metrics", "accuracy")
    accuracy.loc[accuracy["diverged"].astype(bool), list(_ACCURACIES)] = float("nan")
    kept = set(metrics["run_id"])
    whole = tuple(run for run in stored if run.content["run_id"] in kept)
    return Runs(out, whole, accuracy, metrics, (*warnings, *damaged))


def _meant(rows: pd.DataFrame, name: str, whole: bool) -> dict[frozenset[str], bool]:
    """Return the sets of run ids that a name may stand for: a run (True), or a configuration's."""
    found: dict[frozenset[str], bool] = {}
    for column, of_run in _NAMES.items():
        same = rows[column] == name if whole else rows[column].str.startswith(name)
        for _, part in rows[same].groupby("run_id" if of_run else "group_id"):
            found.setdefault(frozenset(part["run_id"]), of_run)
    return {ids: of_run for ids, of_run in found.items() if not any(ids < more for more in found)}


def _choices(runs: Runs, rows: pd.DataFrame, meant: dict[frozenset[str], bool]) -> list[str]:
    words = protocols.describe(runs.protocols)
    found = []
    for ids, of_run in meant.items():
        row = rows.loc[min(ids)]
        what = row["folder"] if of_run else f"{row['group_id']}  {row['label']}"
        found.append(f"{what}\n    {protocols.wrapped(words[str(row['protocol_id'])], 4)}")
    left = len(found) - MOST_CHOICES
    return found if left <= 0 else [*found[:MOST_CHOICES], f"and {left} more"]
