"""The record of one run: everything needed to plot it, rank it, check it and repeat it.

The engine fills it, the store writes and reads it, and everything downstream (metrics,
W&B, comparison, report, leaderboard) sees nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from cl_bench import metrics
from cl_bench.config import SCHEMA_VERSION, RunConfig
from cl_bench.results.provenance import Provenance

TABLES: dict[str, dict[str, str]] = {
    "accuracy": {
        "after_task": "int64",
        "task": "int64",
        "accuracy": "float64",
        "accuracy_agnostic": "float64",
        "loss": "float64",
        "samples": "int64",
    },
    "curve": {
        "training_task": "int64",
        "step": "int64",
        "samples_seen": "int64",
        "task": "int64",
        "accuracy": "float64",
        "loss": "float64",
    },
    "predictions": {
        "after_task": "int64",
        "task": "int64",
        "label": "int64",
        "predicted": "int64",
        "count": "int64",
    },
    "landscape": {
        "after_task": "int64",
        "task": "int64",
        "loss": "float64",
        "sharpness": "float64",
        "trace": "float64",
        "flatness": "float64",
        "flatness_sharpest": "float64",
        "variance": "float64",
        "distance": "float64",
        "quadratic": "float64",
    },
}
"""The tables of a record: columns, in order, and their types."""


class Cost(TypedDict, total=False):
    """What a run cost."""

    seconds: dict[str, float]
    """By phase (data, train, consolidate, evaluate, landscape): the stack's, a share a run."""
    samples_seen: int
    """Images in the minibatches of training."""
    gradient_passes: float
    """Minibatches whose gradient was taken."""
    bytes_kept: int
    """By the strategy, from one task to the next."""
    network_bytes: int
    stack_size: int
    """Runs that were trained together."""
    landscape_bytes: int
    """What is held of past tasks to measure the loss around them, where that was asked for."""


@dataclass
class RunRecord:
    """One finished run.

    Accuracies are fractions in [0, 1]; losses are mean cross-entropies in nats; tasks count from 0.
    """

    config: RunConfig
    stream_id: str
    """Hash of the task stream that was trained on (`Benchmark.stream_id`)."""
    tasks: list[dict[str, Any]]
    """One description a task (`Benchmark.describe`)."""
    data: dict[str, Any]
    """Dataset name, checksum and source."""
    accuracy: pd.DataFrame
    """Long form of the accuracy matrix, columns `TABLES["accuracy"]`: a row for each (after_task,
    task) that was evaluated. after_task = -1 is the untrained network (all tasks are evaluated
    there); after task t, tasks 0 … t+1 are (t+1, where it exists, for forward transfer).
    `accuracy` follows the scenario (task-incremental: only the task's own outputs compete);
    `accuracy_agnostic` lets all outputs of the tasks seen so far compete. `samples` is the number
    of test images."""
    curve: pd.DataFrame
    """Evaluations during training, columns `TABLES["curve"]`: `step` counts minibatches within the
    task, `samples_seen` counts training images since the run's start. May be empty."""
    predictions: pd.DataFrame
    """Confusion counts after the last task, columns `TABLES["predictions"]` (network outputs)."""
    weights: dict[str, np.ndarray]
    """The final weights, by parameter name."""
    weights_sha256: str
    """Hash of the final weights' bytes: equal hashes are runs identical to the bit."""
    cost: Cost
    provenance: Provenance = field(default_factory=Provenance)
    landscape: pd.DataFrame | None = None
    """The training loss around each past task's minimum, columns `TABLES["landscape"]`; None where
    `evaluation.landscape` asks for nothing. Of task j, L_j is the mean cross-entropy, in nats, of
    some of its training images, and w_j the weights at its end. Row (j, j) is about w_j: `loss`
    L_j(w_j); `sharpness`, the largest eigenvalue of its Hessian H_j; `trace` of H_j, an estimate;
    `flatness`, the geometric mean of F along the leading directions in which the weights
    fluctuated during the task's last steps; `flatness_sharpest`, F along the sharpest direction;
    `variance`, the weights' over these steps, summed over all weights. Row (i, j) with i > j is
    about w_i: `loss` L_j(w_i); `distance` |w_i - w_j|; `quadratic`, half of (w_i - w_j)^T H_j
    (w_i - w_j). What a row is not about is NaN."""
    schema_version: int = SCHEMA_VERSION

    @property
    def diverged(self) -> bool:
        """Return whether a loss on a learnt task, or a final weight, is not finite.

        What such a run answers is no result: its metrics are NaN, and nothing ranks it.
        """
        if metrics.diverged(self.accuracy, self.curve):
            return True
        return not all(np.isfinite(value).all() for value in self.weights.values())
