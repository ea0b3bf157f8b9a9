"""The evaluations of one run as arrays: the form that every metric is a function of.

A run's long tables become the accuracy matrix (row: after which task, column: which task),
the untrained accuracies, and each task's lowest accuracy while later tasks were trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

REFERENCE_STRATEGY = "joint"
"""The strategy whose runs are the reference that intransigence is measured against."""


@dataclass(frozen=True)
class Evaluations:
    """All accuracies of one run, as fractions; NaN is "not evaluated"."""

    matrix: Array
    """`[T, T]`: accuracy on task j after task i was trained."""
    initial: Array
    """`[T]`: accuracy of the untrained network on each task."""
    agnostic: Array
    """`[T, T]`: as `matrix`, with all outputs of the tasks seen so far competing."""
    curve_minimum: Array
    """`[T]`: lowest accuracy on each task in evaluations while later tasks were trained."""
    reference: Array
    """`[T]`: accuracy on task k of the joint run right after task k; NaN without a joint run."""
    diverged: bool = False
    """Whether losses or weights left the finite numbers: its accuracies are of a broken network."""

    @property
    def tasks(self) -> int:
        """Return T, the number of tasks."""
        return len(self.matrix)


def matrix(accuracy: pd.DataFrame) -> tuple[Array, Array]:
    """Return the accuracy matrix `[T, T]` and the untrained accuracies `[T]`.

    Args:
        accuracy: a run's accuracy table (columns after_task, task, accuracy).

    Returns:
        `a[i, j]`, accuracy on task j after task i, and the accuracies before any training; NaN
        where nothing was evaluated.
    """
    return _square(accuracy, "accuracy")


def diverged(accuracy: pd.DataFrame, curve: pd.DataFrame) -> bool:
    """Return whether a run diverged, as its losses have it: one on a learnt task is not finite.

    The loss on a task still to come may well be infinite: its outputs need not compete yet.

    Args:
        accuracy: the run's accuracy table (columns after_task, task, loss).
        curve: the evaluations during training (columns training_task, task, loss); may be empty.
    """
    for table, during in ((accuracy, "after_task"), (curve, "training_task")):
        learnt = (table["task"] <= table[during]).to_numpy()
        if not np.isfinite(table["loss"].to_numpy(dtype=float)[learnt]).all():
            return True
    return False


def evaluations(
    accuracy: pd.DataFrame,
    curve: pd.DataFrame | None = None,
    reference: Array | None = None,
    *,
    diverged: bool = False,
) -> Evaluations:
    """Return a run's evaluations as arrays.

    Args:
        accuracy: the run's accuracy table (columns after_task, task, accuracy,
            accuracy_agnostic).
        curve: the evaluations during training (columns training_task, task, accuracy); may be
            empty or None.
        reference: `[T]`, accuracy on each task of the joint run of the same protocol and seed
            right after that task (the diagonal of its matrix).
        diverged: whether the run is known to have diverged.
    """
    aware, initial = _square(accuracy, "accuracy")
    agnostic, _ = _square(accuracy, "accuracy_agnostic")
    tasks = len(aware)
    minimum = np.full(tasks, np.nan)  # fmin takes the other value where one is NaN
    if curve is not None and len(curve):
        during, task = curve["training_task"].to_numpy(), curve["task"].to_numpy()
        later = during > task
        np.fmin.at(minimum, task[later], curve["accuracy"].to_numpy()[later])
    if reference is None:
        reference = np.full(tasks, np.nan)
    if reference.shape != (tasks,):
        raise ValueError(f"the reference has shape {reference.shape}; the run has {tasks} tasks")
    return Evaluations(aware, initial, agnostic, minimum, reference, diverged)


def _square(accuracy: pd.DataFrame, column: str) -> tuple[Array, Array]:
    after, task = accuracy["after_task"].to_numpy(), accuracy["task"].to_numpy()
    if not len(task):
        raise ValueError("the accuracy table has no rows")
    tasks = int(max(after.max(), task.max())) + 1
    full = np.full((tasks + 1, tasks), np.nan)
    full[after + 1, task] = accuracy[column].to_numpy()  # row 0 is after_task = -1
    return full[1:], full[0]
