"""Carries out a plan: what is done with each of its stacks, which the pool deals out."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cl_bench.execution.pool import Outcome, Report, Watcher, carry_out
from cl_bench.planning.packing import Stack


@dataclass(frozen=True)
class Work:
    """What is the same for every stack of a plan."""

    out: Path
    """The folder that records are written to."""
    device: str = "cpu"
    data_dir: Path | None = None
    strategy_files: tuple[Path, ...] = ()
    """Strategy files from outside the suite (`finding.added_files`)."""
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    """Benchmarks from outside the suite (`bringing.brought`)."""
    networks: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Network files (`own_networks.brought`)."""
    checkpoint_seconds: float | None = 15.0
    """Seconds between checkpoints of a stack; None makes none by time."""
    checkpoint_steps: int | None = None
    """Training steps between checkpoints; None makes none by steps."""


def execute(
    stacks: Sequence[Stack], work: Work, *, workers: int = 1, watcher: Watcher[Stack] | None = None
) -> Outcome[Stack]:
    """Train every stack and store its records (`pool.carry_out`).

    Strategies, benchmarks and networks that only this process knows are trained in it, beside the
    workers.
    """
    from cl_bench.planning import bringing, own_networks, session

    def only_here(stack: Stack) -> bool:
        config = stack.configs[0]
        return (
            session.find(config.strategy.name) is not None
            or bringing.known_here_alone(config.benchmark.name)
            or own_networks.known_here_alone(config.network)
        )

    return carry_out(
        partial(train_and_store, work),
        stacks,
        workers=workers,
        watcher=watcher,
        here=only_here,
    )


def train_and_store(work: Work, stack: Stack, report: Report) -> None:
    """Train one stack, from its checkpoint on if it has one; write a record of each of its runs."""
    from cl_bench.engine import train_stack
    from cl_bench.engine.checkpoint import Checkpoint, path_for
    from cl_bench.planning import bringing, finding, own_networks
    from cl_bench.planning.code import code_of
    from cl_bench.results.record import RunRecord
    from cl_bench.results.store import RunStore

    for path in work.strategy_files:
        finding.add_file(path)
    config = stack.configs[0]
    if benchmark := work.benchmarks.get(config.benchmark.name):
        bringing.resolve(benchmark)
    if network := work.networks.get((config.network.name, config.network.code or "")):
        own_networks.resolve(network)
    store = RunStore(work.out)
    given: dict[str, Any] = {
        "device": work.device,
        "data_dir": work.data_dir,
        "on_progress": lambda done, total: report("", done / total if total else 0.0),
    }
    code = code_of(config.strategy.name)
    strategy = finding.load(config.strategy.name)

    def keep(record: RunRecord) -> None:
        if code is not None:
            record.provenance["code"] = code
        store.write(record)

    if strategy.trainer:
        module, _, name = strategy.trainer.partition(":")
        for record in getattr(importlib.import_module(module), name)(stack.configs, **given):
            keep(record)
        return
    checkpoint = Checkpoint(
        stack.checkpoint or path_for(work.out, [config.run_id for config in stack.configs]),
        seconds=work.checkpoint_seconds,
        steps=work.checkpoint_steps,
    )
    make_probe = None
    samples = stack.configs[0].evaluation.landscape
    if samples is not None:
        from cl_bench.instruments.probe import LandscapeProbe

        make_probe = partial(LandscapeProbe, samples=samples)
    given |= {"checkpoint": checkpoint, "make_probe": make_probe}
    for record in train_stack(stack.configs, strategy, **given):
        keep(record)
    checkpoint.remove()
