"""A factory of valid run records for tests that need records but no training.

`make_record()` alone is a plausible three-task EWC run; its arguments replace any part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cl_bench.config import (
    BenchmarkConfig,
    EvaluationConfig,
    NetworkConfig,
    Number,
    OptimizerConfig,
    RunConfig,
    Scenario,
    StrategyConfig,
    TrainingConfig,
)
from cl_bench.results.record import TABLES, RunRecord
from cl_bench.seeding import numpy_generator

SAMPLES = 1000
OUTPUTS = 10


def make_config(
    strategy: str = "ewc",
    seed: int = 0,
    tasks: int = 3,
    *,
    settings: Mapping[str, Number] | None = None,
    code: str | None = None,
    init_seed: int | None = None,
    **sections: Any,
) -> RunConfig:
    """Return a resolved config; `sections` (benchmark, training, …) replace single keys of it."""
    benchmark = {"name": "permuted-mnist", "tasks": tasks, "scenario": Scenario.DOMAIN}
    return RunConfig(
        benchmark=BenchmarkConfig(**{**benchmark, **sections.pop("benchmark", {})}),
        network=NetworkConfig(**sections.pop("network", {})),
        optimizer=OptimizerConfig(**sections.pop("optimizer", {})),
        training=TrainingConfig(**sections.pop("training", {})),
        evaluation=EvaluationConfig(**sections.pop("evaluation", {})),
        strategy=StrategyConfig(name=strategy, settings=dict(settings or {}), code=code),
        seed=seed,
        init_seed=init_seed,
        **sections,  # what is left is refused by RunConfig
    )


def make_record(
    strategy: str = "ewc",
    seed: int = 0,
    matrix: Sequence[Sequence[float]] | np.ndarray | None = None,
    *,
    initial: Sequence[float] | None = None,
    agnostic: Sequence[Sequence[float]] | np.ndarray | None = None,
    curve: Sequence[tuple[int, int, int, float]] | None = None,
    settings: Mapping[str, Number] | None = None,
    code: str | None = None,
    **config: Any,
) -> RunRecord:
    """Return a valid record with these accuracies.

    Args:
        strategy: the strategy's name.
        seed: the run's seed; it also varies the default matrix and the weights.
        matrix: accuracy on task j after task i, `[T, T]`; rows may be cut after the diagonal
            (or after the next task), and NaN is "not evaluated".
        initial: accuracy of the untrained network, `[T]`; 1/10 everywhere by default.
        agnostic: the same as `matrix`, all outputs competing; equal to `matrix` by default.
        curve: rows (training_task, step, task, accuracy); by default two evaluations a task.
        settings: the strategy's settings.
        code: hash of a strategy's own source.
        **config: changes to the sections of the config: `benchmark={"scenario": "class"}`.
    """
    if matrix is None:
        matrix = _plausible_matrix(strategy, seed)
    tasks = len(matrix)
    first = [1 / OUTPUTS] * tasks if initial is None else list(initial)
    shown = matrix if agnostic is None else agnostic
    run = make_config(strategy, seed, tasks, settings=settings, code=code, **config)
    rng = numpy_generator("test record", run.run_id)
    weights = {
        "layers.0.weight": rng.normal(size=(4, 3)).astype(np.float32),
        "layers.0.bias": np.zeros(4, dtype=np.float32),
    }
    stream = hashlib.sha256(f"{run.protocol_id} {seed}".encode()).hexdigest()
    return RunRecord(
        config=run,
        stream_id=stream,
        tasks=[{"task": task, "classes": list(range(OUTPUTS))} for task in range(tasks)],
        data={"name": "mnist", "sha256": "0" * 64, "source": "test"},
        accuracy=_accuracy_frame(matrix, shown, first),
        curve=_curve_frame(_default_curve(matrix) if curve is None else curve),
        predictions=_prediction_frame(tasks),
        weights=weights,
        weights_sha256=hashlib.sha256(b"".join(w.tobytes() for w in weights.values())).hexdigest(),
        cost={
            "seconds": {"train": 1.5, "consolidate": 0.25, "evaluate": 0.5},
            "samples_seen": 60_000 * tasks,
            "gradient_passes": 60_000 * tasks,
            "bytes_kept": 716_080,
            "network_bytes": 358_040,
            "stack_size": 5,
        },
        provenance={"git": None, "device": "cpu", "threads": 1, "packages": {"torch": "2.14.1"}},
    )


def landscape_frame(tasks: int, seed: int = 0) -> pd.DataFrame:
    """Return a loss landscape's table of so many tasks: plain numbers, NaN where it has none."""
    rng = numpy_generator("test landscape", seed)
    pairs = [(after, task) for after in range(tasks) for task in range(after + 1)]
    columns = list(TABLES["landscape"])
    frame = pd.DataFrame(rng.uniform(0.1, 1, size=(len(pairs), 8)), columns=columns[2:])
    frame.insert(0, "after_task", [after for after, _ in pairs])
    frame.insert(1, "task", [task for _, task in pairs])
    own = frame["after_task"] == frame["task"]
    frame.loc[own, columns[-2:]] = np.nan
    frame.loc[~own, columns[3:-2]] = np.nan
    return frame


def _plausible_matrix(strategy: str, seed: int) -> list[list[float]]:
    noise = numpy_generator("test matrix", strategy, seed).integers(-20, 20, size=(3, 3)) / 1000
    rows = [[0.95, 0.12], [0.93, 0.94, 0.11], [0.90, 0.92, 0.93]]
    return [[float(v + noise[i, j]) for j, v in enumerate(row)] for i, row in enumerate(rows)]


def _accuracy_frame(
    matrix: Sequence[Sequence[float]] | np.ndarray,
    agnostic: Sequence[Sequence[float]] | np.ndarray,
    initial: Sequence[float],
) -> pd.DataFrame:
    rows = [
        (-1, task, value, value, float(np.log(OUTPUTS)), SAMPLES)
        for task, value in enumerate(initial)
    ]
    for after, (aware, free) in enumerate(zip(matrix, agnostic, strict=True)):
        for task, (value, other) in enumerate(zip(aware, free, strict=True)):
            if not np.isnan(value):
                rows.append((after, task, float(value), float(other), 1.0 - value, SAMPLES))
    return pd.DataFrame(rows, columns=list(TABLES["accuracy"]))


def _default_curve(
    matrix: Sequence[Sequence[float]] | np.ndarray,
) -> list[tuple[int, int, int, float]]:
    return [
        (training, step, task, float(matrix[training][task]) - dip)
        for training in range(len(matrix))
        for step, dip in ((1, 0.05), (10, 0.0))
        for task in range(training + 1)
    ]


def _curve_frame(rows: Sequence[tuple[int, int, int, float]]) -> pd.DataFrame:
    full = [
        (training, step, training * 60_000 + step * 64, task, value, 1.0 - value)
        for training, step, task, value in rows
    ]
    frame = pd.DataFrame(full, columns=list(TABLES["curve"]))
    return frame.astype(TABLES["curve"])


def _prediction_frame(tasks: int) -> pd.DataFrame:
    rows = [
        (tasks - 1, task, label, label, SAMPLES // OUTPUTS)
        for task in range(tasks)
        for label in range(OUTPUTS)
    ]
    return pd.DataFrame(rows, columns=list(TABLES["predictions"]))
