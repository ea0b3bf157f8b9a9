"""`cl_bench run`: train strategies on a task sequence, keep the records, show what they forget."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, counted, emit_many, remark
from cl_bench.errors import UserError
from cl_bench.tracking.mode import Mode

if TYPE_CHECKING:
    from cl_bench.config import RunConfig
    from cl_bench.execution import Outcome, Work
    from cl_bench.plan import Plan, Stack
    from cl_bench.protocol import Protocol
    from cl_bench.tracking.sink import Sink


class Device(StrEnum):
    """Where a plan is trained."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def run(
    context: typer.Context,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="Names or ./files.py, separated by commas; may be repeated."),
    ] = None,
    benchmark: Annotated[str | None, typer.Option(help="See `list benchmarks`.")] = None,
    tasks: Annotated[int | None, typer.Option(help="Number of tasks.")] = None,
    scenario: Annotated[str | None, typer.Option(help="task, domain or class.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds (default 5).")] = None,
    config: Annotated[
        str | None, typer.Option(help="A protocol: a name of `list configs` or a YAML file.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Such as training.epochs=2 or ewc.strength=[10,100] (a grid); may be repeated.",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="auto is cuda where there is one.")] = Device.AUTO,
    workers: Annotated[
        int | None, typer.Option(help="Processes (default: one a core; 1 on cuda).", min=1)
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder to search for data first.")] = None,
    download: Annotated[
        bool, typer.Option("--download/--no-download", help="Fetch data that are missing.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = Path("runs"),
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Seconds between checkpoints of a stack; 0 for none.", min=0)
    ] = 15,
    checkpoint_steps: Annotated[
        int, typer.Option(help="Training steps between checkpoints; 0 for none.", min=0)
    ] = 0,
    wandb: Annotated[
        str, typer.Option(help="auto (online where there is a key), online, offline or off.")
    ] = "auto",
    format: FormatOption = Format.TABLE,
    picture: Annotated[
        bool, typer.Option("--picture/--no-picture", help="Draw OUT/forgetting.svg.")
    ] = True,
) -> None:
    """Train strategies and show how much they forget; runs that have a record are not run again."""
    from cl_bench import protocol

    names = [name for text in strategy or [] for name in text.split(",") if name]
    protocols = protocol.read(
        config,
        strategies=names,
        options={
            "benchmark.name": benchmark,
            "benchmark.tasks": tasks,
            "benchmark.scenario": scenario,
            "seeds": seeds,
        },
        assignments=set_ or [],
    )
    mode = _mode(wandb)
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"--data-dir {data_dir}: there is no such folder")
    work, workers = prepare(out, device, data_dir, workers)
    work = replace(
        work,
        checkpoint_seconds=checkpoint_seconds or None,
        checkpoint_steps=checkpoint_steps or None,
    )
    plan = plan_runs(protocols, work, workers, download)
    typed: tuple[str, ...] = context.obj or ("run",)
    outcome = carry_out(plan, work, workers, mode, typed)
    _show(plan, out, format, picture, typed)
    if outcome.failures:
        runs = sum(len(failure.stack.configs) for failure in outcome.failures)
        remark(f"{counted(runs, 'run')} failed; {resume_with(typed)}")
        raise typer.Exit(1)


def _mode(text: str) -> Mode:
    from cl_bench.errors import unknown

    names = {"off": Mode.DISABLED, **{mode.value: mode for mode in Mode}}
    if text not in names:
        raise unknown("W&B mode", text, names)
    return names[text]


def prepare(
    out: Path, device: Device, data_dir: Path | None, workers: int | None
) -> tuple[Work, int]:
    """Return what all stacks share and the number of workers, having checked both."""
    from cl_bench import registry
    from cl_bench.engine import pick_device
    from cl_bench.execution import Work, cores
    from cl_bench.results.store import RunStore

    chosen = pick_device(device.value).type
    RunStore(out).check_writable()
    work = Work(out, chosen, data_dir, tuple(registry.added_files()))
    return work, workers or (1 if chosen == "cuda" else cores())


def _device_memory(device: str) -> int | None:
    """Return the free bytes of a CUDA device; None where the machine's own memory counts."""
    if device != "cuda":
        return None
    import torch

    return int(torch.cuda.mem_get_info()[0])


