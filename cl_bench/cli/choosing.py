"""What commands on stored runs share: the options that choose among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.output import remark
from cl_bench.errors import UserError
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.config import Protocol
    from cl_bench.report.selection import Runs

RunsOption = Annotated[Path, typer.Option(help="Folder that holds the runs.")]
StrategiesOption = Annotated[
    list[str] | None, typer.Option(help="Only these, separated by commas; may be repeated.")
]
BenchmarksOption = Annotated[
    list[str] | None, typer.Option(help="Only runs of this benchmark; may be repeated.")
]
ProtocolOption = Annotated[
    str | None,
    typer.Option(
        help="Only runs of this protocol: the start of its id, or of its words as they are listed, "
        "or the name of a config."
    ),
]


def select(
    out: Path,
    strategy: Sequence[str] | None,
    protocol: str | None,
    benchmark: Sequence[str] | None = None,
) -> Runs:
    """Return the runs that the options choose, having told of the damaged ones.

    Raises:
        UserError: there are none, or an option chooses none.
    """
    from cl_bench.report import selection

    runs = selection.select(
        out,
        strategies=split_names(strategy),
        benchmarks=benchmark or (),
        protocol=protocol,
        config=config_of(protocol),
    )
    for note in runs.notes:
        remark(note)
    if not runs:
        raise UserError(f"there are no runs in {out}")
    return runs


def config_of(name: str | None) -> Protocol | None:
    """Return the protocol of the config of this name, where there is one."""
    from cl_bench.planning import reading

    if name is None or not (name in reading.config_names() or name.endswith((".yaml", ".yml"))):
        return None
    found = reading.read(name)
    return found[0] if len(found) == 1 else None
