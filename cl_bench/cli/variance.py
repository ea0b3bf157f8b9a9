"""`cl_bench variance`: what the seed of the stream does to a metric, and that of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_bench.cli.output import Format, FormatOption, counted, emit, remark
from cl_bench.cli.training import (
    BenchmarkOption,
    ConfigOption,
    DataDirOption,
    Device,
    DeviceOption,
    DownloadOption,
    ScenarioOption,
    SetOption,
    StrategyOption,
    TasksOption,
    WorkersOption,
)
from cl_bench.errors import UserError
from cl_bench.execution.plans import plan_runs, prepare, runs_in, train
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.config import Protocol

StreamsOption = Annotated[int, typer.Option(help="Seeds of the task stream.", min=2)]
InitsOption = Annotated[int, typer.Option(help="Seeds of the initial weights.", min=2)]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(help="See `list metrics`; may be repeated (average_accuracy, forgetting)."),
]
OutOption = Annotated[Path, typer.Option(help="Folder for the records.")]


def variance(
    strategy: StrategyOption = None,
    streams: StreamsOption = 5,
    inits: InitsOption = 5,
    metric: MetricOption = None,
    benchmark: BenchmarkOption = None,
    tasks: TasksOption = None,
    scenario: ScenarioOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    device: DeviceOption = Device.AUTO,
    workers: WorkersOption = None,
    data_dir: DataDirOption = None,
    download: DownloadOption = True,
    out: OutOption = Path("runs/variance"),
    format: FormatOption = Format.TABLE,
) -> None:
    """Train every stream from every initialisation, and split the variance between the two.

    A stream's seed is that of all but the initial weights: tasks, minibatches and what a strategy
    draws. Runs that have a record are not run again.
    """
    from cl_bench.metrics import lookup

    metrics = metric or ["average_accuracy", "forgetting"]
    for name in metrics:
        lookup(name)
    options = {
        "benchmark.name": benchmark,
        "benchmark.tasks": tasks,
        "benchmark.scenario": scenario,
        "seeds": streams,
    }
    found = _protocol(config, strategy, options, set_)
    grid = [found.model_copy(update={"init_seed": init}) for init in range(inits)]
    work, workers = prepare(out, device, data_dir, workers)
    plan = plan_runs(grid, work, workers, download)
    failed = runs_in(train(plan, work, workers))

    from cl_bench.report.seeds import as_text, effects
    from cl_bench.results.store import RunStore

    store = RunStore(out)
    runs = [store.open(store.directory(c)) for c in plan.configs if store.exists(c)]
    rows = effects(runs, metrics)
    shown = as_text(rows) if format is Format.TABLE else rows
    emit(
        shown, format, f"{counted(streams, 'stream')} from {counted(inits, 'initialisation')} each"
    )
    if failed:
        remark(f"{counted(failed, 'run')} failed")
        raise typer.Exit(1)


def _protocol(
    config: str | None,
    strategy: list[str] | None,
    options: dict[str, Any],
    assignments: list[str] | None,
) -> Protocol:
    """Return the one protocol whose grid is trained."""
    from cl_bench.planning import reading

    protocols = reading.read(
        config,
        strategies=split_names(strategy),
        options=options,
        assignments=assignments or [],
    )
    if len(protocols) > 1:
        raise UserError(f"these are {len(protocols)} protocols; a variance is of one")
    (found,) = protocols
    if found.init_seed is not None:
        raise UserError(f"init_seed = {found.init_seed}: --inits sets it; leave it out")
    return found
