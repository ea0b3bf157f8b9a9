"""`cl_bench run`: train strategies on a task sequence, keep the records, show what they forget."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.api.training import Terms, carry_out
from cl_bench.cli.output import Format, FormatOption, counted, emit_many, remark
from cl_bench.cli.training import (
    BenchmarkOption,
    ConfigOption,
    DataDirOption,
    Device,
    DeviceOption,
    DownloadOption,
    NetworkOption,
    ScenarioOption,
    SeedsOption,
    SetOption,
    StrategyOption,
    TasksOption,
    WorkersOption,
)
from cl_bench.execution.plans import runs_in
from cl_bench.planning.parsing import parse_seeds, split_names

if TYPE_CHECKING:
    from cl_bench.config import RunConfig
    from cl_bench.planning.packing import Plan


def run(
    context: typer.Context,
    strategy: StrategyOption = None,
    benchmark: BenchmarkOption = None,
    tasks: TasksOption = None,
    scenario: ScenarioOption = None,
    network: NetworkOption = None,
    seeds: SeedsOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    device: DeviceOption = Device.AUTO,
    workers: WorkersOption = None,
    data_dir: DataDirOption = None,
    download: DownloadOption = True,
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
    from cl_bench.planning import reading

    names = split_names(strategy)
    protocols = reading.read(
        config,
        strategies=names,
        options={
            "benchmark.name": benchmark,
            "benchmark.tasks": tasks,
            "benchmark.scenario": scenario,
            "network.name": network,
            "seeds": None if seeds is None else parse_seeds(seeds),
        },
        assignments=set_ or [],
    )
    terms = Terms(
        out, device, workers, data_dir, download, checkpoint_seconds, checkpoint_steps, wandb
    )
    typed = _in_force(context)
    done = carry_out(protocols, terms, go_on=_resume(typed))
    _show(done.plan, out, format, picture, typed)
    if done.failures:
        remark(f"{counted(runs_in(done.failures), 'run')} failed; {_resume(typed)}")
        raise typer.Exit(1)


def _in_force(context: typer.Context) -> list[str]:
    """Return what was typed, without what the same option overrides later on."""
    options = {
        name: option
        for option in context.command.params
        for name in (*option.opts, *option.secondary_opts)
    }
    found: dict[object, list[str]] = {}
    words = iter(context.obj or ("run",))
    for word in words:
        name, given, _ = word.partition("=")
        option = options.get(name)
        part = [word]
        if option is not None and not (given or getattr(option, "is_flag", False)):
            part += itertools.islice(words, 1)
        several = getattr(option, "multiple", False)
        key = tuple(part) if option is None or several else option.name
        found.pop(key, None)
        found[key] = part
    return list(itertools.chain(*found.values()))


def _show(plan: Plan, out: Path, format: Format, picture: bool, typed: Sequence[str]) -> None:
    """Print what came of the plan's runs, draw the picture, and say what to type next."""
    from cl_bench.report import differences, selection, tables

    wanted = {config.run_id for config in plan.configs}
    runs = selection.select(out, run_ids=wanted)
    if not runs:
        return
    metrics = tables.HEADLINES if runs.groups > 1 else ()
    found, remarks = differences.comparison(runs, metrics, people=format is Format.TABLE)
    emit_many(found, format)
    for line in (*remarks, *runs.diverged):
        remark(line)
    if picture and runs.metrics["diverged"].all():
        remark("no picture: all of these runs diverged")
    elif picture and len(runs.protocols) == 1:
        from cl_bench.report.curves import draw

        path = out / "forgetting.svg"
        draw(runs.accuracy, path)
        remark(f"picture: {path}")
    elif picture:
        remark("no picture: these runs are of several protocols")
    for line in _in_words(plan.configs):
        remark(line)
    strategies = list(dict.fromkeys(config.strategy.name for config in plan.configs))
    remark(f"next: {_next(strategies, out, typed)}")


def _in_words(configs: Sequence[RunConfig]) -> list[str]:
    """Return what the runs were of, a line for each protocol."""
    seeds: dict[str, list[int]] = {}
    by_protocol = {config.protocol_id: config for config in configs}
    for config in configs:
        seeds.setdefault(config.protocol_id, []).append(config.seed)
    lines = []
    for protocol_id, config in by_protocol.items():
        benchmark, network, training = config.benchmark, config.network, config.training
        epochs = f"{training.epochs or 0:g} epoch{'' if training.epochs == 1 else 's'}"
        length = f"{training.iterations} minibatches" if training.iterations else epochs
        widths = (
            " " + "-".join(map(str, network.hidden)) if network.name in ("mlp", "convnet") else ""
        )
        given = [str(seed) for seed in sorted(set(seeds[protocol_id]))]
        lines.append(
            f"trained on: {benchmark.name}, {benchmark.scenario} scenario, "
            f"{counted(benchmark.tasks or 0, 'task')}; {network.name}{widths}; "
            f"{config.optimizer.name} at {config.optimizer.learning_rate:g}, {length} a task, "
            f"batches of {training.batch_size}; seed{'s' * (len(given) > 1)} {', '.join(given)}"
        )
    return lines


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
    given = [value for option, value in pairwise(typed) if option == "--strategy"]
    given += [text.removeprefix("--strategy=") for text in typed if text.startswith("--strategy=")]
    files = [word for text in given for word in text.split(",") if word.endswith(".py")]
    return files or list(strategies)


def _resume(typed: Sequence[str]) -> str:
    return f"resume with: python -m cl_bench {shlex.join(typed)}"
