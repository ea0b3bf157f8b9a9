"""What a worker process does: train the stacks it is sent, store their records, report.

It talks to its parent through one pipe, and ends when the parent is gone, so that nothing
is left running behind a killed command.
"""

from __future__ import annotations

import importlib
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cl_bench.errors import UserError
from cl_bench.planning.packing import Stack

REPORT_EVERY = 0.2
"""Seconds between reports of progress."""


@dataclass(frozen=True)
class Work:
    """What is the same for every stack of a plan."""

    out: Path
    """The folder that records are written to."""
    device: str = "cpu"
    data_dir: Path | None = None
    strategy_files: tuple[Path, ...] = ()
    """Strategy files from outside the suite (`finding.added_files`)."""
    checkpoint_seconds: float | None = 15.0
    """Seconds between checkpoints of a stack; None makes none by time."""
    checkpoint_steps: int | None = None
    """Training steps between checkpoints; None makes none by steps."""


def train_and_store(stack: Stack, work: Work, on_progress: Callable[[int, int], None]) -> None:
    """Train one stack, from its checkpoint on if it has one; write a record of each of its runs."""
    from cl_bench.engine import train_stack
    from cl_bench.engine.checkpoint import Checkpoint, path_for
    from cl_bench.planning import finding
    from cl_bench.results.store import RunStore

    for path in work.strategy_files:
        finding.add_file(path)
    store = RunStore(work.out)
    given: dict[str, Any] = {
        "device": work.device,
        "data_dir": work.data_dir,
        "on_progress": on_progress,
    }
    strategy = finding.load(stack.configs[0].strategy.name)
    if strategy.trainer:
        module, _, name = strategy.trainer.partition(":")
        for record in getattr(importlib.import_module(module), name)(stack.configs, **given):
            store.write(record)
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
        store.write(record)
    checkpoint.remove()


def explain(error: BaseException) -> tuple[str, str]:
    """Return an error in one line, and its traceback where it is a fault of the suite."""
    if isinstance(error, UserError):
        return str(error), ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}", "".join(traceback.format_exception(error))


def serve(connection: Connection, work: Work) -> None:
    """Train every stack that comes through the pipe; None ends it.

    It sends ("progress", done, total) now and then, and for each stack in the end ("done",)
    or ("failed", one line, traceback).
    """
    # Ctrl-C reaches the whole group of processes; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT_EVERY:
            last = now
            connection.send(("progress", done, total))

    try:
        while (stack := connection.recv()) is not None:
            try:
                train_and_store(stack, work, report)
            except (BrokenPipeError, EOFError):
                raise
            except Exception as error:
                connection.send(("failed", *explain(error)))
            else:
                connection.send(("done",))
    except (BrokenPipeError, EOFError, ConnectionResetError):
        pass  # the parent is gone; what it still wanted can be resumed
