"""`cl_bench leaderboard`: build a board from stored runs, and verify one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, counted, emit, remark

leaderboard = typer.Typer(
    no_args_is_help=True, help="Build leaderboards from stored runs, and verify them."
)


@leaderboard.command()
def build(
    config: Annotated[
        str, typer.Option(help="The protocol: a name of `list configs` or a YAML file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    to: Annotated[Path, typer.Option(help="Folder of the boards.")] = Path("leaderboards"),
    tuning_note: Annotated[
        str | None, typer.Option(help="How the settings were chosen; shown with the table.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make the board of a protocol from all its records, in place of what was there."""
    from cl_bench.leaderboard import board, pages

    built = board.build(config, out, to, tuning_note)
    for warning in built.warnings:
        remark(warning)
    for name in built.removed:
        remark(f"removed entry {name}: it has no records in {out}")
    people = format is Format.TABLE
    rows = pages.people_rows(built.rows) if people else [pages.rounded(r) for r in built.rows]
    emit(rows, format, f"leaderboard {built.folder.name}")
    remark(f"written: {built.folder} ({counted(len(rows), 'configuration')})")


@leaderboard.command()
def verify(
    board: Annotated[Path, typer.Argument(metavar="BOARD", help="Folder of one board.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Check a board's entries, make its tables again and compare them to the byte."""
    from cl_bench.leaderboard.board import verify as checks_of

    checks = checks_of(board)
    problems = [check for check in checks if check.problem]
    rows = [{"file": c.subject, "agrees": c.problem is None, "problem": c.problem} for c in checks]
    emit(rows, format, f"leaderboard {board.resolve().name}")
    if problems:
        remark(f"{board} does not agree; first: {problems[0].subject}: {problems[0].problem}")
        raise typer.Exit(1)
    remark(f"{board} agrees with its entries to the byte")
