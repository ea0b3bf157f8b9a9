"""What a tracker is told about a run, computed from its record alone.

`replay(record)` turns the accuracy matrix and the curve into rows of named values in the order
they happened, each with the x axis it is drawn over; it knows no tracker.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cl_bench.metrics import METRICS, Evaluations, evaluations
from cl_bench.plain import flatten
from cl_bench.results.figures import compute

if TYPE_CHECKING:
    from cl_bench.results.record import RunRecord

Row = dict[str, float | int]

TASKS_SEEN = "tasks_seen"
"""X axis of the accuracy matrix: number of tasks trained so far, from 1."""
SAMPLES_SEEN = "samples_seen"
"""X axis of the evaluations during training: training images since the run's start."""

AXES = {
    "accuracy/*": TASKS_SEEN,
    "accuracy_agnostic/*": TASKS_SEEN,
    "average_accuracy": TASKS_SEEN,
    "forgetting": TASKS_SEEN,
    "landscape/*": TASKS_SEEN,
    "curve/*": SAMPLES_SEEN,
}
"""The x axis of every series; a name that ends in /* stands for all that begin so."""

SERIES = ("average_accuracy", "forgetting")
"""Metrics that are also drawn over tasks seen: the metric of the run had it ended there."""

TAG_LENGTH = 64
"""What W&B accepts."""


@dataclass(frozen=True)
class Replay:
    """One run as a tracker shows it."""

    run_id: str
    """The config's content address: sending a run again is sending the same run."""
    name: str
    group: str
    """Shared by the seeds of one configuration."""
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    """Nested: W&B shows it flat (`optimizer.learning_rate`), and it cannot filter by keys that
    hold a period themselves (wandb issue 3087)."""
    summary: dict[str, float | int | str]
    rows: list[Row]
    """In order of time; each holds its x axis, `TASKS_SEEN` or `SAMPLES_SEEN`."""


def replay(record: RunRecord) -> Replay:
    """Return what a tracker is told about this run."""
    config = record.config
    strategy, benchmark = config.strategy.name, config.benchmark
    tags = (benchmark.name, f"{benchmark.scenario}-incremental" if benchmark.scenario else "")
    return Replay(
        run_id=config.run_id,
        name=f"{strategy}-seed{config.seed}",
        group=f"{strategy}-{config.group_id}",
        job_type=strategy,
        tags=tuple(tag[:TAG_LENGTH] for tag in tags if tag),
        config=_config(record),
        summary=_summary(record),
        rows=list(_rows(record)),
    )


def _config(record: RunRecord) -> dict[str, Any]:
    config = record.config
    return {
        **config.model_dump(mode="json"),
        "run_id": config.run_id,
        "group_id": config.group_id,
        "protocol_id": config.protocol_id,
        "stream_id": record.stream_id,
        "schema_version": record.schema_version,
        "data": record.data,
        "provenance": record.provenance,
    }


def _summary(record: RunRecord) -> dict[str, float | int | str]:
    """Return every metric, the final accuracies and the cost; what is NaN is left out."""
    run = evaluations(record.accuracy)
    name = _task_namer(run.tasks)
    values: dict[str, Any] = {
        **compute(record),
        **{f"accuracy/{name(task)}": float(a) for task, a in enumerate(run.matrix[-1])},
        **flatten(record.cost, "cost", "/"),
        "weights_sha256": record.weights_sha256,
        "diverged": record.diverged,
    }
    return {k: value for k, value in values.items() if value is not None and not _is_nan(value)}


def _rows(record: RunRecord) -> Iterator[Row]:
    run = evaluations(record.accuracy, diverged=record.diverged)
    name = _task_namer(run.tasks)
    during = _curve_rows(record, name)
    agnostic = not np.array_equal(run.agnostic, run.matrix, equal_nan=True)
    for after in range(run.tasks):
        yield from during[after]
        row: Row = {TASKS_SEEN: after + 1}
        for task in range(after + 1):
            row[f"accuracy/{name(task)}"] = float(run.matrix[after, task])
            if agnostic:
                row[f"accuracy_agnostic/{name(task)}"] = float(run.agnostic[after, task])
        so_far = _first_tasks(run, after + 1)
        if not run.diverged:
            row |= {metric: METRICS[metric].function(so_far) for metric in SERIES}
        row |= _landscape(record, after, name)
        yield {key: value for key, value in row.items() if not _is_nan(value)}


def _landscape(record: RunRecord, after: int, name: Callable[[int], str]) -> Row:
    """Return what was measured of each past task's loss after a task was trained, if anything."""
    if record.landscape is None:
        return {}
    rows = record.landscape[record.landscape["after_task"] == after].to_dict("records")
    return {
        f"landscape/{quantity}/{name(row['task'])}": value
        for row in rows
        for quantity, value in row.items()
        if quantity not in ("after_task", "task")
    }


def _curve_rows(record: RunRecord, name: Callable[[int], str]) -> dict[int, list[Row]]:
    """Return the rows by the task that was being trained, one row an evaluation."""
    rows: defaultdict[int, list[Row]] = defaultdict(list)
    curve = record.curve
    if not len(curve):
        return rows
    columns = ("training_task", "step", "samples_seen", "task", "accuracy", "loss")
    ordered = curve.sort_values(["training_task", "step", "task"], kind="stable")
    last = None
    for training, step, samples, task, accuracy, loss in zip(
        *(ordered[column].tolist() for column in columns), strict=True
    ):
        if (training, step) != last:
            last = (training, step)
            rows[training].append({SAMPLES_SEEN: samples})
        row = rows[training][-1]
        for key, value in (("", accuracy), ("loss_", loss)):
            if not _is_nan(value):
                row[f"curve/{key}{name(task)}"] = value
    return rows


def _first_tasks(run: Evaluations, tasks: int) -> Evaluations:
    """Return the evaluations of the run had it ended after so many tasks."""
    return Evaluations(
        matrix=run.matrix[:tasks, :tasks],
        initial=run.initial[:tasks],
        agnostic=run.agnostic[:tasks, :tasks],
        curve_minimum=np.full(tasks, np.nan),
        reference=np.full(tasks, np.nan),
    )


def _task_namer(tasks: int) -> Callable[[int], str]:
    """Return the function that names tasks so that they sort (task_00, task_01)."""
    width = max(2, len(str(tasks - 1)))
    return lambda task: f"task_{task:0{width}d}"


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
