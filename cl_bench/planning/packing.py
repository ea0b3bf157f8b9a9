"""From runs to stacks: what trains together, in what order, in how much memory.

A stack holds runs that differ in seeds and numbers alone, so that they train together; the
packing keeps every worker busy.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cl_bench.config import BenchmarkConfig, Protocol, RunConfig
from cl_bench.planning import finding
from cl_bench.planning.resolving import runs_of

if TYPE_CHECKING:
    from cl_bench.benchmarks import Benchmark
    from cl_bench.engine.strategy import Strategy

OPTIMIZER_NUMBERS = ("learning_rate", "momentum", "beta1", "beta2", "epsilon", "weight_decay")
"""What may differ from run to run of a stack, beside the seeds and a strategy's numbers."""

_STACK_OVERHEAD = 0.7
"""Time a stack takes on top of its runs, in runs: what splitting a stack costs."""
_FLOATS_PER_WEIGHT = 200
"""Weights, gradients, what optimiser and strategy keep, and 150 snapshots of an exploration."""
_PROBE_FLOATS_PER_WEIGHT = 250
"""Snapshots and vectors with which the loss landscape is measured."""

GetBenchmark = Callable[[BenchmarkConfig], "Benchmark"]


@dataclass(frozen=True)
class Stack:
    """Runs that train together."""

    configs: tuple[RunConfig, ...]
    steps: int
    """Minibatches that the stack takes; each trains all its runs by one step."""
    checkpoint: Path | None = None
    """The file to resume these runs from; None where they start anew."""

    @property
    def work(self) -> float:
        """Return the time it takes, in steps of one run."""
        return self.steps * (len(self.configs) + _STACK_OVERHEAD)


@dataclass(frozen=True)
class Plan:
    """All that a command will do."""

    configs: tuple[RunConfig, ...]
    """Every run asked for, in the order asked for."""
    stored: tuple[RunConfig, ...]
    """Those that have a record already and are not run again."""
    stacks: tuple[Stack, ...]
    """The rest, longest stack first."""
    notices: tuple[str, ...]
    """What the user should know before it starts, such as data that stand in for others."""


def make_plan(
    protocols: Sequence[Protocol],
    get_benchmark: GetBenchmark,
    *,
    workers: int = 1,
    is_stored: Callable[[RunConfig], bool] = lambda config: False,
    unfinished: Mapping[Path, Sequence[str]] | None = None,
    max_runs: int | None = None,
    memory: int | None = None,
) -> Plan:
    """Resolve, check and pack everything the protocols ask for.

    Args:
        protocols: what is asked for (`protocol.read`).
        get_benchmark: gives the benchmark of a configuration, its data at hand.
        workers: how many stacks train at the same time.
        is_stored: whether a run has a record already.
        unfinished: checkpoints, and the run_ids that each holds: those runs stay together.
        max_runs: the most runs of one stack; None is as many as half the memory holds.
        memory: bytes of the device that trains; None is this machine's.

    Raises:
        UserError: a combination that cannot work.
    """
    configs: dict[str, RunConfig] = {}
    steps: dict[str, int] = {}
    limits: dict[str, int] = {}
    notices: dict[str, None] = {}
    for protocol in protocols:
        benchmark = get_benchmark(protocol.benchmark)
        notice = getattr(benchmark, "notice", None)
        if notice:
            notices[notice] = None
        for config in runs_of(protocol, benchmark):
            configs.setdefault(config.run_id, config)
            key = stack_key(config)
            if key not in steps:
                strategy = finding.load(config.strategy.name)
                steps[key] = _count_steps(config, benchmark, strategy)
                share = (memory or machine_memory()) // (2 * max(1, workers))
                fits = runs_that_fit(config, benchmark, strategy, share)
                limits[key] = min(fits, max_runs or fits)
    stored = tuple(config for config in configs.values() if is_stored(config))
    done = {config.run_id for config in stored}
    left = {run_id: config for run_id, config in configs.items() if run_id not in done}
    stacks = []
    for path, held in (unfinished or {}).items():
        wanted = [left.pop(run_id) for run_id in held if run_id in left]
        if wanted:
            stacks.append(Stack(tuple(wanted), steps[stack_key(wanted[0])], path))
    stacks += pack(left.values(), steps, limits, workers)
    stacks.sort(key=lambda stack: -stack.work)
    return Plan(tuple(configs.values()), stored, tuple(stacks), tuple(notices))


