"""The metrics: a table of pure functions of a run's evaluations, each with its definition.

Notation: a[i, j] is the accuracy on task j after task i was trained, tasks count from 0 to T-1.
A figure that a run cannot have (forgetting of a single task) is NaN, never an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cl_bench.errors import unknown
from cl_bench.metrics.evaluations import Array, Evaluations


@dataclass(frozen=True)
class Metric:
    """A named figure of a run."""

    name: str
    title: str
    unit: str
    higher_is_better: bool
    definition: str
    source: str
    function: Callable[[Evaluations], float]
    needs: Literal["matrix", "curve", "reference"]
    """`matrix`: the evaluations after each task; `curve`: those during training, too;
    `reference`: a joint run of the same protocol and seed, too."""


def average_accuracy(run: Evaluations) -> float:
    """Return the mean over all tasks of the accuracy after the last task."""
    return float(run.matrix[-1].mean())


def average_accuracy_agnostic(run: Evaluations) -> float:
    """Return `average_accuracy` with all outputs of the tasks seen so far competing."""
    return float(run.agnostic[-1].mean())


def average_incremental_accuracy(run: Evaluations) -> float:
    """Return the mean over t of the mean accuracy on tasks 0 … t after task t."""
    return float(np.mean([run.matrix[t, : t + 1].mean() for t in range(run.tasks)]))


def forgetting_by_task(run: Evaluations) -> Array:
    """Return `[T-1]`: best accuracy on task j after any of tasks j … T-2, less the final one.

    As Chaudhry's code has it. What was reached on a task that was not yet learnt is no knowledge
    that could be forgotten. Negative where the last task improved on all before.
    """
    learnt = np.where(np.tri(run.tasks, dtype=bool), run.matrix, np.nan)[:-1, :-1]
    return np.fmax.reduce(learnt, axis=0, initial=np.nan) - run.matrix[-1, :-1]


def forgetting(run: Evaluations) -> float:
    """Return the mean of `forgetting_by_task`; NaN for a single task."""
    return _mean(forgetting_by_task(run))


def backward_transfer(run: Evaluations) -> float:
    """Return the mean over tasks before the last of a[T-1, j] - a[j, j]; NaN for a single task."""
    return _mean((run.matrix[-1] - np.diag(run.matrix))[:-1])


def forward_transfer(run: Evaluations) -> float:
    """Return the mean over j > 0 of a[j-1, j] less the untrained accuracy; NaN for one task."""
    return _mean(np.diag(run.matrix, k=1) - run.initial[1:])


def learning_accuracy(run: Evaluations) -> float:
    """Return the mean accuracy on each task right after it was trained."""
    return float(np.diag(run.matrix).mean())


def intransigence_by_task(run: Evaluations) -> Array:
    """Return `[T]`: Chaudhry's I_k, what joint training reaches on task k less what was reached."""
    return run.reference - np.diag(run.matrix)


def intransigence(run: Evaluations) -> float:
    """Return the mean of `intransigence_by_task`; NaN without a joint run as the reference."""
    return _mean(intransigence_by_task(run))


def minimum_by_task(run: Evaluations) -> Array:
    """Return `[T-1]`: each task's lowest accuracy at any evaluation after its own training.

    Counts the evaluations during training and those after each later task; NaN for a task that
    was never evaluated during training, since the ends of tasks miss the gap.
    """
    ends = np.where(np.tri(run.tasks, k=-1, dtype=bool), run.matrix, np.nan)
    return np.where(
        np.isnan(run.curve_minimum),
        np.nan,
        np.fmin(np.fmin.reduce(ends, axis=0), run.curve_minimum),
    )[:-1]


def min_acc(run: Evaluations) -> float:
    """Return the mean of `minimum_by_task`; NaN for a single task or without a curve."""
    return _mean(minimum_by_task(run))


def wc_acc(run: Evaluations) -> float:
    """Return (1/T) a[T-1, T-1] + (1 - 1/T) min-ACC, a lower bound of what is met in training."""
    last = float(run.matrix[-1, -1])
    return last if run.tasks == 1 else last / run.tasks + (1 - 1 / run.tasks) * min_acc(run)


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


_CHAUDHRY = "Chaudhry et al. 2018, Riemannian Walk, ECCV (arXiv 1801.10112), {}"
_LOPEZ_PAZ = "Lopez-Paz & Ranzato 2017, GEM, NeurIPS (arXiv 1706.08840), eq. {}"
_DE_LANGE = "De Lange et al. 2023, ICLR (arXiv 2205.13452), {}"

