"""Small real trainings for tests: a few hundred MNIST images, the default network, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cl_bench import benchmarks
from cl_bench.config import BenchmarkConfig, RunConfig
from cl_bench.conformance.quick import SHORT
from cl_bench.engine import train_stack
from cl_bench.engine.networks import MLP
from cl_bench.engine.stack import assemble, step
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Streams, TaskData
from cl_bench.engine.threads import threads as torch_threads
from cl_bench.planning import finding
from cl_bench.results.record import RunRecord
from tests.support import make_config


def config(strategy: str = "naive", seed: int = 0, **changes: Any) -> RunConfig:
    """Return a small resolved run; `settings` are the strategy's, the rest are sections."""
    known = finding.load(strategy).Settings
    short = {k: v for k, v in SHORT.items() if k in known.model_fields}
    settings = known(**{**short, **changes.pop("settings", {})}).model_dump()
    wanted = {
        "name": "permuted-mnist",
        "tasks": 2,
        "train_samples": 1000,
        "test_samples": 300,
        **changes.pop("benchmark", {}),
    }
    resolved = benchmarks.get(BenchmarkConfig(**wanted), download=False).config
    return make_config(
        strategy, seed, settings=settings, benchmark=resolved.model_dump(), **changes
    )


def train(configs: Sequence[RunConfig], threads: int = 1, **given: Any) -> list[RunRecord]:
    """Train a stack on the CPU, in a process that lets torch use so many threads.

    `given` are further arguments of `train_stack`.
    """
    with torch_threads(threads):
        try:
            kind = finding.load(configs[0].strategy.name)
            return train_stack(configs, kind, device="cpu", **given)
        finally:
            assert torch.get_num_threads() == threads, "the engine gives the threads back"


def stack(strategy: str, hidden: Sequence[int] = (8,), **settings: Any) -> tuple[Any, Streams]:
    """Return a strategy on a stack of two runs, and their streams, to be stepped by hand."""
    small = {"network": {"hidden": (30,)}, "benchmark": {"tasks": 3, "train_samples": 640}}
    runs = [config(strategy, seed, settings=settings, **small) for seed in (0, 1)]
    benchmark = benchmarks.get(runs[0].benchmark, download=False)
    network = MLP(784, hidden, benchmark.n_outputs)
    made = assemble(runs, finding.load(strategy), benchmark=benchmark, network=network)
    return made.strategy, made.streams


def run_task(strategy: Strategy, streams: Streams, index: int, steps: int = 6) -> None:
    """Train a strategy on a task as the engine does."""
    task, learner = TaskData(streams, index), strategy.learner
    learner.task, learner.step_number = index, 0
    strategy.begin_task(task)
    for batch in task.minibatches(32, steps):
        step(strategy, batch)
    extra = getattr(strategy, "exploration_steps", 0)
    for number, batch in enumerate(task.minibatches(32, extra, "exploration"), start=1):
        step(strategy, batch)
        strategy.visit(number)
    strategy.end_task(task)
