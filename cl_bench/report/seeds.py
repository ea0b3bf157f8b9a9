"""Tables of a crossed grid of runs: what the seed of the stream does, and that of the weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from cl_bench.metrics import evaluations, figures, lookup
from cl_bench.metrics.evaluations import Array
from cl_bench.metrics.variance import Effect, decompose
from cl_bench.report.tables import Rows, interval_text
from cl_bench.results.labels import labels
from cl_bench.results.store import StoredRun


class EffectRow(TypedDict):
    """What one source of variance does to a metric of one configuration."""

    strategy: str
    """The configuration's label."""
    metric: str
    effect: str
    """`variance.Effect.name`."""
    streams: int
    inits: int
    mean: float
    """Over all runs."""
    deviation: float
    """The standard deviation that this source alone gives the metric, with its interval."""
    low: float
    high: float
    share: float
    """Its part of the whole variance, with its interval."""
    share_low: float
    share_high: float


def effects(runs: Sequence[StoredRun], metrics: Sequence[str]) -> list[EffectRow]:
    """Return a row for each configuration, metric and source of variance.

    Args:
        runs: of crossed grids, every stream seed with every seed of initial weights; a
            configuration whose grid is not whole, or whose metric is not defined, has no rows.
            A configuration of which a run diverged has none, either.
        metrics: names of metrics.

    Raises:
        UserError: an unknown metric, or a damaged record.
    """
    names = [lookup(metric).name for metric in metrics]
    label = labels(runs)
    grids: dict[str, dict[tuple[int, int], StoredRun]] = defaultdict(dict)
    for run in runs:
        of_seeds = run.config.model_copy(update={"init_seed": None}).group_id
        grids[of_seeds][run.config.seed, run.config.weights_seed] = run
    found: list[EffectRow] = []
    for grid in grids.values():
        streams, inits = (sorted(set(seeds)) for seeds in zip(*grid, strict=True))
        if len(grid) != len(streams) * len(inits):
            continue
        values = {place: _figures(run) for place, run in grid.items()}
        strategy = label[grid[streams[0], inits[0]].config.group_id]
        for name in names:
            table = np.array([[values[stream, init][name] for init in inits] for stream in streams])
            if np.isfinite(table).all():
                found += [_row(strategy, name, table, effect) for effect in decompose(table)]
    return found


def as_text(rows: Sequence[EffectRow]) -> Rows:
    """Return the rows as text that is short enough to read."""
    return [
        {
            "strategy": row["strategy"],
            "metric": row["metric"],
            "effect": row["effect"],
            "standard deviation": interval_text(row["deviation"], row["low"], row["high"]),
            "share of variance": interval_text(
                row["share"], row["share_low"], row["share_high"], digits=2
            ),
        }
        for row in rows
    ]


def _figures(run: StoredRun) -> dict[str, float]:
    return figures(evaluations(run.table("accuracy"), run.table("curve"), diverged=run.diverged))


def _row(strategy: str, metric: str, table: Array, effect: Effect) -> EffectRow:
    return EffectRow(
        strategy=strategy,
        metric=metric,
        effect=effect.name,
        streams=table.shape[0],
        inits=table.shape[1],
        mean=float(table.mean()),
        deviation=effect.deviation,
        low=effect.low,
        high=effect.high,
        share=effect.share,
        share_low=effect.share_low,
        share_high=effect.share_high,
    )
