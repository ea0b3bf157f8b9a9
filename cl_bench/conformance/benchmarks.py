"""What every benchmark promises, and whether one keeps it: `check --benchmark`.

Each promise is a function that raises `Broken`, with what is wrong in one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cl_bench import benchmarks
from cl_bench.benchmarks import Benchmark, Examples, Split
from cl_bench.config import (
    BenchmarkConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimizerConfig,
    RunConfig,
    Scenario,
    StrategyConfig,
    TrainingConfig,
)
from cl_bench.conformance.kit import Outcome, Result
from cl_bench.conformance.promises import Broken, need
from cl_bench.engine.stack import assemble, step
from cl_bench.engine.tasks import TaskData
from cl_bench.errors import UserError
from cl_bench.planning import bringing, finding

SEEDS = (0, 1)
SPLITS: tuple[Split, ...] = ("train", "test")
STRATEGIES = ("naive", "er")
"""Two that use their random numbers differently."""
_PROGRAM = "from cl_bench.conformance import benchmarks as b; import sys; b.tell(*sys.argv[1:])"


@dataclass
class Held:
    """A benchmark in one of its scenarios, held to its promises."""

    given: str
    """As the user gave it: a fresh process finds it by this."""
    config: BenchmarkConfig

    def make(self) -> Benchmark:
        """Return the benchmark, made anew."""
        return benchmarks.get(self.config, download=False)

    @cached_property
    def benchmark(self) -> Benchmark:
        return self.make()

    def parts(self) -> Iterator[tuple[str, int, int, Split, Examples]]:
        """Yield all examples with what they are: seed, task, split."""
        for seed in SEEDS:
            for task in range(self.benchmark.n_tasks):
                for split in SPLITS:
                    where = f"seed {seed}, task {task}, {split}"
                    yield where, seed, task, split, self.benchmark.examples(seed, task, split)


def sizes(held: Held) -> None:
    """Every task has training and test images, a label each, of one kind and size."""
    benchmark = held.benchmark
    need(benchmark.n_tasks > 0, "it has no tasks")
    pixels, kinds = int(np.prod(benchmark.input_shape)), set()
    for where, _, task, split, found in held.parts():
        images, labels = found.images, found.labels
        need(len(images), f"{where}: no images")
        shape = (len(images), pixels)
        need(images.shape == shape, f"{where}: images of shape {images.shape}, not {shape}")
        need(len(labels) == len(images), f"{where}: {len(labels)} labels, {len(images)} images")
        need(images.dtype in ("uint8", "float32"), f"{where}: images of type {images.dtype}")
        need(images.flags.c_contiguous, f"{where}: images are not C-contiguous")
        need(labels.dtype == np.int64, f"{where}: labels of type {labels.dtype}, not int64")
        need(np.isfinite(images).all(), f"{where}: NaN or infinite values")
        kinds.add(images.dtype)
        need(len(kinds) == 1, f"{where}: images of type {images.dtype}, others {kinds}")
        epoch = benchmark.epoch_size(task)
        need(split == "test" or epoch > 0, f"task {task}: an epoch of {epoch} images")


def labels(held: Held) -> None:
    """Every label is one of its task's outputs, and every output is some task's."""
    benchmark = held.benchmark
    mask, shape = benchmark.output_mask, (benchmark.n_tasks, benchmark.n_outputs)
    need(mask.shape == shape and mask.dtype == bool, f"output_mask is not bool {shape}")
    unused = np.flatnonzero(~mask.any(0))
    need(not len(unused), f"outputs {unused.tolist()} belong to no task")
    for where, _, task, _, found in held.parts():
        low, high = int(found.labels.min()), int(found.labels.max())
        inside = low >= 0 and high < benchmark.n_outputs
        need(inside, f"{where}: labels from {low} to {high}, of {benchmark.n_outputs} outputs")
        wrong = np.setdiff1d(found.labels, np.flatnonzero(mask[task]))
        need(not len(wrong), f"{where}: labels {wrong.tolist()} are not of the task's outputs")


def apart(held: Held) -> None:
    """No test image stands in a stream's training data."""
    trained: dict[int, dict[bytes, int]] = {seed: {} for seed in SEEDS}
    for _, seed, task, split, found in held.parts():
        if split == "train":
            trained[seed] |= {image.tobytes(): task for image in found.images}
    for where, seed, _, split, found in held.parts():
        if split == "test":
            tasks = [trained[seed].get(image.tobytes()) for image in found.images]
            twice = [(row, task) for row, task in enumerate(tasks) if task is not None]
            if twice:
                row, task = twice[0]
                raise Broken(
                    f"{where}: {len(twice)} of {len(tasks)} images stand in the training data, the"
                    f" first, row {row}, in that of task {task}"
                )


def repeats(held: Held) -> None:
    """Asked again, in another order, after its arrays were written to, it gives the same."""
    first = {key: _digest(found) for key, *_, found in held.parts()}
    for _, _, _, _, found in held.parts():
        for array in (found.images, found.labels):
            if array.flags.writeable:
                array.fill(0)
    other = held.make()
    for seed in reversed(SEEDS):
        for task in reversed(range(other.n_tasks)):
            for split in reversed(SPLITS):
                for which in (other, held.benchmark):
                    again = _digest(which.examples(seed, task, split))
                    where = f"seed {seed}, task {task}, {split}"
                    need(again == first[where], f"{where}: other images or labels than before")


