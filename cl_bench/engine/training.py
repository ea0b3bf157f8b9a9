"""Train one stack through its task sequence and return a record a run.

This is the whole life of a run: every task trained, its end left to the strategy, every
seen task evaluated after it, and finer in between where the configuration asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import torch

from cl_bench.benchmarks.base import Benchmark
from cl_bench.config import EvaluationConfig, RunConfig
from cl_bench.engine.checkpoint import Checkpoint
from cl_bench.engine.evaluation import Evaluator
from cl_bench.engine.learner import Learner
from cl_bench.engine.probe import Probe
from cl_bench.engine.recording import Recorder
from cl_bench.engine.stack import Stack, assemble
from cl_bench.engine.stopwatch import Stopwatch
from cl_bench.engine.strategy import Strategy, all_settings
from cl_bench.engine.tasks import Batch, ForbiddenData, Pace, TaskData
from cl_bench.engine.threads import one_thread
from cl_bench.errors import UserError
from cl_bench.results.provenance import Provenance, collect
from cl_bench.results.record import Cost, RunRecord

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps of the whole stack."""
MakeProbe = Callable[[Learner], Probe]


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


def task_steps(config: RunConfig, benchmark: Benchmark, strategy: type[Strategy], task: int) -> int:
    """Return the training steps on a task, the extra ones at its end not counted.

    Upper bounds, which are given the data of all tasks so far, take those of all of them.
    """
    training = config.training
    members = range(task + 1) if strategy.all_data else (task,)
    if training.iterations is not None:
        ordinary = training.iterations * len(members)
    else:
        images = sum(benchmark.epoch_size(member) for member in members)
        pace = Pace(training.batch_size, images, training.last_batch == "short")
        ordinary = pace.steps(training.epochs or 1)
    settings = all_settings(strategy, config.strategy.settings)
    so_far = sum(benchmark.epoch_size(member) for member in range(task + 1))
    return strategy.task_steps(settings, ordinary, training.batch_size, so_far)


def _extra_steps(config: RunConfig, strategy: type[Strategy]) -> int:
    """Return the training steps at the end of each task besides the ordinary ones."""
    return strategy.extra_steps(all_settings(strategy, config.strategy.settings))


def count_steps(config: RunConfig, benchmark: Benchmark, strategy: type[Strategy]) -> int:
    """Return all training steps of a run, extra steps at the tasks' ends included."""
    extra = _extra_steps(config, strategy)
    return sum(
        task_steps(config, benchmark, strategy, task) + extra for task in range(benchmark.n_tasks)
    )


def train_stack(
    configs: Sequence[RunConfig],
    strategy: type[Strategy],
    *,
    device: str = "auto",
    data_dir: Path | None = None,
    on_progress: Progress = lambda done, total: None,
    checkpoint: Checkpoint | None = None,
    make_probe: MakeProbe | None = None,
) -> list[RunRecord]:
    """Train runs that differ in seeds and numbers alone, together, and return their records.

    The weights of a run do not depend on which others it is trained with, nor on the threads that
    torch may use: on the CPU the engine takes one, because products of more threads give other
    bits; use more processes to fill more cores.

    Args:
        configs: resolved runs of one stack.
        strategy: the class of the strategy that they name.
        device: "auto", "cpu" or "cuda".
        data_dir: where to look for data first.
        on_progress: told of the steps done after each, and of how many there are.
        checkpoint: where to keep the stack's state while it trains; what is there is resumed,
            and the runs end with the same bits as if they had not been stopped.
        make_probe: makes what looks at the stack while it trains; None measures nothing more.

    Raises:
        ForbiddenData: the strategy reached for data that it must not see.
    """
    started = datetime.now(UTC)
    with torch.no_grad(), one_thread():
        stack = assemble(configs, strategy, pick_device(device), data_dir=data_dir)
        training = _Training(stack, on_progress, checkpoint, make_probe)
        training.run()
    finished = datetime.now(UTC)
    where = str(stack.learner.device)
    provenance = collect(device=where, threads=1, started=started, finished=finished)
    return [training.record(run, provenance) for run in range(len(configs))]