def plan_runs(protocols: Sequence[Protocol], work: Work, workers: int, download: bool) -> Plan:
    """Return the plan of what is asked for, and tell the user how much of it is to do."""
    from cl_bench import benchmarks
    from cl_bench.engine.checkpoint import unfinished
    from cl_bench.plan import make_plan
    from cl_bench.results.store import RunStore

    plan = make_plan(
        protocols,
        lambda config: benchmarks.get(config, data_dir=work.data_dir, download=download),
        workers=workers,
        is_stored=RunStore(work.out).exists,
        unfinished=unfinished(work.out),
        memory=_device_memory(work.device),
    )
    for notice in plan.notices:
        remark(notice)
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


def carry_out(plan: Plan, work: Work, workers: int, mode: Mode, typed: Sequence[str]) -> Outcome:
    """Train what a plan has left, send all of it to W&B; one that is stopped ends the command."""
    from cl_bench.execution import Interrupted, Outcome, PlanProgress, execute
    from cl_bench.results.store import RunStore
    from cl_bench.tracking.sink import Sink

    with Sink(mode, directory=work.out, say=remark) as sink:
        if mode != Mode.DISABLED:
            remark(sink.describe())
        _send(sink, plan.stored, work.out)
        if not plan.stacks:
            return Outcome()

        def on_finished(stack: Stack) -> None:
            _send(sink, stack.configs, work.out)

        progress = PlanProgress(plan.stacks, on_finished=on_finished)
        try:
            with progress:
                return execute(plan.stacks, work, workers=workers, watcher=progress)
        except Interrupted as stopped:
            store = RunStore(work.out)
            kept = sum(store.exists(config) for config in plan.configs)
            remark(f"stopped; {kept} of {len(plan.configs)} runs are kept; {resume_with(typed)}")
            raise typer.Exit(128 + stopped.signal_number) from None


def _send(sink: Sink, configs: Sequence[RunConfig], out: Path) -> None:
    """Send stored runs to W&B, unless they are there; a sink never fails a run."""
    from cl_bench.results.store import RunStore

    if sink.mode == Mode.DISABLED:
        return
    store = RunStore(out)
    for config in configs:
        if not sink.sent_before(config.run_id):
            sink.send(store.read(store.directory(config)))


def _show(plan: Plan, out: Path, format: Format, picture: bool, typed: Sequence[str]) -> None:
    """Print what came of the plan's runs, draw the picture, and say what to type next."""
    from cl_bench.report import tables

    wanted = {config.run_id for config in plan.configs}
    runs = tables.select(out, run_ids=wanted)
    if not runs:
        return
    found = {"results": tables.results(runs, people=format is Format.TABLE)}
    if runs.groups > 1:
        for metric in ("average_accuracy", "forgetting"):
            rows = tables.differences(runs, metric, people=format is Format.TABLE)
            found[f"paired differences in {metric.replace('_', ' ')}"] = rows
    emit_many(found, format)
    if picture and runs.protocols == 1:
        from cl_bench.report.curves import draw

        path = out / "forgetting.svg"
        draw(runs.accuracy, path)
        remark(f"picture: {path}")
    elif picture:
        remark("no picture: these runs are of several protocols")
    strategies = list(dict.fromkeys(config.strategy.name for config in plan.configs))
    remark(f"next: {_next(strategies, out, typed)}")


def _next(strategies: Sequence[str], out: Path, typed: Sequence[str]) -> str:
    """Return the command that leads on: to a comparison, with the same options otherwise."""
    if len(strategies) > 1:
        where = "" if out == Path("runs") else f" --out {shlex.quote(str(out))}"
        return f"python -m cl_bench compare{where}"
    rest, words = [], iter(typed)
    for word in words:
        if word == "--strategy":
            next(words, None)
        elif not word.startswith("--strategy="):
            rest.append(word)
    others = [name for name in ("naive", "ewc", "flatness") if name not in strategies]
    chosen = ",".join([*_given(typed, strategies), *others])
    return f"python -m cl_bench {shlex.join([*rest, '--strategy', chosen])}"


def _given(typed: Sequence[str], strategies: Sequence[str]) -> list[str]:
    """Return the strategies as they were typed, for a file's path is more than its name."""
    files = [
        word
        for text in typed
        for word in text.removeprefix("--strategy=").split(",")
        if word.endswith(".py")
    ]
    return files or list(strategies)


def resume_with(typed: Sequence[str]) -> str:
    """Return what to type to go on."""
    return f"resume with: python -m cl_bench {shlex.join(typed)}"