NEEDS = {
    "matrix": "the evaluations after each task",
    "curve": "the evaluations during training",
    "reference": "a joint run of the same protocol and seed",
}
"""What a metric is computed from (`Metric.needs`), for people."""

_TABLE = (
    Metric(
        name="average_accuracy",
        title="average accuracy",
        unit="fraction",
        higher_is_better=True,
        definition="mean over all tasks of the accuracy after the last task: mean_j a[T-1, j]",
        source=_LOPEZ_PAZ.format(2),
        function=average_accuracy,
        needs="matrix",
    ),
    Metric(
        name="average_accuracy_agnostic",
        title="average accuracy, task-agnostic",
        unit="fraction",
        higher_is_better=True,
        definition=(
            "average accuracy where the outputs of all tasks seen so far compete, "
            "whatever the scenario"
        ),
        source="Masana et al. 2022, TPAMI (arXiv 2010.15277) (FACIL's TAg accuracy)",
        function=average_accuracy_agnostic,
        needs="matrix",
    ),
    Metric(
        name="average_incremental_accuracy",
        title="average incremental accuracy",
        unit="fraction",
        higher_is_better=True,
        definition="mean over t of the mean accuracy on tasks 0 … t after task t",
        source="Rebuffi et al. 2017, iCaRL, CVPR (arXiv 1611.07725)",
        function=average_incremental_accuracy,
        needs="matrix",
    ),
    Metric(
        name="forgetting",
        title="forgetting",
        unit="fraction",
        higher_is_better=False,
        definition="mean over j < T-1 of max over j <= l < T-1 of a[l, j], less a[T-1, j]",
        source=_CHAUDHRY.format("forgetting measure F"),
        function=forgetting,
        needs="matrix",
    ),
    Metric(
        name="backward_transfer",
        title="backward transfer",
        unit="fraction",
        higher_is_better=True,
        definition="mean over j < T-1 of a[T-1, j] - a[j, j]",
        source=_LOPEZ_PAZ.format(3),
        function=backward_transfer,
        needs="matrix",
    ),
    Metric(
        name="forward_transfer",
        title="forward transfer",
        unit="fraction",
        higher_is_better=True,
        definition="mean over j > 0 of a[j-1, j], less the untrained network's accuracy on j",
        source=_LOPEZ_PAZ.format(4),
        function=forward_transfer,
        needs="matrix",
    ),
    Metric(
        name="learning_accuracy",
        title="learning accuracy",
        unit="fraction",
        higher_is_better=True,
        definition="mean over all tasks of the accuracy right after the task was trained: a[j, j]",
        source="Riemer et al. 2019, MER, ICLR (arXiv 1810.11910)",
        function=learning_accuracy,
        needs="matrix",
    ),
    Metric(
        name="intransigence",
        title="intransigence",
        unit="fraction",
        higher_is_better=False,
        definition=(
            "mean over all tasks k of I_k, the accuracy on k of joint training on tasks 0 … k "
            "less a[k, k]; needs the joint run of the same protocol and seed"
        ),
        source=_CHAUDHRY.format("intransigence I_k by task; the mean is ours"),
        function=intransigence,
        needs="reference",
    ),
    Metric(
        name="min_acc",
        title="min-ACC",
        unit="fraction",
        higher_is_better=True,
        definition=(
            "mean over j < T-1 of the lowest accuracy on j at any evaluation after its own training"
        ),
        source=_DE_LANGE.format("min-ACC"),
        function=min_acc,
        needs="curve",
    ),
    Metric(
        name="wc_acc",
        title="WC-ACC",
        unit="fraction",
        higher_is_better=True,
        definition="worst-case accuracy: (1/T) a[T-1, T-1] + (1 - 1/T) min-ACC",
        source=_DE_LANGE.format("WC-ACC"),
        function=wc_acc,
        needs="curve",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _TABLE}
"""Every metric by name, in the order they are shown."""


def names() -> list[str]:
    """Return the names of all metrics, in the order they are shown."""
    return list(METRICS)


def lookup(name: str) -> Metric:
    """Return the metric of this name; a UserError with the nearest names where there is none."""
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]


def figures(run: Evaluations) -> dict[str, float]:
    """Return every metric of a run's evaluations by name; all NaN where the run diverged."""
    if run.diverged:
        return dict.fromkeys(METRICS, float("nan"))
    return {metric.name: metric.function(run) for metric in _TABLE}
