"""Who stands where: every figure computed anew from the entries' matrices, ranks by confidence.

A rank is a range: all places that the shown differences (`comparison.compare`, paired by seed)
leave an entry. Entries that nothing tells apart share places, and so tie.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cl_bench.config import Number
from cl_bench.leaderboard.entries import (
    Entry,
    SeedRun,
    TuningBudget,
    checksum,
    entry_bytes,
    labels,
)
from cl_bench.metrics import METRICS, Evaluations

if TYPE_CHECKING:
    import pandas as pd

    from cl_bench.metrics.comparison import Comparison

Rows = list[dict[str, Any]]

FIGURES = ("average_accuracy", "forgetting", "learning_accuracy")
"""The metrics that a board shows; the first is the one it ranks by."""
BASELINE = "naive"
"""The strategy whose gradient passes are the unit that others are counted in."""


@dataclass(frozen=True)
class Figure:
    """A metric of an entry: its mean over the seeds with the interval; None where there is none."""

    mean: float | None
    low: float | None
    high: float | None
    median: float | None


@dataclass(frozen=True)
class Costs:
    """What a run of an entry cost, on average over its seeds; None where a run does not say."""

    bytes_kept: float | None
    gradient_passes: float | None
    gradient_passes_of_naive: float | None
    """The same as a multiple of the baseline's."""
    train_seconds: float | None
    consolidate_seconds: float | None


@dataclass(frozen=True)
class Standing:
    """Where an entry stands, and its figures in full precision."""

    rank: int | None
    """Its first place; None where it is not ranked."""
    rank_last: int | None
    not_ranked: str
    """Why it is not; empty where it is."""
    label: str
    strategy: str
    changed: Mapping[str, Number]
    """The settings that differ from the strategy's defaults."""
    seeds: int
    figures: Mapping[str, Figure]
    """By metric, those of `FIGURES`; over the seeds that did not diverge."""
    costs: Costs
    budget: TuningBudget | None
    group_id: str
    file: str
    sha256: str

    @property
    def tied(self) -> bool:
        """Return whether it shares its places."""
        return self.rank != self.rank_last

    def row(self) -> dict[str, Any]:
        """Return it as plain values by column, as table.json and table.csv have it."""
        found: dict[str, Any] = {
            "rank": self.rank,
            "rank_last": self.rank_last,
            "tied": self.tied,
            "not_ranked": self.not_ranked or None,
            "label": self.label,
            "strategy": self.strategy,
            "changed": dict(self.changed),
            "seeds": self.seeds,
        }
        for metric, figure in self.figures.items():
            found[metric] = figure.mean
            sides = {"low": figure.low, "high": figure.high, "median": figure.median}
            found |= {f"{metric}_{side}": value for side, value in sides.items()}
        found |= asdict(self.costs)
        budget = self.budget.model_dump() if self.budget else None
        ids = {"group_id": self.group_id, "file": self.file, "sha256": self.sha256}
        return {**found, "budget": budget, **ids}


@dataclass(frozen=True)
class Standings:
    """Who stands where on a board."""

    rows: Sequence[Standing]
    """One for each entry, best rank first and unranked ones last."""
    pairs: Sequence[Comparison]
    """Each pair of ranked entries."""


