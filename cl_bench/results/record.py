"""The record of one run: everything needed to plot it, rank it, check it and repeat it.

The engine fills it, the store writes and reads it, and everything downstream (metrics,
W&B, comparison, report, leaderboard) sees nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cl_bench import metrics
from cl_bench.config import SCHEMA_VERSION, RunConfig

ACCURACY_COLUMNS = ("after_task", "task", "accuracy", "accuracy_agnostic", "loss", "samples")
CURVE_COLUMNS = ("training_task", "step", "samples_seen", "task", "accuracy", "loss")
PREDICTION_COLUMNS = ("after_task", "task", "label", "predicted", "count")
LANDSCAPE_COLUMNS = (
    *("after_task", "task", "loss", "sharpness", "trace", "flatness", "flatness_sharpest"),
    *("variance", "distance", "quadratic"),
)


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
    """Long form of the accuracy matrix, columns `ACCURACY_COLUMNS`: a row for each (after_task,
    task) that was evaluated. after_task = -1 is the untrained network (all tasks are evaluated
    there); after task t, tasks 0 … t+1 are (t+1, where it exists, for forward transfer).
    `accuracy` follows the scenario (task-incremental: only the task's own outputs compete);
    `accuracy_agnostic` lets all outputs of the tasks seen so far compete. `samples` is the number
    of test images."""
    curve: pd.DataFrame
    """Evaluations during training, columns `CURVE_COLUMNS`: `step` counts minibatches within the
    task, `samples_seen` counts training images since the run's start. May be empty."""
    predictions: pd.DataFrame
    """Confusion counts after the last task, columns `PREDICTION_COLUMNS` (network outputs)."""
    weights: dict[str, np.ndarray]
    """The final weights, by parameter name."""
    weights_sha256: str
    """Hash of the final weights' bytes: equal hashes are runs identical to the bit."""
    cost: dict[str, Any]
    """seconds by phase (train, consolidate, evaluate, landscape; shared stack time divided by its
    runs), samples_seen, gradient_passes, bytes_kept by the strategy, network_bytes, stack_size;
    landscape_bytes where that was measured: what is held of past tasks to measure them."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """git commit, whether the tree was clean, packages, device, threads, platform, times."""
    landscape: pd.DataFrame | None = None
    """The training loss around each past task's minimum, columns `LANDSCAPE_COLUMNS`; None where
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
