"""`cl_bench data`: which datasets are on this machine, where, and whether they are intact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, emit


def data(
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder to search first (else CL_BENCH_DATA, ./data, …).")
    ] = None,
    format: FormatOption = Format.TABLE,
    download: Annotated[
        bool,
        typer.Option(
            "--download/--no-download", help="Fetch what is missing of those named (else of MNIST)."
        ),
    ] = False,
    names: Annotated[list[str] | None, typer.Argument(help="Only these datasets.")] = None,
) -> None:
    """Show which datasets were found, where, and whether their checksums are right."""
    from cl_bench.data import report

    emit(report(data_dir, download, names or ()), format, "datasets")
