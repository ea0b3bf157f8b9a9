"""Kill a training with SIGKILL at random moments, resume it, and compare what comes out.

Each attempt is a process of its own, forked from this one, that trains and stores a run exactly
as `run` does; a kill may fall anywhere, in the middle of writing a checkpoint or a record too.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_bench.config import RunConfig
from cl_bench.engine.checkpoint import path_for
from cl_bench.execution.worker import Work, train_and_store
from cl_bench.planning.packing import Stack
from cl_bench.results.store import RunStore

EVERY = 5
"""Training steps between checkpoints."""


@dataclass
class Killed:
    """What came of one run that was killed again and again."""

    strategy: str
    scenario: str
    kills: int = 0
    """Processes killed before they had ended."""
    resumed: int = 0
    """Processes that found a checkpoint."""
    records: int = 0
    """Records finished after kills, each compared with the undisturbed one."""
    differing: int = 0
    """Files and figures of these records that differ from the undisturbed one in any bit."""


def kill_and_compare(config: RunConfig, folder: Path, kills: int, chance: random.Random) -> Killed:
    """Kill the training of a run so many times, and compare each record that it still finishes.

    Args:
        config: the run.
        folder: an empty folder to work in.
        kills: how many processes to kill.
        chance: when to kill.

    Raises:
        RuntimeError: the training fails of itself.
    """
    stack = Stack((config,), 0)
    started = time.monotonic()
    _attempt(stack, Work(folder / "whole", checkpoint_seconds=None))
    seconds = time.monotonic() - started
    expected = _bits(config, folder / "whole")
    found = Killed(config.strategy.name, str(config.benchmark.scenario))
    work = Work(folder / "killed", checkpoint_seconds=None, checkpoint_steps=EVERY)
    checkpoint = path_for(work.out, [config.run_id])
    while found.kills < kills or not found.records:
        wanted = found.kills < kills
        found.resumed += checkpoint.exists()
        if not _attempt(stack, work, chance.uniform(0, 0.7 * seconds) if wanted else None):
            found.kills += 1
            continue
        got = _bits(config, work.out)
        found.records += 1
        found.differing += sum(got[name] != value for name, value in expected.items())
        _forget(config, work.out)
    return found


def _attempt(stack: Stack, work: Work, kill_after: float | None = None) -> bool:
    """Train in a process; return whether it ended of itself, rather than by being killed."""
    process = multiprocessing.get_context("fork").Process(target=_train, args=(stack, work))
    process.start()
    process.join(kill_after)
    if process.exitcode is None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    if process.exitcode == -signal.SIGKILL:
        return False
    if process.exitcode:
        raise RuntimeError(f"{stack.configs[0].strategy.name}: the training process failed")
    return True


def _train(stack: Stack, work: Work) -> None:
    train_and_store(work, stack, lambda doing, share: None)


def _bits(config: RunConfig, out: Path) -> dict[str, Any]:
    """Return all that must be the same: every file's hash and every figure but times."""
    store = RunStore(out)
    run = store.open(store.directory(config))
    run.verify()
    plain = {k: v for k, v in run.content.items() if k not in ("provenance", "sha256", "files")}
    plain["cost"] = {k: v for k, v in plain["cost"].items() if k != "seconds"}
    return {**plain, **run.content["files"]}


def _forget(config: RunConfig, out: Path) -> None:
    directory = RunStore(out).directory(config)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def as_rows(found: list[Killed]) -> list[dict[str, Any]]:
    """Return the outcome as table rows."""
    return [dataclasses.asdict(each) for each in found]
