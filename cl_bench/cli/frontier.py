"""`cl_bench frontier`: which of the stored configurations no other beats in two figures at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, emit_many, remark
from cl_bench.errors import UserError
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.report.frontier_curves import Curve
    from cl_bench.report.tables import Rows


class Kind(StrEnum):
    """Which trade-off."""

    COST = "cost"
    ERRORS = "errors"


def frontier(
    kind: Annotated[
        Kind,
        typer.Option(help="cost: a metric against a cost; errors: old tasks against the new one."),
    ] = Kind.COST,
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    strategy: Annotated[
        list[str] | None, typer.Option(help="Only these, separated by commas; may be repeated.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Only runs of this protocol (the start of its id).")
    ] = None,
    across: Annotated[
        list[str] | None,
        typer.Option(help="Take protocols that differ in this alone, training.epochs say, as one."),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(help="cost: bytes, network, seconds, passes, samples or a metric (bytes)."),
    ] = None,
    y: Annotated[
        str | None, typer.Option(help="cost: a metric of `list metrics` (average_accuracy).")
    ] = None,
    along: Annotated[
        str | None,
        typer.Option(help="errors: the setting that a strategy's curve runs along (strength)."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="errors: OLD,NEW, the errors within which area is taken (1,1)."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw it to this .svg, .png or .html file.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Trade-offs: error on old tasks against the new one, accuracy against bytes or compute.

    The Pareto set is marked: what no other configuration is at least as good as in both figures
    and better in one. Strategies that are given all tasks' data are shown, but do not compete.
    """
    errors = kind is Kind.ERRORS
    _check_kind(kind, {"--x": x, "--y": y}, {"--along": along, "--reference": reference})
    limit = _reference(reference)
    from cl_bench.report import frontier as points
    from cl_bench.report import frontier_curves, frontier_picture, frontier_tables
    from cl_bench.report.style import check_path, heading

    names = ("old_error", "new_error") if errors else (x or "bytes", y or "average_accuracy")
    axes = [points.axis(name) for name in names]
    if picture is not None:
        check_path(picture)
    strategies = split_names(strategy)
    records = points.read(out, strategies=strategies, protocol=protocol, across=across or ())
    for warning in records.runs.notes:
        remark(warning)
    found = points.front(records, *names, references=_references(records.strategies))
    curves = frontier_curves.curves(found.points, along) if errors else []
    bounds = frontier_curves.curves(found.references) if errors else []
    people = format is Format.TABLE
    title = f"{axes[1].title} against {axes[0].title}"
    shown = {title: frontier_tables.configurations(found, [*curves, *bounds], people=people)}
    if errors:
        shown |= _scores(curves, limit, people)
    if any(each.timed for each in axes):
        for line in records.machines():
            remark(f"seconds are not of one machine and stack: {line}")
    emit_many(shown, format)
    if picture is not None:
        frontier_picture.draw(found, [*curves, *bounds], picture, heading(records.runs.accuracy))
        remark(f"picture: {picture}")


def _check_kind(
    kind: Kind, of_cost: Mapping[str, str | None], of_errors: Mapping[str, str | None]
) -> None:
    """Refuse an option of the other kind."""
    other = Kind.COST if kind is Kind.ERRORS else Kind.ERRORS
    for option, value in (of_cost if kind is Kind.ERRORS else of_errors).items():
        if value is not None:
            raise UserError(f"{option} {value}: this is an option of --kind {other}")


def _reference(text: str | None) -> tuple[float, float]:
    """Return the two errors of OLD,NEW."""
    try:
        old, new = (float(part) for part in (text or "1,1").split(","))
    except ValueError:
        old = new = float("nan")
    if not (0 < old <= 1 and 0 < new <= 1):
        raise UserError(f"--reference {text}: give two errors above 0 and at most 1, such as .5,.5")
    return old, new


def _references(strategies: Iterable[str]) -> set[str]:
    """Return those that are given all tasks' data, as far as they are known here."""
    from cl_bench.planning import finding

    found = set()
    for name in strategies:
        try:
            if finding.summary(name).all_data:
                found.add(name)
        except UserError:  # its file is elsewhere now
            continue
    return found


def _scores(curves: Sequence[Curve], limit: tuple[float, float], people: bool) -> dict[str, Rows]:
    """Return the tables of how good the curves are, and how they differ."""
    from cl_bench.report import frontier_curves, frontier_tables

    scores = frontier_curves.scores(curves, limit)
    for curve in curves:
        if curve not in [score.curve for score in scores]:
            remark(f"no score for {curve.label}: its configurations have no seed in common")
    for score in scores:
        ends = (score.curve.points[0], score.curve.points[-1])
        if score.at in ends and len(score.curve.points) > 2:
            remark(f"the least sum is at the end of a curve, which may go on: {score.at.label}")
    counts = {len(score.curve.points) for score in scores if score.curve.along}
    if len(counts) > 1:
        remark("the curves have different numbers of configurations, which favours the longer ones")
    area = f"area dominated within {limit[0]:g}, {limit[1]:g}"
    return {
        "curves": frontier_tables.score_rows(scores, people=people),
        "paired differences in least sum of errors": frontier_tables.score_differences(
            scores, lambda score: score.least_sum, higher_is_better=False, people=people
        ),
        f"paired differences in {area}": frontier_tables.score_differences(
            scores, lambda score: score.area, higher_is_better=True, people=people
        ),
    }
