"""`cl_bench frontier`: which of the stored configurations no other beats in two figures at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.choosing import ProtocolOption, RunsOption, StrategiesOption, config_of
from cl_bench.cli.output import Format, FormatOption, emit_many, remark
from cl_bench.errors import UserError
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.report.frontier import Front
    from cl_bench.report.frontier_curves import Curve
    from cl_bench.report.tables import Rows

Errors = tuple[float, float]


class Kind(StrEnum):
    """Which trade-off."""

    COST = "cost"
    ERRORS = "errors"


KindOption = Annotated[
    Kind,
    typer.Option(help="cost: a metric against a cost; errors: old tasks against the new one."),
]
AcrossOption = Annotated[
    list[str] | None,
    typer.Option(help="Take protocols that differ in this alone, training.epochs say, as one."),
]
XOption = Annotated[
    str | None,
    typer.Option(help="cost: bytes, network, seconds, passes, samples or a metric (bytes)."),
]
YOption = Annotated[
    str | None, typer.Option(help="cost: a metric of `list metrics` (average_accuracy).")
]
AlongOption = Annotated[
    str | None,
    typer.Option(help="errors: the setting that a strategy's curve runs along (strength)."),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(help="errors: OLD,NEW, the errors within which area is taken (1,1)."),
]
PictureOption = Annotated[
    Path | None, typer.Option(help="Draw it to this .svg, .png or .html file.")
]


def frontier(
    kind: KindOption = Kind.COST,
    out: RunsOption = Path("runs"),
    strategy: StrategiesOption = None,
    protocol: ProtocolOption = None,
    across: AcrossOption = None,
    x: XOption = None,
    y: YOption = None,
    along: AlongOption = None,
    reference: ReferenceOption = None,
    picture: PictureOption = None,
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
    from cl_bench.report import frontier_curves, frontier_picture
    from cl_bench.report.style import check_path, heading

    names = points.ERRORS if errors else (x or "bytes", y or "average_accuracy")
    for name in names:
        points.axis(name)
    if picture is not None:
        check_path(picture)
    records = points.read(
        out,
        strategies=split_names(strategy),
        protocol=protocol,
        config=config_of(protocol),
        across=across or (),
    )
    for note in records.runs.notes:
        remark(note)
    found = points.front(records, *names, references=_references(records.strategies))
    curves = frontier_curves.curves(found.points, along) if errors else []
    bounds = frontier_curves.curves(found.references) if errors else []
    shown = _tables(found, curves, bounds, limit, people=format is Format.TABLE)
    if found.x.timed or found.y.timed:
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


def _reference(text: str | None) -> Errors:
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


def _tables(
    front: Front, curves: list[Curve], bounds: list[Curve], limit: Errors, *, people: bool
) -> dict[str, Rows]:
    """Return the tables by title: all configurations, and how good the curves are."""
    from cl_bench.report import frontier_curves, frontier_tables

    title = f"{front.y.title} against {front.x.title}"
    found = {title: frontier_tables.configurations(front, [*curves, *bounds], people=people)}
    if curves:
        scores = frontier_curves.scores(curves, limit)
        for line in frontier_curves.cautions(curves, scores):
            remark(line)
        found |= frontier_tables.curve_tables(scores, limit, people=people)
    return found