class _Training:
    """The state of one call of `train_stack`."""

    def __init__(
        self,
        stack: Stack,
        on_progress: Progress,
        checkpoint: Checkpoint | None,
        make_probe: MakeProbe | None,
    ) -> None:
        first = stack.configs[0]
        self.stack = stack
        self.configs, self.benchmark = stack.configs, stack.benchmark
        self.learner, self.strategy = stack.learner, stack.strategy
        self.checkpoint = checkpoint
        self.schedule: EvaluationConfig = first.evaluation
        self.probe = make_probe(self.learner) if make_probe else None
        self.evaluator = Evaluator(stack.streams, first.evaluation.split)
        self.recorder = Recorder(self.configs, self.benchmark)
        self.stopwatch = Stopwatch(self.learner.device)
        self.tasks_done = -1
        """Tasks trained and evaluated; -1 before the untrained network is evaluated."""
        self._resume()
        self.on_progress = on_progress
        self.total = count_steps(first, self.benchmark, type(self.strategy))

    def run(self) -> None:
        last = self.benchmark.n_tasks - 1
        if self.tasks_done < 0:
            self._evaluate(-1, range(last + 1))
            self.tasks_done = 0
        for task in range(self.tasks_done, last + 1):
            self._train_task(task)
            self._evaluate(task, range(min(task + 2, last + 1)), confusion=task == last)
            self.tasks_done = task + 1
            self.learner.step_number = 0
            self._save_if_due()
        self.on_progress(self.total, self.total)

    def _train_task(self, index: int) -> None:
        learner, strategy, config = self.learner, self.strategy, self.configs[0]
        learner.task = index
        with self.stopwatch.phase("data"):
            task = self.stack.task(index)
        if learner.step_number == 0:
            if strategy.restart:
                learner.theta.copy_(learner.initial)
            if config.optimizer.reset or strategy.restart:
                for optimizer in (learner.optimizer, *(t.optimizer for t in strategy.trained())):
                    optimizer.reset()
            with self.stopwatch.phase("consolidate"):
                strategy.begin_task(task)
        ordinary = task_steps(config, self.benchmark, type(strategy), index)
        with self.stopwatch.phase("train"):
            for number, batch in self._left(task, 0, ordinary):
                self._step(batch)
                if self.probe is not None and self.probe.due(number, ordinary):
                    with self.stopwatch.phase("landscape"):
                        self.probe.look()
                if self.schedule.due(index, number):
                    self._evaluate_during(index, number)
                self._save_if_due()
        extra = _extra_steps(config, type(strategy))
        with self.stopwatch.phase("consolidate"):
            for number, batch in self._left(task, ordinary, extra, "exploration"):
                self._step(batch)
                strategy.visit(number)
                self._save_if_due()
            strategy.end_task(task)
        if self.probe is not None:
            with self.stopwatch.phase("landscape"):
                own = TaskData(self.stack.streams, index) if strategy.all_data else task
                self.recorder.landscape(index, self.probe.end_task(own))
        task.close()

    def _step(self, batch: Batch) -> None:
        self.stack.step(batch)
        self.on_progress(self.learner.steps, self.total)

    def _left(
        self, task: TaskData, before: int, steps: int, *purpose: str
    ) -> Iterator[tuple[int, Batch]]:
        """Yield the minibatches left of `steps` that come after `before`, counted from 1."""
        done = min(max(0, self.learner.step_number - before), steps)
        training = self.configs[0].training
        short = training.last_batch == "short" and not purpose
        size = training.batch_size
        batches = task.minibatches(size, steps, *purpose, first=done, short=short)
        yield from enumerate(batches, start=done + 1)

    def _save_if_due(self) -> None:
        if self.checkpoint is not None and self.checkpoint.due(self.learner.steps):
            self.save(self.checkpoint)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write all that the rest of the stack's life depends on."""
        content = {
            **self.stack.counters(),
            "tasks_done": self.tasks_done,
            "seconds": self.stopwatch.seconds(),
            "rows": self.recorder.rows,
        }
        parts = self.stack.state()
        if self.probe is not None:
            parts["probe"] = self.probe.state()
        checkpoint.write([c.run_id for c in self.configs], self.learner.device, content, parts)

    def _resume(self) -> None:
        """Take up what the checkpoint holds of these runs, if anything."""
        runs = [config.run_id for config in self.configs]
        found = self.checkpoint.read(runs, self.learner.device) if self.checkpoint else None
        if found is None:
            return
        self.stack.load(found)
        self.tasks_done = found.content["tasks_done"]
        self.stopwatch.add(found.content["seconds"])
        self.recorder.rows = found.content["rows"]
        if self.probe is not None:
            self.probe.load_state(found.part("probe"))

    @contextmanager
    def _weights_untouched(self) -> Iterator[None]:
        """Refuse that a strategy learns from the images it is tested on."""
        before = self.learner.theta._version
        yield
        if self.learner.theta._version != before:
            raise ForbiddenData(
                f"{type(self.strategy).__name__}.predict changed the weights; "
                "test images are for prediction alone"
            )

    def _evaluate(self, after: int, tasks: range, *, confusion: bool = False) -> None:
        with self.stopwatch.phase("evaluate"), self._weights_untouched():
            for task in tasks:
                found = self.evaluator.evaluate(
                    self.strategy, task, after, confusion=confusion and task <= after
                )
                self.recorder.after_task(after, task, found)

    def _evaluate_during(self, index: int, step: int) -> None:
        seen = self.learner.samples_seen
        with self.stopwatch.phase("evaluate"), self._weights_untouched():
            for task in range(index + 1):
                found = self.evaluator.evaluate(self.strategy, task, index)
                self.recorder.during_task(index, step, seen, task, found)

    def record(self, run: int, provenance: Provenance) -> RunRecord:
        learner = self.learner
        cost: Cost = {
            "seconds": {k: v / learner.runs for k, v in self.stopwatch.seconds().items()},
            "samples_seen": learner.samples_seen,
            "gradient_passes": round(learner.gradient_passes, 3),
            "bytes_kept": self.strategy.bytes_kept(),
            "stack_size": learner.runs,
        }
        if self.probe is not None:
            cost["landscape_bytes"] = self.probe.bytes_kept()
        return self.recorder.record(run, learner.network, learner.theta[run], cost, provenance)