def ids(held: Held) -> None:
    """Its id is of its content: stable, the same from its own configuration, plain to describe."""
    benchmark = held.benchmark
    again = benchmarks.get(BenchmarkConfig.model_validate(benchmark.config.model_dump()))
    need(again.config == benchmark.config, "its resolved configuration resolves to another")
    for seed in SEEDS:
        stream = benchmark.stream_id(seed)
        hexadecimal = len(stream) == 16 and set(stream) <= set("0123456789abcdef")
        need(hexadecimal, f"stream_id is {stream!r}, not 16 hexadecimal digits")
        need(stream == again.stream_id(seed), f"seed {seed}: stream_id differs from call to call")
        told = benchmark.describe(seed)
        need(len(told) == benchmark.n_tasks, f"describe tells of {len(told)} tasks")
        try:
            json.dumps(told)
        except TypeError as error:
            raise Broken(f"describe gives what JSON has not: {error}") from None


def processes(held: Held) -> None:
    """A fresh process makes the same streams and ids."""
    here = summary_of(held.benchmark)
    words = [held.given, held.config.model_dump_json(exclude_unset=True)]
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words], capture_output=True, text=True, env=environment
    )
    need(told.returncode == 0, f"a fresh process fails: {told.stderr.strip().splitlines()[-1:]}")
    there = json.loads(told.stdout)
    for key, value in here.items():
        need(value == there[key], f"{key} is {value} here and {there[key]} in a fresh process")


def strategies(held: Held) -> None:
    """Every strategy gets the same minibatches, to the bit."""
    seen = {name: _minibatches(held.benchmark, name) for name in STRATEGIES}
    one, other = STRATEGIES
    need(seen[one] == seen[other], f"{one} and {other} get other minibatches")


CHECKS: tuple[Callable[[Held], None], ...] = (
    sizes,
    labels,
    apart,
    repeats,
    ids,
    processes,
    strategies,
)


def check(given: str, scenario: Scenario | None = None) -> Iterator[list[Result]]:
    """Yield what came of every check of a benchmark, a list for each scenario that it can have.

    Args:
        given: its name or file, as `run --benchmark` takes it.
        scenario: only this one.

    Raises:
        UserError: there is no such benchmark, or it has none of these scenarios.
    """
    name = bringing.resolve(given)
    offered = benchmarks.summary(name)["scenarios"]
    wanted = [scenario] if scenario else [Scenario(each) for each in offered]  # type: ignore[attr-defined]
    refused: list[str] = []
    for each in wanted:
        config = BenchmarkConfig(name=name, scenario=each)
        try:
            benchmarks.get(config, download=False)
        except UserError as error:
            refused.append(str(error))
            continue
        held = Held(bringing.as_given(name), config)
        yield [_result(held, function) for function in CHECKS]
    if len(refused) == len(wanted):
        raise UserError(refused[0])


def _result(held: Held, function: Callable[[Held], None]) -> Result:
    outcome, why = Outcome.PASSED, ""
    try:
        function(held)
    except Exception as error:
        kind = "" if isinstance(error, (Broken, UserError)) else f"{type(error).__name__}: "
        outcome, why = Outcome.FAILED, kind + " ".join(str(error).split())
    name, promise = function.__name__, function.__doc__ or ""
    return Result(held.config.name, str(held.config.scenario), name, promise, outcome, why)


def summary_of(benchmark: Benchmark) -> dict[str, str]:
    """Return what must be the same in every process."""
    found = {"content": str(benchmark.config.content)}
    for seed in SEEDS:
        digest = hashlib.sha256()
        for task in range(benchmark.n_tasks):
            for split in SPLITS:
                digest.update(_digest(benchmark.examples(seed, task, split)).encode())
        found[f"the stream of seed {seed}"] = digest.hexdigest()[:16]
        found[f"stream_id of seed {seed}"] = benchmark.stream_id(seed)
    return found


def tell(given: str, config: str) -> None:
    """Print `summary_of` a benchmark, under a configuration that is JSON, as JSON."""
    bringing.resolve(given)
    found = benchmarks.get(BenchmarkConfig.model_validate_json(config), download=False)
    print(json.dumps(summary_of(found)))


def _digest(found: Examples) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(found.images).data)
    digest.update(np.ascontiguousarray(found.labels).data)
    return digest.hexdigest()[:16]


def _minibatches(benchmark: Benchmark, name: str) -> list[str]:
    """Return a digest of each task's first minibatches, a strategy training on them."""
    kind = finding.load(name)
    size = min(16, *map(benchmark.epoch_size, range(benchmark.n_tasks)))
    config = RunConfig(
        benchmark=benchmark.config,
        network=NetworkConfig(hidden=(8,)),
        optimizer=OptimizerConfig(learning_rate=0.001),
        training=TrainingConfig(iterations=3, batch_size=size),
        evaluation=EvaluationConfig(),
        strategy=StrategyConfig(name=name, settings=kind.Settings().model_dump(mode="json")),
        seed=SEEDS[0],
    )
    made = assemble([config], kind, benchmark=benchmark)
    digests = []
    for index in range(benchmark.n_tasks):
        task = TaskData(made.streams, index)
        made.learner.task, made.learner.step_number = index, 0
        made.strategy.begin_task(task)
        for batch in task.minibatches(size, 3):
            digest = hashlib.sha256(batch.images.numpy().tobytes())
            digest.update(batch.labels.numpy().tobytes())
            digests.append(digest.hexdigest())
            step(made.strategy, batch)
        made.strategy.end_task(task)
        task.close()
    return digests
