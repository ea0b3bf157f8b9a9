"""Train Avalanche's strategies in Avalanche's own loop on our task streams, and keep our records.

Ours are the data, their order (for a strategy that does not choose its own minibatches), the
initial weights, the optimiser's numbers, the number of steps and the evaluation. Avalanche's is
all that makes the strategy: what differs in a record is the strategy's doing.
"""

from __future__ import annotations

import importlib
import itertools
import random
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from cl_bench import benchmarks
from cl_bench.avalanche import parts
from cl_bench.avalanche.foreign import ForeignStrategy
from cl_bench.avalanche.to_avalanche import to_avalanche
from cl_bench.benchmarks import Benchmark
from cl_bench.config import RunConfig
from cl_bench.engine import count_steps, pick_device
from cl_bench.engine.evaluation import Evaluator
from cl_bench.engine.recording import Recorder
from cl_bench.engine.stack import assemble
from cl_bench.engine.stopwatch import Stopwatch
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Pace, TaskData
from cl_bench.engine.threads import one_thread
from cl_bench.engine.training import Progress, task_steps
from cl_bench.planning import finding
from cl_bench.results.provenance import Provenance, collect
from cl_bench.results.record import Cost, RunRecord
from cl_bench.seeding import torch_generator


def train(
    configs: Sequence[RunConfig],
    *,
    device: str = "auto",
    data_dir: Path | None = None,
    on_progress: Progress = lambda done, total: None,
) -> list[RunRecord]:
    """Train runs of a strategy of Avalanche, one after another, and return their records.

    A run has the same bits whenever it is trained: it takes one thread, and all random numbers
    come from torch's, NumPy's and Python's generators, seeded for the run.

    Args:
        configs: resolved runs that differ in seeds and numbers alone.
        device: "auto", "cpu" or "cuda".
        data_dir: where to look for data first.
        on_progress: told of the steps done after each, and of how many there are.
    """
    place, first = pick_device(device), configs[0]
    benchmark = benchmarks.get(first.benchmark, data_dir=data_dir, download=False)
    strategy = cast(type[ForeignStrategy], finding.load(first.strategy.name))
    steps = count_steps(first, benchmark, strategy)
    total, counted = steps * len(configs), itertools.count(1)

    def on_step() -> None:  # the loop of such a strategy may take a few more than were planned
        on_progress(min(next(counted), total), total)

    records = []
    for config in configs:
        started = datetime.now(UTC)
        with one_thread(), _seeded(config.seed, place), _quiet():
            run = _Run(config, benchmark, strategy, place, on_step)
            run.train()
        finished = datetime.now(UTC)
        provenance = collect(device=str(place), threads=1, started=started, finished=finished)
        records.append(run.record(provenance))
    on_progress(total, total)
    return records


