"""`cl_bench show`: the stored runs, or one of them, or one configuration, in full."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.choosing import RunsOption
from cl_bench.cli.output import Format, FormatOption, emit, emit_many, remark


def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|GROUP]",
            help="The start of a run's id or folder, of a configuration's id or label, or of a "
            "strategy's name.",
        ),
    ] = None,
    out: RunsOption = Path("runs"),
    format: FormatOption = Format.TABLE,
) -> None:
    """Show a run's accuracy matrix, metrics and provenance; without a name, all runs there are."""
    from cl_bench.report import selection, tables

    people = format is Format.TABLE
    if name is None:
        runs = selection.select(out)
        for note in runs.notes:
            remark(note)
        emit(tables.every_run(runs), format, f"runs in {out}")
        return
    runs = selection.find(out, name)
    label = str(runs.metrics["label"].iloc[0])
    count = len(runs.metrics)
    title = f"accuracy on each task, {label}, " + (
        f"mean of {count} seeds" if count > 1 else f"seed {runs.metrics['seed'].iloc[0]}"
    )
    for note in runs.diverged:
        remark(note)
    landscape = tables.landscape(runs)
    found = {
        title if people else "accuracy": tables.accuracy_matrix(runs.accuracy),
        "metrics": tables.figures(runs, people=people),
        **({"loss landscape": landscape} if landscape else {}),
        "record" if count == 1 else "record of the first seed": tables.provenance(runs),
    }
    emit_many(found, format)
