"""Configurations of stored runs side by side: the mean of each, and how any two differ.

Rows are plain values, None for what is not defined, so that they can be written as JSON as they
are; what is computed of them is in `statistics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from cl_bench.metrics.definitions import lookup
from cl_bench.metrics.statistics import (
    Difference,
    Share,
    mean_interval,
    pairwise,
    verdict,
    winner,
)
from cl_bench.plain import plain

if TYPE_CHECKING:
    import pandas as pd


class Summary(TypedDict):
    """A metric of one configuration: its mean over the seeds with the BCa interval."""

    protocol_id: str
    benchmark: str
    scenario: str
    group_id: str
    strategy: str
    label: str
    metric: str
    seeds: int
    """How many have the metric."""
    mean: float | None
    low: float | None
    high: float | None
    median: float | None
    deviation: float | None
    minimum: float | None
    maximum: float | None


class Comparison(TypedDict):
    """Two configurations of one protocol, paired by seed; a difference is A less B."""

    protocol_id: str
    benchmark: str
    scenario: str
    metric: str
    a: str
    """The label of A."""
    b: str
    a_group_id: str
    b_group_id: str
    seeds: int
    """Those that both have, on the same task stream."""
    difference: float | None
    """The mean; `low` and `high` are its BCa interval."""
    low: float | None
    high: float | None
    student_low: float | None
    """Student's interval of the mean."""
    student_high: float | None
    median: float | None
    deviation: float | None
    """Of the paired differences."""
    improvement: float | None
    """The share of seeds at which A does better, given the metric's direction."""
    improvement_low: float | None
    improvement_high: float | None
    p: float | None
    """`statistics.Difference.p`."""
    p_holm: float | None
    """Corrected over all pairs of the protocol."""
    p_sign_flip: float | None
    verdict: str
    better: str | None
    """The label of the one that a verdict favours."""


def summarise(runs: pd.DataFrame, metric: str) -> list[Summary]:
    """Return a row for each configuration: the mean over its seeds, with its interval.

    Args:
        runs: `cl_bench.load(…, "metrics")`, or rows of it. Runs without the figure (NaN) are
            left out; `seeds` says how many were left.
        metric: a metric's name; a UserError where it is unknown.

    Returns:
        Plain values, None for what is not defined; the protocols sorted by benchmark, each
        one's best configuration first.
    """
    name = lookup(metric).name
    rows = [_summary(group, name) for _, group in _configurations(runs)]
    sign = -1.0 if lookup(metric).higher_is_better else 1.0

    def rank(row: Summary) -> tuple[Any, ...]:
        mean = row["mean"]
        place = 0.0 if mean is None else sign * mean
        return row["benchmark"], row["protocol_id"], mean is None, place, row["label"]

    return sorted(rows, key=rank)


def _summary(group: pd.DataFrame, metric: str) -> Summary:
    first, values = group.iloc[0], group[metric].dropna().to_numpy(dtype=float)
    interval = mean_interval(values)
    return Summary(
        protocol_id=str(first["protocol_id"]),
        benchmark=str(first["benchmark"]),
        scenario=str(first["scenario"]),
        group_id=str(first["group_id"]),
        strategy=str(first["strategy"]),
        label=str(first["label"]),
        metric=metric,
        seeds=interval.count,
        mean=plain(interval.mean),
        low=plain(interval.low),
        high=plain(interval.high),
        median=plain(np.median(values) if len(values) else np.nan),
        deviation=plain(values.std(ddof=1) if len(values) > 1 else np.nan),
        minimum=plain(values.min() if len(values) else np.nan),
        maximum=plain(values.max() if len(values) else np.nan),
    )


def compare(runs: pd.DataFrame, metric: str) -> list[Comparison]:
    """Return a row for each pair of configurations of one protocol, paired by seed.

    Only runs on the same task stream are paired. Arguments and order as in `summarise`.
    """
    ranked = summarise(runs, metric)
    groups = {
        key: group.dropna(subset=[metric]).set_index(["seed", "stream_id"])[metric]
        for key, group in _configurations(runs)
    }
    rows: list[Comparison] = []
    for protocol_id in dict.fromkeys(row["protocol_id"] for row in ranked):
        members = [row for row in ranked if row["protocol_id"] == protocol_id]
        samples = [groups[protocol_id, row["group_id"]] for row in members]
        rows += [
            _comparison(members[i], members[j], difference, p_holm)
            for i, j, difference, p_holm in pairwise(samples)
        ]
    return rows


def _comparison(a: Summary, b: Summary, difference: Difference, p_holm: float) -> Comparison:
    interval, above = difference.interval, difference.above
    higher_is_better = lookup(a["metric"]).higher_is_better
    if not higher_is_better:
        above = Share(1 - above.share, 1 - above.high, 1 - above.low)
    shown = verdict(interval, p_holm)
    return Comparison(
        protocol_id=a["protocol_id"],
        benchmark=a["benchmark"],
        scenario=a["scenario"],
        metric=a["metric"],
        a=a["label"],
        b=b["label"],
        a_group_id=a["group_id"],
        b_group_id=b["group_id"],
        seeds=interval.count,
        difference=plain(interval.mean),
        low=plain(interval.low),
        high=plain(interval.high),
        student_low=plain(difference.student.low),
        student_high=plain(difference.student.high),
        median=plain(difference.median),
        deviation=plain(difference.deviation),
        improvement=plain(above.share),
        improvement_low=plain(above.low),
        improvement_high=plain(above.high),
        p=plain(difference.p),
        p_holm=plain(p_holm),
        p_sign_flip=plain(difference.p_sign_flip),
        verdict=shown,
        better=winner(shown, a["label"], b["label"], higher_is_better=higher_is_better),
    )


def _configurations(runs: pd.DataFrame) -> Any:
    """Return ((protocol_id, group_id), its runs) for each configuration, each run once."""
    return runs.drop_duplicates("run_id").groupby(["protocol_id", "group_id"], sort=True)
