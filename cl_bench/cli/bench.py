"""`cl_bench bench`: how fast the suite is on this machine, beside Avalanche doing the same work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, emit, remark


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Time less: half a minute in place of two or three.")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder to search first (else CL_BENCH_DATA, ./data, …).")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Time training and evaluation on one core, in turns with Avalanche on the same work."""
    from cl_bench.bench import FULL, QUICK, measure

    rows = measure(data_dir, QUICK if quick else FULL, on_progress=remark)
    emit(rows, format, "rates on one core, one thread (medians of turns)")
