"""Configurations of one protocol as points of a trade-off, read from their records.

A point has two figures by seed: a metric and what it cost, or the errors on old and new tasks.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from cl_bench.config import Number, Protocol, RunConfig
from cl_bench.errors import UserError, unknown
from cl_bench.metrics import METRICS, matrix
from cl_bench.metrics.costs import COSTS
from cl_bench.metrics.frontier import Kind, Standing, old_and_new_error, standings
from cl_bench.metrics.statistics import Interval, mean_interval
from cl_bench.report import protocols
from cl_bench.report.selection import Runs, select
from cl_bench.results.labels import differing, named, settings_of
from cl_bench.results.store import StoredRun

if TYPE_CHECKING:
    import pandas as pd

ERRORS = OLD_ERROR, NEW_ERROR = "old_error", "new_error"
TRAINED_WITH = ("network", "optimizer", "training")
"""Sections of a configuration that leave the task stream as it is."""


@dataclass(frozen=True)
class Axis:
    """One of the two figures of a trade-off."""

    name: str
    title: str
    unit: str
    higher_is_better: bool = False
    kind: Kind = Kind.SAMPLED

    @property
    def timed(self) -> bool:
        """Return whether it tells of the machine as much as of the method."""
        return self.kind is Kind.TIMED

    @property
    def sign(self) -> float:
        """Return what to multiply by so that less is better."""
        return -1.0 if self.higher_is_better else 1.0


@dataclass(frozen=True, eq=False)
class Point:
    """One configuration."""

    group_id: str
    label: str
    strategy: str
    settings: dict[str, Number]
    """The strategy's, and by dotted key those of the training that may differ, too."""
    sample: pd.DataFrame
    """Columns `x` and `y`, indexed by (seed, stream_id)."""

    @cached_property
    def x(self) -> Interval:
        """Return the mean of the first figure over seeds."""
        return mean_interval(self.sample["x"])

    @cached_property
    def y(self) -> Interval:
        """Return the mean of the second figure over seeds."""
        return mean_interval(self.sample["y"])


@dataclass(frozen=True)
class Front:
    """All points of one trade-off, and where each stands."""

    x: Axis
    y: Axis
    points: tuple[Point, ...]
    """Those in competition."""
    standings: tuple[Standing, ...]
    """Where each of `points` stands to the Pareto set."""
    references: tuple[Point, ...]
    """Bounds on what can be reached, which are given all tasks' data and so do not compete."""


@dataclass(frozen=True)
class Records:
    """The runs of a trade-off: of one protocol, or of several that may be taken together."""

    runs: Runs
    across: tuple[str, ...] = ()
    """Dotted keys in which their protocols may differ."""

    @property
    def strategies(self) -> set[str]:
        """Return the names of the strategies."""
        return {run.config.strategy.name for run in self.runs.stored}

    def machines(self) -> list[str]:
        """Return what differs between the machines and stacks of the runs, one line each."""
        seen: dict[str, set[str]] = defaultdict(set)
        for run in self.runs.stored:
            for key in ("device", "cpu", "threads"):
                seen[key].add(str(run.content["provenance"].get(key)))
            seen["stack_size"].add(str(run.content["cost"].get("stack_size")))
        return [f"{key}: {', '.join(sorted(each))}" for key, each in seen.items() if len(each) > 1]


def read(
    out: Path,
    *,
    strategies: Collection[str] = (),
    protocol: str | None = None,
    config: Protocol | None = None,
    across: Sequence[str] = (),
) -> Records:
    """Return the runs of a folder that are of one trade-off.

    Args:
        out: the folder of the runs.
        strategies: only these; all where empty.
        protocol: what `protocols.choose` takes.
        config: the protocol that this is the name of.
        across: dotted keys such as `training.epochs`: protocols that differ in nothing else count
            as one, for they share the task stream and the test.

    Raises:
        UserError: nothing fits, or it is of several protocols.
    """
    known = [
        f"{section}.{key}"
        for section in TRAINED_WITH
        for key in type(getattr(Protocol(), section)).model_fields
    ]
    for key in across:
        if key not in known:
            raise unknown("key for --across", key, known)
    runs = select(out, strategies=strategies)
    if not runs:
        raise UserError(f"there are no runs in {out}")
    families = {i: _family(each, across) for i, each in runs.protocols.items()}
    wanted = set(families.values())
    if protocol is not None:
        wanted = {families[protocols.choose(runs.protocols, protocol, str(out), config)]}
    if len(wanted) > 1:
        firsts = {family: i for i, family in reversed(families.items())}
        configs = {i: runs.protocols[i] for i in firsts.values()}
        apart = ", ".join(protocols.apart(configs))
        raise protocols.several("a trade-off", configs, f" that differ in {apart}")
    kept = [i for i, family in families.items() if family in wanted]
    return Records(runs.where("protocol_id", kept), tuple(across))


