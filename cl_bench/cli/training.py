"""What commands that train share: their options, where to train, the plan, carrying it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.output import counted, remark
from cl_bench.errors import UserError

if TYPE_CHECKING:
    from cl_bench.config import Protocol, RunConfig
    from cl_bench.execution.worker import Work
    from cl_bench.planning.packing import Plan, Stack
    from cl_bench.results.store import RunStore


class Device(StrEnum):
    """Where a plan is trained."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


StrategyOption = Annotated[
    list[str] | None,
    typer.Option(help="Names or ./files.py, separated by commas; may be repeated."),
]
BenchmarkOption = Annotated[str | None, typer.Option(help="See `list benchmarks`.")]
TasksOption = Annotated[int | None, typer.Option(help="Number of tasks.")]
ScenarioOption = Annotated[str | None, typer.Option(help="task, domain or class.")]
SeedsOption = Annotated[
    str | None,
    typer.Option(help="Number of seeds (default 5), or the seeds themselves, such as 5,6,7."),
]
ConfigOption = Annotated[
    str | None, typer.Option(help="A protocol: a name of `list configs` or a YAML file.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Such as training.epochs=2 or ewc.strength=[10,100] (a grid); may be repeated.",
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="auto is cuda where there is one.")]
WorkersOption = Annotated[
    int | None, typer.Option(help="Processes (default: one a core; 1 on cuda).", min=1)
]


def _folder_there(data_dir: Path | None) -> Path | None:
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"--data-dir {data_dir}: there is no such folder")
    return data_dir


DataDirOption = Annotated[
    Path | None, typer.Option(help="Folder to search for data first.", callback=_folder_there)
]
DownloadOption = Annotated[
    bool, typer.Option("--download/--no-download", help="Fetch data that are missing.")
]


def prepare(
    out: Path, device: Device, data_dir: Path | None, workers: int | None
) -> tuple[Work, int]:
    """Return what all stacks share and the number of workers, having checked both."""
    from cl_bench.engine import pick_device
    from cl_bench.execution.pool import cores
    from cl_bench.execution.worker import Work
    from cl_bench.planning import finding
    from cl_bench.results.store import RunStore

    chosen = pick_device(device.value).type
    RunStore(out).check_writable()
    work = Work(out, chosen, data_dir, tuple(finding.added_files()))
    return work, workers or (1 if chosen == "cuda" else cores())


def plan_runs(protocols: Sequence[Protocol], work: Work, workers: int, download: bool) -> Plan:
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
        remark(notice)
    _tell_of_other_code(plan, store)
    stored, todo = len(plan.stored), len(plan.configs) - len(plan.stored)
    if not todo:
        remark(f"nothing to train: {counted(stored, 'run')} in {work.out} already")
        return plan
    stacks, busy = len(plan.stacks), min(workers, len(plan.stacks))
    resumed = sum(len(stack.configs) for stack in plan.stacks if stack.checkpoint)
    remark(
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
) -> int:
    """Train what has no record yet and return how many runs failed; a signal ends the command.

    Args:
        plan: what to train.
        work: what all stacks share.
        workers: processes.
        on_finished: called with each stack whose records are stored.
        go_on: what a user who has stopped it is told to do.
    """
    from cl_bench.execution.progress import PlanProgress
    from cl_bench.execution.signals import Interrupted
    from cl_bench.execution.worker import execute

    if not plan.stacks:
        return 0
    try:
        with PlanProgress(plan.stacks, on_finished=on_finished) as progress:
            outcome = execute(plan.stacks, work, workers=workers, watcher=progress)
    except Interrupted as stopped:
        remark(f"stopped; {_kept(plan, work)}; {go_on}")
        raise typer.Exit(stopped.exit_code) from None
    return sum(len(failure.part.configs) for failure in outcome.failures)


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


def _tell_of_other_code(plan: Plan, store: RunStore) -> None:
    """Say which runs are trained again, because other code of their strategy made the record."""
    from cl_bench.results.store import REPLACED

    done = {config.run_id for config in plan.stored}
    again = [c for c in plan.configs if c.run_id not in done and store.exists(c)]
    if again:
        names = ", ".join(dict.fromkeys(config.strategy.name for config in again))
        remark(
            f"the code of {names} has changed: {counted(len(again), 'run')} trained before that "
            f"will be trained again; the old records are kept in {store.root / REPLACED}"
        )


def _device_memory(device: str) -> int | None:
    """Return the free bytes of a CUDA device; None where the machine's own memory counts."""
    if device != "cuda":
        return None
    import torch

    return int(torch.cuda.mem_get_info()[0])