def standings(entries: Sequence[Entry]) -> Standings:
    """Return the figures and ranks of a board's entries.

    An entry's places are from 1 + the number of entries shown to be better to the number of ranked
    entries less those shown to be worse. An entry of fewer than `statistics.MIN_SEEDS` seeds, or of
    which a run diverged, has none and takes no part in the correction for the number of pairs.
    """
    from cl_bench.metrics.comparison import compare, summarise
    from cl_bench.metrics.statistics import A_HIGHER, B_HIGHER

    frame = _frame(entries)
    ranked = {entry.group_id for entry in entries if not _why_not(entry)}
    pairs = compare(frame[frame["group_id"].isin(ranked)], FIGURES[0]) if ranked else []
    better, worse = Counter[str](), Counter[str]()
    for pair in pairs:
        if pair["verdict"] in (A_HIGHER, B_HIGHER):
            a, b = pair["a_group_id"], pair["b_group_id"]
            winner, loser = (a, b) if pair["verdict"] == A_HIGHER else (b, a)
            better[loser] += 1
            worse[winner] += 1
    summaries = {
        metric: {row["group_id"]: row for row in summarise(frame, metric)} for metric in FIGURES
    }
    baseline, label = _baseline(entries), labels(entries)
    rows = []
    for entry in entries:
        group, why_not = entry.group_id, _why_not(entry)
        of_entry = {metric: found[group] for metric, found in summaries.items()}
        rows.append(
            Standing(
                rank=None if why_not else 1 + better[group],
                rank_last=None if why_not else len(ranked) - worse[group],
                not_ranked=why_not,
                label=label[group],
                strategy=entry.strategy,
                changed=entry.changed,
                seeds=len(entry.runs),
                figures={
                    metric: Figure(row["mean"], row["low"], row["high"], row["median"])
                    for metric, row in of_entry.items()
                },
                costs=_costs(entry, baseline),
                budget=entry.budget,
                group_id=group,
                file=f"entries/{entry.file_name}",
                sha256=checksum(entry_bytes(entry)),
            )
        )
    return Standings(sorted(rows, key=_place), pairs)


def _why_not(entry: Entry) -> str:
    """Return why an entry is not ranked; empty where it is."""
    from cl_bench.metrics.statistics import MIN_SEEDS

    diverged = sum(run.diverged for run in entry.runs)
    if diverged:
        return f"{diverged} of {len(entry.runs)} seeds diverged"
    return f"fewer than {MIN_SEEDS} seeds" if len(entry.runs) < MIN_SEEDS else ""


def _place(row: Standing) -> tuple[Any, ...]:
    mean = row.figures[FIGURES[0]].mean
    return row.rank or math.inf, row.rank_last, mean is None, -(mean or 0), row.group_id


def _frame(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return a row a run with its figures, in the columns that `statistics` works on."""
    import pandas as pd

    label = labels(entries)
    return pd.DataFrame(
        [
            {
                "run_id": run.run_id,
                "group_id": entry.group_id,
                "protocol_id": entry.protocol_id,
                "strategy": entry.strategy,
                "label": label[entry.group_id],
                "benchmark": entry.config["benchmark"]["name"],
                "scenario": entry.config["benchmark"]["scenario"],
                "seed": run.seed,
                "stream_id": run.stream_id,
                **figures(run),
            }
            for entry in entries
            for run in entry.runs
        ]
    )


def figures(run: SeedRun) -> dict[str, float]:
    """Return the metrics of a run that a board shows, computed from its matrix.

    Of a run that diverged all are NaN.
    """
    if run.diverged:
        return dict.fromkeys(FIGURES, float("nan"))
    matrix = run.matrix
    unknown = np.full(len(matrix), np.nan)
    evaluations = Evaluations(matrix, run.initial, np.full_like(matrix, np.nan), unknown, unknown)
    return {name: METRICS[name].function(evaluations) for name in FIGURES}


def _costs(entry: Entry, baseline: float | None) -> Costs:
    passes = _mean_cost(entry, "gradient_passes")
    return Costs(
        bytes_kept=_mean_cost(entry, "bytes_kept"),
        gradient_passes=passes,
        gradient_passes_of_naive=passes / baseline if passes and baseline else None,
        train_seconds=_mean_cost(entry, "seconds", "train"),
        consolidate_seconds=_mean_cost(entry, "seconds", "consolidate"),
    )


def _mean_cost(entry: Entry, *keys: str) -> float | None:
    """Return the mean over seeds of a figure of the cost; None where a run lacks it."""
    values = []
    for run in entry.runs:
        value: Any = run.cost
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, (int, float)):
            return None
        values.append(value)
    return sum(values) / len(values)


def _baseline(entries: Sequence[Entry]) -> float | None:
    """Return the gradient passes of the baseline; of its cheapest entry where it has several."""
    passes = [_mean_cost(e, "gradient_passes") for e in entries if e.strategy == BASELINE]
    return min((p for p in passes if p), default=None)
