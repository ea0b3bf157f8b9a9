"""This suite's side of the timings: a stack of runs, brought to its second task and timed there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from cl_bench import benchmarks
from cl_bench.bench.timing import clock
from cl_bench.bench.workload import LEARNING_RATE, TASK, Shape
from cl_bench.benchmarks.base import Benchmark
from cl_bench.config import (
    BenchmarkConfig,
    NetworkConfig,
    OptimizerConfig,
    Protocol,
    RunConfig,
    Scenario,
    TrainingConfig,
)
from cl_bench.engine import train_stack
from cl_bench.engine.evaluation import Evaluator
from cl_bench.engine.stack import assemble
from cl_bench.engine.tasks import Streams, TaskData
from cl_bench.planning import finding
from cl_bench.planning.resolving import runs_of

CPU = torch.device("cpu")
FIRST_TASK_STEPS = 50
"""Steps on the first task before the second is timed; how well it was learnt changes no rate."""
BRIEFLY: dict[str, dict[str, int]] = {"ewc": {"exploration_steps": 0, "fisher_samples": 250}}
"""Settings that shorten the first task's end, which is not timed."""


class OurTasks:
    """The data of a stack, made once and shared by everything that is timed on it.

    Args:
        benchmark: permuted images with two tasks.
        runs: runs of the stack, each with a seed (so a permutation) of its own.
    """

    def __init__(self, benchmark: Benchmark, runs: int) -> None:
        self.benchmark = benchmark
        self.runs = runs
        self.streams = Streams(benchmark, range(runs), CPU)
        self.first = TaskData(self.streams, 0)
        start = clock()
        self.timed = TaskData(self.streams, TASK)
        self.seconds = clock() - start
        """What making the timed task's data took, for all runs: Avalanche permutes as it trains."""


class OurSide:
    """One strategy on a stack, trained on a first task so that its penalty acts on the second."""

    def __init__(self, tasks: OurTasks, strategy: str, shape: Shape) -> None:
        self.tasks = tasks
        self.shape = shape
        benchmark = tasks.benchmark
        configs = _configs(
            benchmark, strategy, shape, tasks.runs, settings=BRIEFLY.get(strategy, {})
        )
        self.stack = assemble(configs, finding.load(strategy), CPU, streams=tasks.streams)
        own = self.stack.strategy
        self.evaluator = Evaluator(tasks.streams, "test")
        with torch.no_grad():
            own.begin_task(tasks.first)
            for batch in tasks.first.minibatches(shape.batch_size, FIRST_TASK_STEPS):
                self.stack.step(batch)
            own.end_task(tasks.first)
            own.begin_task(tasks.timed)

    def train(self, images: int) -> float:
        """Train on the second task; return images a second, all runs together.

        The task's preparation is counted at its share of an epoch.

        Args:
            images: about how many to train on, all runs together.
        """
        steps = max(1, images // (self.shape.batch_size * self.tasks.runs))
        with torch.no_grad():
            start = clock()
            for batch in self.tasks.timed.minibatches(self.shape.batch_size, steps):
                self.stack.step(batch)
            seconds = clock() - start
        each = steps * self.shape.batch_size
        seconds += self.tasks.seconds * each / self.tasks.timed.epoch_samples
        return each * self.tasks.runs / seconds

    def evaluate(self) -> float:
        """Evaluate the second task's test set; return images a second, all runs together.

        The test images are at hand, permuted, as in every evaluation of a run but the first.
        """
        return self._evaluate(self.evaluator)

    def evaluate_first(self) -> float:
        """Do the same with the permutation of the test images counted."""
        return self._evaluate(Evaluator(self.tasks.streams, "test"))

    def _evaluate(self, evaluator: Evaluator) -> float:
        with torch.no_grad():
            start = clock()
            found = evaluator.evaluate(self.stack.strategy, TASK, TASK)
            seconds = clock() - start
        return sum(found.samples) / seconds


def make_benchmark(
    data_dir: Path | None, train_samples: int | None = None, test_samples: int | None = None
) -> Benchmark:
    """Return permuted MNIST with two tasks, of all images or of so many."""
    config = BenchmarkConfig(tasks=2, train_samples=train_samples, test_samples=test_samples)
    return benchmarks.get(config, data_dir)


def make_split_benchmark(data_dir: Path | None, train_samples: int | None = None) -> Benchmark:
    """Return split MNIST, two tasks with a head each: every strategy can be trained on it."""
    config = BenchmarkConfig(
        name="split-mnist",
        tasks=2,
        scenario=Scenario.TASK,
        train_samples=train_samples,
        test_samples=1000,
    )
    return benchmarks.get(config, data_dir)


def _configs(
    benchmark: Benchmark,
    strategy: str,
    shape: Shape,
    runs: int,
    *,
    settings: Mapping[str, int] | None = None,
) -> list[RunConfig]:
    protocol = Protocol(
        benchmark=benchmark.config,
        network=NetworkConfig(hidden=shape.hidden),
        optimizer=OptimizerConfig(learning_rate=LEARNING_RATE),
        training=TrainingConfig(batch_size=shape.batch_size),
        strategies={strategy: dict(settings or {})},
        seeds=runs,
    )
    return runs_of(protocol, benchmark)


def whole_run_rate(
    benchmark: Benchmark, strategy: str, shape: Shape, runs: int, data_dir: Path | None
) -> float:
    """Train a stack through both tasks; return images a second, all runs together.

    Counted are training, penalties and what is done at a task's end, and every image whose
    gradient was taken: in exploration steps, replayed, for an importance, for a generator; not
    evaluation nor reading the data.
    """
    configs = _configs(benchmark, strategy, shape, runs)
    records = train_stack(configs, finding.load(strategy), device="cpu", data_dir=data_dir)
    passes = sum(record.cost["gradient_passes"] for record in records)
    phases = [record.cost["seconds"] for record in records]
    seconds = sum(phase["train"] + phase["consolidate"] for phase in phases)
    return passes * shape.batch_size / seconds
