"""`cl_bench show`: the stored runs, or one of them, or one configuration, in full."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cl_bench.cli.output import Format, FormatOption, emit, emit_many, remark


def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|GROUP]",
            help="Id of a run or configuration (its start will do), or a strategy's name.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    format: FormatOption = Format.TABLE,
) -> None:
    """Show a run's accuracy matrix, metrics and provenance; without a name, all runs there are."""
    from cl_bench.report import tables

    people = format is Format.TABLE
    if name is None:
        runs = tables.select(out)
        for warning in runs.notes:
            remark(warning)
        columns = ["strategy", "label", "benchmark", "scenario", "seed", "run_id", "group_id"]
        figures = [*columns, "average_accuracy", "forgetting", "diverged"]
        rows: Any = runs.metrics[figures].to_dict("records")
        emit(rows, format, f"runs in {out}")
        return
    runs = tables.find_runs(out, name)
    label = str(runs.metrics["label"].iloc[0])
    count = len(runs.metrics)
    title = f"accuracy on each task, {label}, " + (
        f"mean of {count} seeds" if count > 1 else f"seed {runs.metrics['seed'].iloc[0]}"
    )
    for note in runs.diverged:
        remark(note)
    landscape = tables.landscape(out, runs)
    found = {
        title if people else "accuracy": tables.accuracy_matrix(runs.accuracy),
        "metrics": tables.figures(runs, people=people),
        **({"loss landscape": landscape} if landscape else {}),
        "record" if count == 1 else "record of the first seed": tables.provenance(
            out, str(runs.metrics.sort_values("seed")["run_id"].iloc[0])
        ),
    }
    emit_many(found, format)