class _Run:
    """One run in training: a strategy object of Avalanche, and what our evaluation finds."""

    def __init__(
        self,
        config: RunConfig,
        benchmark: Benchmark,
        strategy: type[ForeignStrategy],
        device: torch.device,
        on_step: Callable[[], None],
    ) -> None:
        self.config, self.benchmark, self.strategy = config, benchmark, strategy
        self.device, self.on_step = device, on_step
        stack = assemble([config], Strategy, device, benchmark=benchmark)
        self.streams, self.network = stack.streams, stack.network
        self.criterion = parts.MaskedCrossEntropy(self.streams.outputs)
        self.experiences = list(to_avalanche(benchmark, config.seed).train_stream)
        self.evaluator = Evaluator(self.streams, config.evaluation.split)
        self.recorder = Recorder([config], benchmark)
        self.stopwatch = Stopwatch(device)
        self.samples = 0
        """Images of the tasks trained on, repetitions counted."""
        self.images = 0
        """Images whose gradient was taken, for whatever purpose."""
        self.loop = parts.loop_plugin(self._step_done)
        self.agent = self._make_agent()

    def _make_agent(self) -> Any:
        """Return a strategy object of Avalanche, its network at the run's initial weights."""
        config, strategy = self.config, self.strategy
        settings, size = config.strategy.settings, config.training.batch_size
        module = parts.make_module(self.network, config.seed).to(self.device)
        module.register_forward_hook(self._gradient_counter())
        plugins = [self.loop, *([parts.copies_plugin()] if settings.get("copies") else [])]
        module_name, _, name = strategy.made_by.partition(":")
        made_by = getattr(importlib.import_module(module_name), name)
        own = strategy.arguments(settings)
        if name.endswith("Plugin"):
            plugins.append(made_by(**own))
            made_by, own = importlib.import_module("avalanche.training").Naive, {}
        return made_by(
            model=module,
            optimizer=parts.make_optimizer(config.optimizer, module),
            criterion=self.criterion,
            train_mb_size=size,
            eval_mb_size=size,
            device=str(self.device),
            plugins=plugins,
            evaluator=parts.silent_evaluator(),
            **own,
        )

    def _gradient_counter(self) -> Callable[..., None]:
        def backward(gradient: Tensor) -> None:
            self.images += len(gradient)

        def forward(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(backward)

        return forward  # a function, not a method: copies of the network share it

    def train(self) -> None:
        last = self.benchmark.n_tasks - 1
        self._evaluate(-1, range(last + 1))
        for task in range(last + 1):
            self._train_task(task)
            self._evaluate(task, range(min(task + 2, last + 1)), confusion=task == last)

    def _train_task(self, task: int) -> None:
        config, strategy, loop = self.config, self.strategy, self.loop
        size = config.training.batch_size
        together = strategy.all_data and strategy.restart
        if together and task:
            self.agent = self._make_agent()  # such an object trains once
        self.criterion.task = self._task = task
        members = range(task + 1) if strategy.all_data else range(task, task + 1)
        images = sum(len(self.experiences[member].dataset) for member in members)
        steps = task_steps(config, self.benchmark, strategy, task)
        short = strategy.own_epochs or config.training.last_batch == "short"
        epoch = sum(self.benchmark.epoch_size(member) for member in members)
        self._pace, self._before = (
            Pace(size, epoch, short and not strategy.own_epochs),
            self.samples,
        )
        data = None
        if not strategy.own_minibatches:
            with self.stopwatch.phase("data"):
                data = TaskData(self.streams, task)
                loop.minibatches = parts.OurMinibatches(
                    data, config.training, steps, self.benchmark.input_shape
                )
        elif not strategy.own_epochs:  # as many steps as ours take, of minibatches cut as ours
            loop.steps = steps
            per_epoch = -(-images // size) if short else max(1, images // size)
            self.agent.train_epochs = -(-steps // per_epoch)
        with self.stopwatch.phase("train"):
            self.agent.train(
                self.experiences[: task + 1] if together else self.experiences[task],
                eval_streams=[],
                num_workers=0,
                reset_optimizer_state=config.optimizer.reset,
                drop_last=images >= size and not short,
            )
            after = time.perf_counter() - self._last_step
        self.stopwatch.add({"train": -after, "consolidate": after})
        if data is not None:
            data.close()

    def _step_done(self, number: int) -> None:
        self._last_step = time.perf_counter()
        self.samples = self._before + self._pace.samples(number)
        self.on_step()
        if self.config.evaluation.due(self._task, number):
            with self.stopwatch.phase("evaluate"):
                for task in range(self._task + 1):
                    found = self.evaluator.evaluate(cast(Strategy, self), task, self._task)
                    self.recorder.during_task(self._task, number, self.samples, task, found)

    def predict(self, images: Tensor, task: int | None) -> Tensor:
        """Return the logits [1, n, C] of images [1, n, F], as our evaluation asks for them."""
        module = self.agent.model
        training = module.training
        module.eval()
        with torch.no_grad():
            logits: Tensor = module(images[0].unflatten(-1, self.benchmark.input_shape))
        module.train(training)
        return logits.unsqueeze(0)

    def _evaluate(self, after: int, tasks: range, *, confusion: bool = False) -> None:
        with self.stopwatch.phase("evaluate"):
            for task in tasks:
                found = self.evaluator.evaluate(
                    cast(Strategy, self), task, after, confusion=confusion and task <= after
                )
                self.recorder.after_task(after, task, found)

    def record(self, provenance: Provenance) -> RunRecord:
        size = self.config.training.batch_size
        pixels = int(np.prod(self.benchmark.input_shape))
        kept = 0 if self.strategy.all_data else parts.bytes_kept(self.agent, pixels)
        cost: Cost = {
            "seconds": self.stopwatch.seconds(),
            "samples_seen": self.samples,
            "gradient_passes": round(self.images / size, 3),
            "bytes_kept": kept,
            "stack_size": 1,
        }
        theta = parts.flat_weights(self.agent.model)
        return self.recorder.record(0, self.network, theta, cost, provenance)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all generators that Avalanche draws from, and put them back as they were."""
    start = torch_generator("avalanche", seed).initial_seed()
    before = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(start)
        random.seed(start)
        np.random.seed(start % 2**32)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out Avalanche's warnings of optional packages and of what it will rename."""
    with warnings.catch_warnings(record=True):  # it undoes filters, but not this
        yield
