"""`cl_bench new`: write a commented file to begin a strategy or a benchmark with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.output import remark


def new(
    kind: Annotated[str, typer.Argument(help="strategy or benchmark.")],
    name: Annotated[str, typer.Argument(help="What it is to be called, such as my-strategy.")],
    folder: Annotated[Path, typer.Option("--in", help="Folder to put the file into.")] = Path(),
) -> None:
    """Write a commented file to begin with, which passes `check` as it is."""
    from cl_bench.api.starting import OPTIONS, write

    path = write(kind, name, folder)
    print(path)
    shown = f"./{path}" if not path.is_absolute() else path
    remark(f"check it: python -m cl_bench check {OPTIONS[kind]}{shown}")
