"""`cl_bench compare`: which of the stored strategies forgets less, paired by seed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.choosing import (
    BenchmarksOption,
    ProtocolOption,
    RunsOption,
    StrategiesOption,
    select,
)
from cl_bench.cli.output import Format, FormatOption, emit_many, remark
from cl_bench.errors import UserError


def compare(
    out: RunsOption = Path("runs"),
    metric: Annotated[
        list[str] | None,
        typer.Option(help="See `list metrics`; may be repeated (average_accuracy, forgetting)."),
    ] = None,
    strategy: StrategiesOption = None,
    benchmark: BenchmarksOption = None,
    protocol: ProtocolOption = None,
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
    from cl_bench.report import curves, differences, protocols
    from cl_bench.report.style import check_path

    metrics = metric or ["average_accuracy", "forgetting"]
    for name in metrics:
        lookup(name)
    if power is not None and not 0 < power < math.inf:
        raise UserError(f"--power {power:g}: give a difference above 0, such as 0.01")
    if picture is not None:
        check_path(picture)
    runs = select(out, strategy, protocol, benchmark)
    if picture is not None and len(runs.protocols) > 1:
        raise protocols.several("a picture", runs.protocols)
    found, remarks = differences.comparison(
        runs, metrics, people=format is Format.TABLE, power=power
    )
    emit_many(found, format)
    for line in remarks:
        remark(line)
    if picture is not None:
        curves.draw(runs.accuracy, picture)
        remark(f"picture: {picture}")
