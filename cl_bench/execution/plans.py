"""Makes plans and carries them out, for the command line and for Python alike.

What the user should know beside the results is said line by line: on stderr, or where `say` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cl_bench.errors import UserError, unknown
from cl_bench.execution.remarks import Say, remark
from cl_bench.plain import counted

if TYPE_CHECKING:
    from cl_bench.config import Protocol, RunConfig
    from cl_bench.execution.pool import Failure
    from cl_bench.execution.worker import Work
    from cl_bench.planning.packing import Plan, Stack
    from cl_bench.results.store import RunStore

DEVICES = ("auto", "cpu", "cuda")


def prepare(out: Path, device: str, data_dir: Path | None, workers: int | None) -> tuple[Work, int]:
    """Return what all stacks share and the number of workers, having checked both.

    Args:
        out: the folder of the records; it is made.
        device: "auto" (cuda where there is one), "cpu" or "cuda".
        data_dir: the folder to search for data first.
        workers: processes; None is one a core, or one on cuda.

    Raises:
        UserError: records cannot be written there, or there is no such device.
    """
    from cl_bench.engine import pick_device
    from cl_bench.execution.pool import cores
    from cl_bench.execution.worker import Work
    from cl_bench.planning import bringing, finding, own_networks
    from cl_bench.results.store import RunStore

    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if workers is not None and workers < 1:
        raise UserError(f"workers = {workers}: should be at least 1")
    chosen = pick_device(device).type
    RunStore(out).check_writable()
    work = Work(
        out,
        chosen,
        data_dir,
        tuple(finding.added_files()),
        bringing.brought(),
        own_networks.brought(),
    )
    return work, workers or (1 if chosen == "cuda" else cores())


def plan_runs(
    protocols: Sequence[Protocol],
    work: Work,
    workers: int,
    download: bool = True,
    say: Say = remark,
) -> Plan:
    """Return the plan of some protocols, having told the user what it will do."""
    from cl_bench import benchmarks
    from cl_bench.engine.checkpoint import unfinished
    from cl_bench.planning.packing import make_plan
    from cl_bench.results.store import RunStore

    store = RunStore(work.out)
    plan = make_plan(
        protocols,
        lambda config: benchmarks.get(config, data_dir=work.data_dir, download=download),
        workers=workers,
        is_stored=stored_in(store),
        unfinished=unfinished(work.out),
        memory=_device_memory(work.device),
    )
    for notice in plan.notices:
        say(notice)
    _tell_of_other_code(plan, store, say)
    stored, todo = len(plan.stored), len(plan.configs) - len(plan.stored)
    if not todo:
        say(f"nothing to train: {counted(stored, 'run')} in {work.out} already")
        return plan
    stacks, busy = len(plan.stacks), min(workers, len(plan.stacks))
    resumed = sum(len(stack.configs) for stack in plan.stacks if stack.checkpoint)
    say(
        f"training {counted(todo, 'run')} in {counted(stacks, 'stack')} "
        f"on {counted(busy, f'{work.device} worker')}"
        + (f"; {resumed} resumed from a checkpoint" if resumed else "")
        + (f"; {counted(stored, 'run')} in {work.out} already" if stored else "")
    )
    return plan


def train(
    plan: Plan,
    work: Work,
    workers: int,
    *,
    on_finished: Callable[[Stack], None] = lambda stack: None,
    go_on: str = "the same command goes on from here",
    say: Say = remark,
) -> list[Failure[Stack]]:
    """Train what has no record yet and return the stacks that failed.

    Args:
        plan: what to train.
        work: what all stacks share.
        workers: processes.
        on_finished: called with each stack whose records are stored.
        go_on: what a user who has stopped it is told to do.
        say: is told what there is of a plan that was stopped.

    Raises:
        Interrupted: by Ctrl-C or a polite kill; what has been trained is kept.
    """
    from cl_bench.execution.progress import PlanProgress
    from cl_bench.execution.signals import Interrupted
    from cl_bench.execution.worker import execute

    if not plan.stacks:
        return []
    try:
        with PlanProgress(plan.stacks, on_finished=on_finished) as progress:
            outcome = execute(plan.stacks, work, workers=workers, watcher=progress)
    except Interrupted:
        say(f"stopped; {_kept(plan, work)}; {go_on}")
        raise
    return outcome.failures


def runs_in(failures: Sequence[Failure[Stack]]) -> int:
    """Return how many runs the stacks hold that failed."""
    return sum(len(failure.part.configs) for failure in failures)


def _kept(plan: Plan, work: Work) -> str:
    """Return what there is of a plan that was stopped."""
    from cl_bench.engine.checkpoint import unfinished
    from cl_bench.results.store import RunStore

    is_stored, runs = stored_in(RunStore(work.out)), len(plan.configs)
    stored = {config.run_id for config in plan.configs if is_stored(config)}
    kept = {config.run_id for config in plan.configs} - stored
    kept &= {run_id for runs_of in unfinished(work.out).values() for run_id in runs_of}
    go_on = f"{len(kept)} more will go on from their checkpoint"
    return f"{len(stored)} of {counted(runs, 'run')} are finished and kept, {go_on}"


def stored_in(store: RunStore) -> Callable[[RunConfig], bool]:
    """Return what tells whether a run has a record that its strategy's code of now has made."""
    from cl_bench.planning.code import code_of

    code = cache(code_of)
    return lambda config: store.exists(config, code(config.strategy.name))


def _tell_of_other_code(plan: Plan, store: RunStore, say: Say) -> None:
    """Say which runs are trained again, because other code of their strategy made the record."""
    from cl_bench.results.store import REPLACED

    done = {config.run_id for config in plan.stored}
    again = [c for c in plan.configs if c.run_id not in done and store.exists(c)]
    if again:
        names = ", ".join(dict.fromkeys(config.strategy.name for config in again))
        say(
            f"the code of {names} has changed: {counted(len(again), 'run')} trained before that "
            f"will be trained again; the old records are kept in {store.root / REPLACED}"
        )


def _device_memory(device: str) -> int | None:
    """Return the free bytes of a CUDA device; None where the machine's own memory counts."""
    if device != "cuda":
        return None
    import torch

    return int(torch.cuda.mem_get_info()[0])
