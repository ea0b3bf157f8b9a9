"""`cl_bench compare`: which of the stored strategies forgets less, paired by seed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, emit_many, remark
from cl_bench.errors import UserError
from cl_bench.planning.parsing import split_names


def compare(
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    metric: Annotated[
        list[str] | None,
        typer.Option(help="See `list metrics`; may be repeated (average_accuracy, forgetting)."),
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Only these, separated by commas; may be repeated.")
    ] = None,
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Only runs of this benchmark; may be repeated.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Only runs of this protocol (the start of its id).")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw forgetting curves to this .svg, .png or .html file.")
    ] = None,
    power: Annotated[
        float | None,
        typer.Option(
            metavar="D",
            help="Also say how many seeds show a difference of D with 80 % power, and how small a "
            "one those at hand do.",
        ),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Compare strategies: means with intervals, and paired differences with Holm's correction."""
    from cl_bench.metrics import lookup
    from cl_bench.report import curves, tables
    from cl_bench.report.style import check_path

    metrics = metric or ["average_accuracy", "forgetting"]
    for name in metrics:
        lookup(name)
    if power is not None and not 0 < power < math.inf:
        raise UserError(f"--power {power:g}: give a difference above 0, such as 0.01")
    if picture is not None:
        check_path(picture)
    strategies = split_names(strategy)
    runs = tables.select(out, strategies=strategies, benchmarks=benchmark or (), protocol=protocol)
    for warning in runs.notes:
        remark(warning)
    if not runs:
        raise UserError(f"there are no runs in {out}")
    people = format is Format.TABLE
    found = {"results": tables.results(runs, people=people)}
    for name in metrics:
        rows = tables.differences(runs, name, people=people, power=power)
        found[f"paired differences in {name.replace('_', ' ')}"] = rows
    if runs.groups == runs.protocols:
        remark("nothing to pair: each protocol has one configuration")
    if picture is not None and runs.protocols > 1:
        ids = ", ".join(sorted(set(runs.metrics["protocol_id"]))[:5])
        raise UserError(f"a picture is of one protocol; choose one with --protocol: {ids}")
    emit_many(found, format)
    if picture is not None:
        curves.draw(runs.accuracy, picture)
        remark(f"picture: {picture}")
