"""A factory of run records for tests that need records but no training: the engine's own recorder
makes them, from accuracies that a test names.

`make_record()` alone is a plausible three-task EWC run; its arguments replace any part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cl_bench import benchmarks
from cl_bench.benchmarks import registry
from cl_bench.benchmarks.image_tasks import ImageTasks
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
from cl_bench.data import own
from cl_bench.engine.architectures import build_network
from cl_bench.engine.evaluation import Evaluation
from cl_bench.engine.recording import Recorder
from cl_bench.planning import bringing
from cl_bench.results.provenance import Provenance
from cl_bench.results.record import TABLES, Cost, RunRecord
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
    shown = matrix if agnostic is None else agnostic
    run = make_config(strategy, seed, tasks, settings=settings, code=code, **config)
    benchmark = _benchmark(run.benchmark.name, tasks, run.benchmark.scenario)
    recorder = Recorder([run], benchmark)
    for task, value in enumerate([1 / OUTPUTS] * tasks if initial is None else initial):
        recorder.after_task(-1, task, _evaluation(value, value, float(np.log(OUTPUTS))))
    for after, (aware, free) in enumerate(zip(matrix, shown, strict=True)):
        confusion = torch.eye(OUTPUTS, dtype=torch.int64)[None] * (SAMPLES // OUTPUTS)
        for task, (value, other) in enumerate(zip(aware, free, strict=True)):
            if not np.isnan(value):
                seen = confusion if after == tasks - 1 else None
                recorder.after_task(after, task, _evaluation(value, other, 1 - value, seen))
    for training, step, task, value in _default_curve(matrix) if curve is None else curve:
        passed = training * 60_000 + step * 64
        recorder.during_task(training, step, passed, task, _evaluation(value, value, 1 - value))
    network = build_network(run.network, benchmark.input_shape, OUTPUTS)
    rng = numpy_generator("test record", run.run_id)
    theta = torch.from_numpy(rng.normal(size=network.size).astype(np.float32))
    cost: Cost = {
        "seconds": {"train": 1.5, "consolidate": 0.25, "evaluate": 0.5},
        "samples_seen": 60_000 * tasks,
        "gradient_passes": 60_000 * tasks,
        "bytes_kept": 2 * theta.nbytes,
        "stack_size": 5,
    }
    where: Provenance = {
        "git": None,
        "device": "cpu",
        "threads": 1,
        "packages": {"torch": "2.14.1"},
    }
    return recorder.record(0, network, theta, cost, where)


@cache
def _benchmark(name: str, tasks: int, scenario: Scenario | None) -> ImageTasks:
    """Return the benchmark of a name: its images are the 5,000 that are always there.

    The data are called as they are where all are found, for what tells the two apart.
    """
    families = ("permuted", "rotated", "split", "two-task")
    family = next((each for each in families if name.startswith(f"{each}-")), families[0])
    wanted = BenchmarkConfig(name=f"{family}-mnist-5k", tasks=tasks, scenario=scenario)
    found = benchmarks.get(wanted, download=False)
    assert isinstance(found, ImageTasks)
    data = name.removeprefix(f"{family}-") if name.startswith(family) else "mnist"
    return type(found)(found.config, replace(found.dataset, name=data))


def _evaluation(
    accuracy: float, agnostic: float, loss: float, confusion: torch.Tensor | None = None
) -> Evaluation:
    """Return what the engine finds on one task of a stack of one run."""
    values = torch.tensor([[accuracy], [agnostic], [loss]], dtype=torch.float64)
    return Evaluation(values[0], values[1], values[2], [SAMPLES], confusion)


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


def _default_curve(
    matrix: Sequence[Sequence[float]] | np.ndarray,
) -> list[tuple[int, int, int, float]]:
    return [
        (training, step, task, float(matrix[training][task]) - dip)
        for training in range(len(matrix))
        for step, dip in ((1, 0.05), (10, 0.0))
        for task in range(training + 1)
    ]


def forget_what_was_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test begin without benchmarks and datasets from outside, and leave none behind."""
    monkeypatch.setattr(registry, "_added", {})
    monkeypatch.setattr(registry, "_code", {})
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    monkeypatch.setattr(own, "_added", {})
    monkeypatch.setattr(bringing, "_brought", {})
