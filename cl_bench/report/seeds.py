"""Tables of a crossed grid of runs: what the seed of the stream does, and that of the weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from cl_bench.metrics import evaluations, figures, lookup
from cl_bench.metrics.variance import decompose
from cl_bench.report.tables import Rows, interval_text
from cl_bench.results.labels import labels
from cl_bench.results.store import StoredRun


def effects(runs: Sequence[StoredRun], metrics: Sequence[str], *, people: bool = False) -> Rows:
    """Return a row for each configuration, metric and source of variance.

    Args:
        runs: of crossed grids, every stream seed with every seed of initial weights; a
            configuration whose grid is not whole, or whose metric is not defined, has no rows.
            A configuration of which a run diverged has none, either.
        metrics: names of metrics.
        people: give text that is short enough to read.

    Raises:
        UserError: an unknown metric, or a damaged record.
    """
    label = labels(runs)
    grids: dict[str, dict[tuple[int, int], StoredRun]] = defaultdict(dict)
    for run in runs:
        of_seeds = run.config.model_copy(update={"init_seed": None}).group_id
        grids[of_seeds][run.config.seed, run.config.weights_seed] = run
    found: Rows = []
    for grid in grids.values():
        streams, inits = (sorted(set(seeds)) for seeds in zip(*grid, strict=True))
        if len(grid) != len(streams) * len(inits):
            continue
        values = {place: _figures(run) for place, run in grid.items()}
        first = grid[streams[0], inits[0]]
        for metric in metrics:
            name = lookup(metric).name
            table = np.array([[values[stream, init][name] for init in inits] for stream in streams])
            if np.isfinite(table).all():
                which = {"strategy": label[first.config.group_id], "metric": metric}
                found += _rows(which, table, people)
    return found


def _figures(run: StoredRun) -> dict[str, float]:
    return figures(evaluations(run.table("accuracy"), run.table("curve"), diverged=run.diverged))


def _rows(which: dict[str, str], table: np.ndarray, people: bool) -> Rows:
    rows: Rows = []
    for effect in decompose(table):
        row: dict[str, Any] = {**which, "effect": effect.name}
        if people:
            sides = (effect.deviation, effect.low, effect.high)
            row["standard deviation"] = interval_text(*sides)
            shares = (effect.share, effect.share_low, effect.share_high)
            row["share of variance"] = interval_text(*shares, digits=2)
        else:
            row |= {"streams": table.shape[0], "inits": table.shape[1]}
            row["mean"] = float(table.mean())
            row |= {"deviation": effect.deviation, "low": effect.low, "high": effect.high}
            row |= {"share": effect.share}
            row |= {"share_low": effect.share_low, "share_high": effect.share_high}
        rows.append(row)
    return rows
