"""Train one stack through its task sequence and return a record a run.

This is the whole life of a run: every task trained, its end left to the strategy, every
seen task evaluated after it, and finer in between where the configuration asks for it.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from cl_bench import benchmarks, registry
from cl_bench.benchmarks.base import Benchmark
from cl_bench.config import EvaluationConfig, RunConfig, TrainingConfig
from cl_bench.engine.evaluation import Evaluation, Evaluator
from cl_bench.engine.learner import Learner
from cl_bench.engine.networks import build_network
from cl_bench.engine.tasks import Streams, TaskData
from cl_bench.engine.threads import one_thread
from cl_bench.errors import UserError
from cl_bench.results.provenance import collect
from cl_bench.results.record import (
    ACCURACY_COLUMNS,
    CURVE_COLUMNS,
    PREDICTION_COLUMNS,
    RunRecord,
)
from cl_bench.strategy import Strategy

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps of the whole stack."""


def pick_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu` or `cuda` stands for on this machine.

    Raises:
        UserError: `cuda` was asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {name}: no CUDA device was found; use --device cpu")
    return torch.device(name)


def task_steps(
    training: TrainingConfig, benchmark: Benchmark, task: int, *, all_so_far: bool
) -> int:
    """Return the minibatches that training on a task takes; upper bounds train on all so far."""
    members = range(task + 1) if all_so_far else (task,)
    if training.iterations is not None:
        return training.iterations * len(members)
    images = sum(benchmark.epoch_size(member) for member in members)
    return max(1, int((training.epochs or 1) * images / training.batch_size))


def count_steps(config: RunConfig, benchmark: Benchmark, strategy: type[Strategy]) -> int:
    """Return all minibatches of a run, extra steps at the tasks' ends included."""
    extra = strategy.extra_steps(config.strategy.settings)
    return sum(
        task_steps(config.training, benchmark, task, all_so_far=strategy.all_data) + extra
        for task in range(benchmark.n_tasks)
    )


def train_stack(
    configs: Sequence[RunConfig],
    *,
    device: str = "auto",
    data_dir: Path | None = None,
    on_progress: Progress = lambda done, total: None,
) -> list[RunRecord]:
    """Train runs that differ in seeds and numbers alone, together, and return their records.

    The weights of a run do not depend on which others it is trained with, nor on the threads that
    torch may use: on the CPU the engine takes one, because products of more threads give other
    bits; use more processes to fill more cores.

    Args:
        configs: resolved runs of one stack.
        device: "auto", "cpu" or "cuda".
        data_dir: where to look for data first.
        on_progress: told of the steps done, a few times a second at most.
    """
    started = datetime.now(UTC)
    with torch.no_grad(), one_thread():
        stack = _Stack(configs, pick_device(device), data_dir, on_progress)
        stack.train()
    finished = datetime.now(UTC)
    provenance = collect(device=str(stack.device), threads=1, started=started, finished=finished)
    return [stack.record(run, provenance) for run in range(len(configs))]


class _Stack:
    """The state of one call of `train_stack`."""

    def __init__(
        self,
        configs: Sequence[RunConfig],
        device: torch.device,
        data_dir: Path | None,
        on_progress: Progress,
    ) -> None:
        first = configs[0]
        self.configs = configs
        self.device = device
        self.training: TrainingConfig = first.training
        self.schedule: EvaluationConfig = first.evaluation
        self.benchmark = benchmarks.get(first.benchmark, data_dir=data_dir, download=False)
        strategy_class = registry.load(first.strategy.name)
        self.streams = Streams(
            self.benchmark, [c.seed for c in configs], device, first.training.outputs
        )
        network = build_network(first.network, self.benchmark.input_shape, self.benchmark.n_outputs)
        self.learner = Learner(network, configs, self.benchmark.scenario, device)
        settings = self.learner.settings_of(strategy_class, configs)
        self.strategy = strategy_class(self.learner, settings)
        self.evaluator = Evaluator(self.streams, first.evaluation.split)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.rows: dict[str, list[list[dict[str, Any]]]] = {
            table: [[] for _ in configs] for table in ("accuracy", "curve", "predictions")
        }
        self._report_to(on_progress, count_steps(first, self.benchmark, strategy_class))

    def _report_to(self, on_progress: Progress, total: int) -> None:
        done, next_report = 0, 0.0

        def step_done() -> None:
            nonlocal done, next_report
            done += 1
            if done % 16 == 0 and time.monotonic() > next_report:
                next_report = time.monotonic() + 0.25
                on_progress(done, total)

        self.learner.on_step = step_done
        self._all_done = lambda: on_progress(total, total)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.seconds[phase] += time.perf_counter() - start

    def train(self) -> None:
        last = self.benchmark.n_tasks - 1
        self._evaluate(-1, range(last + 1))
        for task in range(last + 1):
            self._train_task(task)
            self._evaluate(task, range(min(task + 2, last + 1)), confusion=task == last)
        self._all_done()

    def _train_task(self, index: int) -> None:
        learner, strategy = self.learner, self.strategy
        with self._timed("data"):
            task = TaskData(self.streams, index, all_so_far=strategy.all_data)
        if strategy.restart:
            learner.theta.copy_(learner.initial)
        if self.configs[0].optimizer.reset or strategy.restart:
            learner.optimizer.reset()
        with self._timed("consolidate"):
            strategy.begin_task(task)
        steps = task_steps(self.training, self.benchmark, index, all_so_far=strategy.all_data)
        batches = task.minibatches(self.training.batch_size, steps)
        with self._timed("train"):
            for number, batch in enumerate(batches, start=1):
                learner.step(strategy, batch)
                if self._due(index, number):
                    self._evaluate_during(index, number)
        with self._timed("consolidate"):
            strategy.end_task(task)

    def _due(self, task: int, step: int) -> bool:
        schedule = self.schedule
        dense = task > 0 and schedule.switch_every and step <= schedule.switch_steps
        if dense and step % (schedule.switch_every or 1) == 0:
            return True
        return bool(schedule.every) and step % (schedule.every or 1) == 0

    def _evaluate(self, after: int, tasks: range, *, confusion: bool = False) -> None:
        with self._timed("evaluate"):
            for task in tasks:
                found = self.evaluator.evaluate(
                    self.strategy, task, after, confusion=confusion and task <= after
                )
                self._keep("accuracy", {"after_task": after, "task": task}, found)
                if found.confusion is not None:
                    self._keep_predictions(after, task, found.confusion)

    def _evaluate_during(self, index: int, step: int) -> None:
        start = time.perf_counter()
        seen = self.learner.gradient_passes * self.training.batch_size
        for task in range(index + 1):
            found = self.evaluator.evaluate(self.strategy, task, index)
            where = {"training_task": index, "step": step, "samples_seen": seen, "task": task}
            self._keep("curve", where, found)
        spent = time.perf_counter() - start
        self.seconds["evaluate"] += spent
        self.seconds["train"] -= spent

    def _keep(self, table: str, where: dict[str, int], found: Evaluation) -> None:
        columns = ACCURACY_COLUMNS if table == "accuracy" else CURVE_COLUMNS
        values = torch.stack([found.accuracy, found.accuracy_agnostic, found.loss], 1).tolist()
        for run, (accuracy, agnostic, loss) in enumerate(values):
            row = {
                **where,
                "accuracy": accuracy,
                "accuracy_agnostic": agnostic,
                "loss": loss,
                "samples": found.samples[run],
            }
            self.rows[table][run].append({column: row[column] for column in columns})

    def _keep_predictions(self, after: int, task: int, confusion: torch.Tensor) -> None:
        for run, label, predicted in confusion.nonzero().tolist():
            self.rows["predictions"][run].append(
                {
                    "after_task": after,
                    "task": task,
                    "label": label,
                    "predicted": predicted,
                    "count": int(confusion[run, label, predicted]),
                }
            )

    def record(self, run: int, provenance: dict[str, Any]) -> RunRecord:
        config, learner = self.configs[run], self.learner
        theta = learner.theta[run].cpu()
        dataset = self.benchmark.dataset
        tables = {
            "accuracy": ACCURACY_COLUMNS,
            "curve": CURVE_COLUMNS,
            "predictions": PREDICTION_COLUMNS,
        }
        frames = {
            name: pd.DataFrame(self.rows[name][run], columns=list(columns))
            for name, columns in tables.items()
        }
        return RunRecord(
            config=config,
            stream_id=self.benchmark.stream_id(config.seed),
            tasks=self.benchmark.describe(config.seed),
            data={"name": dataset.name, "checksum": dataset.checksum, "source": dataset.source},
            weights={k: v.clone().numpy() for k, v in learner.network.unstack(theta).items()},
            weights_sha256=hashlib.sha256(theta.numpy().tobytes()).hexdigest(),
            cost={
                "seconds": {k: v / learner.runs for k, v in self.seconds.items()},
                "samples_seen": learner.gradient_passes * learner.batch_size,
                "gradient_passes": learner.gradient_passes,
                "bytes_kept": self.strategy.bytes_kept(),
                "network_bytes": theta.numel() * theta.element_size(),
                "stack_size": learner.runs,
            },
            provenance=provenance,
            accuracy=frames["accuracy"],
            curve=frames["curve"],
            predictions=frames["predictions"],
        )