def axis(name: str) -> Axis:
    """Return the figure of this name: a metric, a cost, `old_error` or `new_error`."""
    if name in METRICS:
        metric = METRICS[name]
        return Axis(name, metric.title, metric.unit, metric.higher_is_better)
    if name in COSTS:
        cost = COSTS[name]
        kind = Kind.TIMED if cost.of_machine else Kind.COUNTED
        return Axis(name, cost.title, cost.unit, kind=kind)
    titles = {OLD_ERROR: "error on old tasks", NEW_ERROR: "error on the new task"}
    if name in titles:
        return Axis(name, titles[name], "fraction")
    raise unknown("figure", name, [*METRICS, *COSTS, *titles])


def front(records: Records, x: str, y: str, references: Collection[str] = ()) -> Front:
    """Return the points of a trade-off, sorted by strategy and settings, and its Pareto set.

    Args:
        records: the runs.
        x: the name of a figure (`axis`).
        y: that of another.
        references: strategies that are shown but do not compete.

    Raises:
        UserError: an unknown figure, or no run has both.
    """
    axes = axis(x), axis(y)
    frame = records.runs.metrics[["run_id", "group_id", "seed", "stream_id"]].copy()
    frame["x"], frame["y"] = (_values(records, each.name) for each in axes)
    frame = frame[~records.runs.metrics["diverged"].astype(bool)].dropna(subset=["x", "y"])
    if frame.empty:
        raise UserError(f"no run has both {x} and {y}")
    stored = {run.content["run_id"]: run for run in records.runs.stored}
    ids = records.runs.metrics.set_index("group_id")["run_id"]
    run_of_group = {str(group): stored[run_id] for group, run_id in ids.items()}
    points = _points(frame, run_of_group, records.across)
    competing = tuple(p for p in points if p.strategy not in references)
    signs = [each.sign for each in axes]
    standing = standings(
        [point.sample * signs for point in competing], [each.kind for each in axes]
    )
    others = tuple(p for p in points if p.strategy in references)
    return Front(*axes, competing, tuple(standing), others)


def _values(records: Records, name: str) -> pd.Series:
    """Return a figure by run, in the order of the table of metrics."""
    metrics = records.runs.metrics
    if name in METRICS:
        return metrics[name]
    if name in COSTS:
        cost = COSTS[name].function
        costs = {r.content["run_id"]: cost(r.content["cost"]) for r in records.runs.stored}
        return metrics["run_id"].map(costs)
    place = (OLD_ERROR, NEW_ERROR).index(name)
    errors = {
        str(run_id): old_and_new_error(matrix(table)[0])[place]
        for run_id, table in records.runs.accuracy.groupby("run_id")
    }
    return metrics["run_id"].map(errors)


def _points(
    frame: pd.DataFrame, run_of_group: dict[str, StoredRun], across: Sequence[str]
) -> list[Point]:
    settings = {
        str(group): _settings(run_of_group[str(group)].config, across)
        for group in frame["group_id"].unique()
    }
    by_strategy: dict[str, list[str]] = defaultdict(list)
    for group in settings:
        by_strategy[run_of_group[group].config.strategy.name].append(group)
    found = []
    for strategy, groups in sorted(by_strategy.items()):
        apart = differing([settings[group] for group in groups])
        for group in sorted(groups, key=lambda group: _order(settings[group], apart)):
            rows = frame[frame["group_id"] == group].set_index(["seed", "stream_id"])
            label = named(strategy, settings[group], apart)
            found.append(Point(group, label, strategy, settings[group], rows[["x", "y"]]))
    return found


def _settings(config: RunConfig, across: Sequence[str]) -> dict[str, Number]:
    """Return all that may tell configurations apart."""
    settings = settings_of(config.strategy)
    for key in across:
        section, _, name = key.partition(".")
        value: Any = getattr(getattr(config, section), name)
        settings[key] = value if isinstance(value, (int, float, bool)) else str(value)
    return settings


def _family(config: RunConfig, across: Sequence[str]) -> str:
    """Return the protocol without the keys in which it may differ."""
    content = config.model_dump(mode="json", exclude={"seed", "strategy"})
    for key in across:
        section, _, name = key.partition(".")
        content[section].pop(name)
    return json.dumps(content, sort_keys=True)


def _order(settings: dict[str, Number], keys: Sequence[str]) -> list[tuple[bool, float, str]]:
    """Return what configurations are sorted by: numbers by size, before words."""
    values = [settings.get(key) for key in keys]
    return [(not is_number(v), v if is_number(v) else 0.0, str(v)) for v in values]


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a setting is a number, which a switch is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
