"""`cl_bench predict`: do flatness, curvature or variance predict what is forgotten later?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.choosing import BenchmarksOption, ProtocolOption, RunsOption, select
from cl_bench.cli.output import Format, FormatOption, counted, emit, emit_many, remark
from cl_bench.errors import UserError

if TYPE_CHECKING:
    from cl_bench.metrics.prediction import Prediction
    from cl_bench.report.tables import Rows


def predict(
    out: RunsOption = Path("runs"),
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these, separated by commas; may be repeated (all, but for those that are "
            "given the data of all tasks so far)."
        ),
    ] = None,
    benchmark: BenchmarksOption = None,
    protocol: ProtocolOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Correlate the loss landscape at each task's end with how much of the task is forgotten later.

    Of runs with --set evaluation.landscape=500 (training images a task that it is measured on).
    """
    from cl_bench.metrics import prediction
    from cl_bench.results.frames import tables_of

    runs = select(out, strategy, protocol, benchmark)
    (landscape,), _ = tables_of(runs.stored, "landscape")
    landscape = landscape[~landscape["diverged"].astype(bool)]
    if not len(landscape):
        raise UserError(
            f"no such run in {out} has its loss landscape measured; "
            "run with --set evaluation.landscape=500"
        )
    if not strategy:
        left_out = _given_all_data(set(landscape["strategy"]))
        landscape = landscape[~landscape["strategy"].isin(left_out)]
        for name in sorted(left_out):
            remark(f"left out: {name} is given all data so far (--strategy takes it in)")
    found = prediction.observations(runs.accuracy, landscape)
    kept = prediction.balanced(found)
    lost = found["run_id"].nunique() - kept["run_id"].nunique()
    if lost:
        remark(
            f"left out: {counted(lost, 'run')} of seeds that not all configurations have, "
            "or that diverged"
        )
    rows = prediction.predict(kept)
    if format is Format.TABLE:
        emit_many(_for_people(rows))
    else:
        emit(rows, format)


def _given_all_data(names: Collection[str]) -> set[str]:
    """Return the strategies that forget nothing because they see it all again."""
    from cl_bench.planning import finding

    known = {*finding.strategy_names(), *finding.foreign_names()}
    return {name for name in names if name in known and finding.load(name).all_data}


def _for_people(rows: Sequence[Prediction]) -> dict[str, Rows]:
    """Return a table for each protocol, target and level."""
    from cl_bench.metrics.prediction import LEVELS
    from cl_bench.report.tables import interval_text

    several = len({row["protocol_id"] for row in rows}) > 1
    found: dict[str, Rows] = {}
    for row in rows:
        sizes = f"{counted(row['seeds'], 'seed')}, {row['strategies']} strategies"
        title = f"{row['target']}, {row['level']} ({LEVELS[row['level']]}; {sizes})"
        if several:
            title = f"{row['benchmark']} {row['protocol_id'][:8]}: {title}"
        found.setdefault(title, []).append(
            {
                "predictor": row["predictor"],
                "rank correlation": interval_text(
                    row["correlation"], row["low"], row["high"], sign="+"
                ),
                "p (Holm)": row["p_holm"],
                "verdict": row["verdict"],
            }
        )
    return found