def stack_key(config: RunConfig) -> str:
    """Return what runs must share to train together: all but the seeds and the numbers."""
    from cl_bench.engine.strategy import free_settings

    free = free_settings(finding.load(config.strategy.name))
    content = config.model_dump(
        mode="json",
        exclude={
            "seed": True,
            "init_seed": True,
            "optimizer": set(OPTIMIZER_NUMBERS),
            "strategy": {"settings": free},
        },
    )
    return json.dumps(content, sort_keys=True)


def runs_that_fit(
    config: RunConfig, benchmark: Benchmark, strategy: type[Strategy], memory: int
) -> int:
    """Return how many runs of this kind can train together in so many bytes, at least one.

    An estimate: the images of each seed's current task (of all tasks, for a strategy that is
    given them) and test sets, the network's weights with what optimiser and strategy keep, and what
    the loss landscape is measured with.
    """
    pixels = math.prod(benchmark.input_shape) * benchmark.dataset.train_images.itemsize
    largest = max(benchmark.epoch_size(task) for task in range(benchmark.n_tasks))
    tasks_held = benchmark.n_tasks if strategy.all_data else 1
    images = 2 * pixels * largest * (tasks_held + 0.25 * benchmark.n_tasks)
    floats = _FLOATS_PER_WEIGHT
    if config.evaluation.landscape is not None:
        floats += _PROBE_FLOATS_PER_WEIGHT + benchmark.n_tasks
        images += pixels * config.evaluation.landscape * benchmark.n_tasks
    bytes_a_run = images + 4 * network_size(config, benchmark) * floats
    return max(1, int(memory / bytes_a_run))


def machine_memory() -> int:
    """Return the bytes of memory of this machine; 8 GB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30


def network_size(config: RunConfig, benchmark: Benchmark) -> int:
    """Return the number of weights of the network that the run trains; none is drawn."""
    import torch

    from cl_bench.engine.architectures import build_network

    with torch.device("meta"):
        return build_network(config.network, benchmark.input_shape, benchmark.n_outputs).size


def pack(
    configs: Iterable[RunConfig], steps: dict[str, int], limits: dict[str, int], workers: int
) -> list[Stack]:
    """Return stacks of the runs, longest first, that finish earliest on so many workers.

    Args:
        configs: the runs to pack.
        steps: minibatches of a run, by stack key.
        limits: the most runs of one stack, by stack key.
        workers: how many stacks train at the same time; each takes the next as it is free.
    """
    groups: dict[str, list[RunConfig]] = {}
    for config in configs:
        groups.setdefault(stack_key(config), []).append(config)
    if not groups:
        return []
    whole = sum(len(group) * steps[key] for key, group in groups.items())
    best: list[Stack] = []
    for shares in (1, 1.5, 2, 3, 4):
        share = whole / (workers * shares) if workers > 1 else math.inf
        stacks = []
        for key, group in groups.items():
            by_share = math.ceil(round(len(group) * steps[key] / share, 6))
            parts = min(len(group), max(1, by_share, math.ceil(len(group) / limits[key])))
            stacks += [Stack(tuple(part), steps[key]) for part in _split(group, parts)]
        stacks.sort(key=lambda stack: -stack.work)
        if not best or _time(stacks, workers) < 0.99 * _time(best, workers):
            best = stacks
    return best


def _split(group: list[RunConfig], parts: int) -> list[list[RunConfig]]:
    """Cut a group into parts whose sizes differ by one at most; runs of one seed stay near."""
    ordered = sorted(group, key=lambda config: config.seed)
    cuts = [round(number * len(ordered) / parts) for number in range(parts + 1)]
    return [ordered[start:stop] for start, stop in itertools.pairwise(cuts)]


def _time(stacks: Sequence[Stack], workers: int) -> float:
    """Return when the last worker is done, each taking the next stack as it is free."""
    free = [0.0] * workers
    for stack in stacks:
        heapq.heappushpop(free, free[0] + stack.work)
    return max(free)


def _count_steps(config: RunConfig, benchmark: Benchmark, strategy: type[Strategy]) -> int:
    from cl_bench.engine import count_steps

    return count_steps(config, benchmark, strategy)
