"""`cl_bench tune`: choose settings by equal trials on validation data, and say what was tried."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, emit_many, remark
from cl_bench.cli.training import (
    DataDirOption,
    Device,
    DeviceOption,
    DownloadOption,
    NetworkOption,
    StrategyOption,
    WorkersOption,
)
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.tuning.record import TuningRecord


PlanOption = Annotated[
    str | None,
    typer.Option(help="The protocol to tune for: a name of `list configs` or a YAML file."),
]
HeldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Changes the protocol; a setting that is given a value is not tuned.",
    ),
]
TrialsOption = Annotated[int, typer.Option(help="Trials of each strategy.", min=1)]
SeedsOption = Annotated[int, typer.Option(help="Seeds of each trial.", min=1)]
FirstSeedOption = Annotated[
    int, typer.Option(help="The first of them; from 1000 on, and never reported.")
]
MethodOption = Annotated[str, typer.Option(help="sobol (quasi-random), tpe (Optuna's) or halving.")]
MetricOption = Annotated[str, typer.Option(help="What the best is best at; see `list metrics`.")]
FractionOption = Annotated[
    float | None,
    typer.Option(help="Share of the training data to judge on (the protocol's, or 0.1)."),
]
RateOption = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="Tune the learning rate of every strategy, too."),
]
RangeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        metavar="KEY=[LOW,HIGH]",
        help="Such as ewc.strength=[1,1000], in place of the declared one; may be repeated.",
    ),
]
OutOption = Annotated[
    Path, typer.Option(help="Folder for the records; those of tuning go to OUT/tuning.")
]
PictureOption = Annotated[
    Path | None, typer.Option(help="Draw the sensitivity to this .svg, .png or .html file.")
]


def tune(
    strategy: StrategyOption = None,
    network: NetworkOption = None,
    config: PlanOption = None,
    set_: HeldOption = None,
    trials: TrialsOption = 16,
    seeds: SeedsOption = 3,
    first_seed: FirstSeedOption = 1000,
    method: MethodOption = "sobol",
    metric: MetricOption = "average_accuracy",
    validation_fraction: FractionOption = None,
    tune_learning_rate: RateOption = None,
    range_: RangeOption = None,
    device: DeviceOption = Device.AUTO,
    workers: WorkersOption = None,
    data_dir: DataDirOption = None,
    download: DownloadOption = True,
    out: OutOption = Path("runs"),
    picture: PictureOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Choose each strategy's settings: equal trials, validation data, seeds of their own.

    Trials that have a record are not run again: type the command again to go on.
    """
    from cl_bench.api.training import TrainingError
    from cl_bench.api.tuning import carry_out, method_of, one_protocol, ranges_of, write_configs
    from cl_bench.planning import reading
    from cl_bench.report.style import check_path
    from cl_bench.tuning.space import parse_range
    from cl_bench.tuning.study import Request

    protocol = one_protocol(
        reading.read(
            config,
            strategies=split_names(strategy),
            options={"network.name": network},
            assignments=set_ or [],
        )
    )
    request = Request(
        protocol=protocol,
        trials=trials,
        seeds=seeds,
        first_seed=first_seed,
        method=method_of(method),
        metric=metric,
        validation_fraction=validation_fraction,
        ranges=ranges_of(map(parse_range, range_ or []), protocol),
        learning_rate=tune_learning_rate,
    )
    request.check()
    if picture is not None:
        check_path(picture)
    label = Path(config).stem if config else protocol.benchmark.name
    try:
        records = carry_out(
            request,
            out,
            label,
            device=device,
            workers=workers,
            data_dir=data_dir,
            download=download,
        )
    except TrainingError as error:
        remark(f"{error}; the same command tries them again")
        raise typer.Exit(1) from None
    _show(records, format)
    if picture is not None:
        _draw(list(records.values()), picture)
    where = ["--out", str(out)] if out != Path("runs") else []
    where += ["--data-dir", str(data_dir)] if data_dir is not None else []
    for line in _commands(list(records.values()), config, set_ or [], where):
        remark(line)
    for path in write_configs(request, records):
        words = ["run", "--config", str(path), "--seeds", "10", *where]
        remark(f"next: python -m cl_bench {shlex.join(words)}")


def _show(records: Mapping[Path, TuningRecord], format: Format) -> None:
    """Print what was chosen, how much each setting does, and what to know of it."""
    from cl_bench.tuning import tables

    found = {"chosen": tables.choices(list(records.values()), people=format is Format.TABLE)}
    if sensitivity := tables.sensitivities(list(records.values())):
        found["sensitivity"] = sensitivity
    emit_many(found, format)
    for each in records.values():
        for warning in tables.warnings(each):
            remark(f"warning: {warning}")
    for path in records:
        remark(f"record: {path}")


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
