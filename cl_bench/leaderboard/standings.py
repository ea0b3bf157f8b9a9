"""Who stands where: every figure computed anew from the entries' matrices, ranks by confidence.

A rank is a range: all places that the shown differences (`comparison.compare`, paired by seed)
leave an entry. Entries that nothing tells apart share places, and so tie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cl_bench.leaderboard.entries import Entry, SeedRun, checksum, entry_bytes, labels
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
class Standings:
    """A board's figures, in full precision."""

    rows: Rows
    """A row for each entry, best rank first and unranked ones last."""
    pairs: list[Comparison]
    """Each pair of ranked entries."""


def standings(entries: Sequence[Entry]) -> Standings:
    """Return the figures and ranks of a board's entries.

    An entry's places are from 1 + the number of entries shown to be better to the number of ranked
    entries less those shown to be worse. An entry of fewer than `statistics.MIN_SEEDS` seeds has
    none and takes no part in the correction for the number of pairs.
    """
    from cl_bench.metrics.comparison import compare, summarise
    from cl_bench.metrics.statistics import A_HIGHER, B_HIGHER, MIN_SEEDS

    frame = _frame(entries)
    ranked = {entry.group_id for entry in entries if len(entry.runs) >= MIN_SEEDS}
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
        first, last = 1 + better[entry.group_id], len(ranked) - worse[entry.group_id]
        is_ranked = entry.group_id in ranked
        row: dict[str, Any] = {
            "rank": first if is_ranked else None,
            "rank_last": last if is_ranked else None,
            "tied": is_ranked and last > first,
            "label": label[entry.group_id],
            "strategy": entry.strategy,
            "changed": dict(entry.changed),
            "seeds": len(entry.runs),
        }
        for metric in FIGURES:
            found = summaries[metric][entry.group_id]
            row[metric] = found["mean"]
            row |= {f"{metric}_{side}": found[side] for side in ("low", "high", "median")}
        row |= _costs(entry, baseline)
        row |= {
            "budget": entry.budget.model_dump() if entry.budget else None,
            "group_id": entry.group_id,
            "file": f"entries/{entry.file_name}",
            "sha256": checksum(entry_bytes(entry)),
        }
        rows.append(row)
    rows.sort(key=_place)
    return Standings(rows, pairs)


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    places = row["rank"], row["rank_last"]
    return row["rank"] is None, places, -row[FIGURES[0]], row["group_id"]


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
    """Return the metrics of a run that a board shows, computed from its matrix."""
    matrix = run.matrix
    unknown = np.full(len(matrix), np.nan)
    evaluations = Evaluations(matrix, run.initial, np.full_like(matrix, np.nan), unknown, unknown)
    return {name: METRICS[name].function(evaluations) for name in FIGURES}


def _costs(entry: Entry, baseline: float | None) -> dict[str, Any]:
    passes = _mean_cost(entry, "gradient_passes")
    return {
        "bytes_kept": _mean_cost(entry, "bytes_kept"),
        "gradient_passes": passes,
        "gradient_passes_of_naive": passes / baseline if passes and baseline else None,
        "train_seconds": _mean_cost(entry, "seconds", "train"),
        "consolidate_seconds": _mean_cost(entry, "seconds", "consolidate"),
    }


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
