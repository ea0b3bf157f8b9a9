"""`cl_bench tune`: choose settings by equal trials on validation data, and say what was tried."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, counted, emit_many, remark
from cl_bench.cli.training import (
    DataDirOption,
    Device,
    DeviceOption,
    DownloadOption,
    StrategyOption,
    WorkersOption,
    plan_runs,
    prepare,
    train,
)
from cl_bench.errors import UserError
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.benchmarks import Benchmark
    from cl_bench.config import BenchmarkConfig, Protocol
    from cl_bench.tuning.record import TuningRecord
    from cl_bench.tuning.search import Method


def tune(
    strategy: StrategyOption = None,
    config: Annotated[
        str | None,
        typer.Option(help="The protocol to tune for: a name of `list configs` or a YAML file."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Changes the protocol; a setting that is given a value is not tuned.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="Trials of each strategy.", min=1)] = 16,
    seeds: Annotated[int, typer.Option(help="Seeds of each trial.", min=1)] = 3,
    first_seed: Annotated[
        int, typer.Option(help="The first of them; from 1000 on, and never reported.")
    ] = 1000,
    method: Annotated[
        str, typer.Option(help="sobol (quasi-random), tpe (Optuna's) or halving.")
    ] = "sobol",
    metric: Annotated[
        str, typer.Option(help="What the best is best at; see `list metrics`.")
    ] = "average_accuracy",
    validation_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the training data to judge on (the protocol's, or 0.1)."),
    ] = None,
    tune_learning_rate: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Tune the learning rate of every strategy, too."),
    ] = None,
    range_: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="KEY=[LOW,HIGH]",
            help="Such as ewc.strength=[1,1000], in place of the declared one; may be repeated.",
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    workers: WorkersOption = None,
    data_dir: DataDirOption = None,
    download: DownloadOption = True,
    out: Annotated[
        Path, typer.Option(help="Folder for the records; those of tuning go to OUT/tuning.")
    ] = Path("runs"),
    picture: Annotated[
        Path | None, typer.Option(help="Draw the sensitivity to this .svg, .png or .html file.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Choose each strategy's settings: equal trials, validation data, seeds of their own.

    Trials that have a record are not run again: type the command again to go on.
    """
    from cl_bench import benchmarks
    from cl_bench.atomic import replace
    from cl_bench.report.style import check_path
    from cl_bench.results.store import RunStore
    from cl_bench.tuning import record, tables, tuned
    from cl_bench.tuning.study import Request, Study, drive

    protocol = _protocol(config, strategy or [], set_ or [])
    request = Request(
        protocol=protocol,
        trials=trials,
        seeds=seeds,
        first_seed=first_seed,
        method=_method(method),
        metric=metric,
        validation_fraction=validation_fraction,
        ranges=_ranges(range_ or [], protocol),
        learning_rate=tune_learning_rate,
    )
    request.check()
    if picture is not None:
        check_path(picture)
    work, workers = prepare(out / record.FOLDER / "runs", device, data_dir, workers)

    def get_benchmark(wanted: BenchmarkConfig) -> Benchmark:
        return benchmarks.get(wanted, data_dir=data_dir, download=download)

    studies = {name: Study(request, name, get_benchmark) for name in protocol.strategies}
    label = Path(config).stem if config else protocol.benchmark.name
    paths = {name: record.path_of(out, label, study.terms) for name, study in studies.items()}
    left = [studies[name] for name, path in paths.items() if not record.exists(path)]

    def carry_out(asked: Sequence[Protocol]) -> None:
        failed = train(plan_runs(asked, work, workers, download), work, workers)
        if failed:
            remark(f"{counted(failed, 'run')} failed; the same command tries them again")
            raise typer.Exit(1)

    store = RunStore(work.out)
    drive(left, store, carry_out)
    for study in left:
        record.write(paths[study.name], study.record(store, work.device))
    if not left:
        remark("nothing to tune: all of it is recorded already")
    records = [record.read(path) for path in paths.values()]
    found = {"chosen": tables.choices(records, people=format is Format.TABLE)}
    if sensitivity := tables.sensitivities(records):
        found["sensitivity"] = sensitivity
    emit_many(found, format)
    for each in records:
        for warning in tables.warnings(each):
            remark(f"warning: {warning}")
    for path in paths.values():
        remark(f"record: {path}")
    if picture is not None:
        _draw(records, picture)
    folder = next(iter(paths.values())).parent
    configs = tuned.configs(request, tuned.with_earlier(records, folder))
    for name, text in configs.items():
        replace(folder / name, text.encode())
    where = ["--out", str(out)] if out != Path("runs") else []
    where += ["--data-dir", str(data_dir)] if data_dir is not None else []
    for line in _commands(records, config, set_ or [], where):
        remark(line)
    for name in configs:
        words = ["run", "--config", str(folder / name), "--seeds", "10", *where]
        remark(f"next: python -m cl_bench {shlex.join(words)}")


def _protocol(config: str | None, given: Sequence[str], assignments: Sequence[str]) -> Protocol:
    """Return the one protocol whose strategies are to be tuned."""
    from cl_bench.planning import reading

    names = split_names(given)
    found = reading.read(config, strategies=names, assignments=assignments)
    if len(found) > 1:
        raise UserError(f"these are {len(found)} protocols; tune is for one: give no lists")
    return found[0]


def _method(text: str) -> Method:
    from cl_bench.errors import unknown
    from cl_bench.tuning.search import Method

    if text not in list(Method):
        raise unknown("method", text, list(Method))
    return Method(text)


def _ranges(texts: Sequence[str], protocol: Protocol) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the ranges asked for, by strategy and setting."""
    from cl_bench.errors import unknown
    from cl_bench.tuning.space import parse_range

    found: dict[str, dict[str, tuple[float, float]]] = {}
    for text in texts:
        name, setting, ends = parse_range(text)
        if name not in protocol.strategies:
            raise unknown("strategy in --range", name, protocol.strategies)
        found.setdefault(name, {})[setting] = ends
    return found


def _draw(records: Sequence[TuningRecord], picture: Path) -> None:
    from cl_bench.tuning.picture import draw

    drawn = draw(records, picture)
    remark(f"picture: {picture}" if drawn else "no picture: these strategies have nothing to tune")


def _commands(
    records: Sequence[TuningRecord],
    config: str | None,
    assignments: Sequence[str],
    where: Sequence[str],
) -> Iterator[str]:
    """Yield, for each strategy, the command that reports its choice."""
    from cl_bench.tuning import tuned

    names = {each.terms.strategy.name for each in records}
    for each in records:
        name = each.terms.strategy.name
        others = tuple(f"{other}." for other in names - {name})
        own = [t for t in assignments if not t.removeprefix("strategies.").startswith(others)]
        words = ["run", *(["--config", config] if config else [])]
        words += ["--strategy", tuned.as_given(name)]
        for text in [*own, *tuned.assignments(each)]:
            words += ["--set", text]
        if each.choice is not None:
            yield f"{name}: python -m cl_bench {shlex.join([*words, *where])}"
