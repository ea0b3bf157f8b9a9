"""`cl_bench leaderboard`: build a board from stored runs, add to one, and verify one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, counted, emit, remark
from cl_bench.cli.training import DataDirOption, Device
from cl_bench.errors import UserError
from cl_bench.execution.plans import plan_runs, prepare, train
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.leaderboard.board import Built
    from cl_bench.leaderboard.check import Check
    from cl_bench.leaderboard.entries import Entry

leaderboard = typer.Typer(
    no_args_is_help=True, help="Build leaderboards from stored runs, and verify them."
)

ConfigOption = Annotated[
    str, typer.Option(help="The protocol: a name of `list configs` or a YAML file.")
]
OutOption = Annotated[Path, typer.Option(help="Folder that holds the runs.")]
ToOption = Annotated[Path, typer.Option(help="Folder of the boards.")]
NoteOption = Annotated[
    str | None, typer.Option(help="How the settings were chosen; shown with the table.")
]
BoardArgument = Annotated[Path, typer.Argument(metavar="BOARD", help="Folder of one board.")]


@leaderboard.command()
def build(
    config: ConfigOption,
    out: OutOption = Path("runs"),
    to: ToOption = Path("leaderboards"),
    tuning_note: NoteOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the entries there that have no records.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make the board of a protocol from all its records."""
    from cl_bench.leaderboard import board

    _show(board.build(config, out, to, tuning_note, replace=replace), format)


@leaderboard.command()
def add(
    config: ConfigOption,
    strategy: Annotated[
        list[str],
        typer.Option(help="Whose records to take, separated by commas; may be repeated."),
    ],
    out: OutOption = Path("runs"),
    to: ToOption = Path("leaderboards"),
    tuning_note: NoteOption = None,
    tuning: Annotated[
        Path | None,
        typer.Option(help="The file of the search that chose the settings, or a folder of such."),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Put some strategies on a board, in place of what it has of them; the others stay."""
    from cl_bench.leaderboard import board

    names = split_names(strategy)
    _show(board.add(config, out, to, names, tuning_note, tuning), format)


@leaderboard.command()
def rebuild(board: BoardArgument, format: FormatOption = Format.TABLE) -> None:
    """Make a board's tables again from its entries, as after an update of cl_bench."""
    from cl_bench.leaderboard import board as boards

    _show(boards.rebuild(board), format)


@leaderboard.command()
def versus(
    strategy: Annotated[str, typer.Argument(help="The strategy to compare with others.")],
    others: Annotated[
        str, typer.Option(help="Which others, separated by commas (default: all).")
    ] = "",
    to: ToOption = Path("leaderboards"),
    page: Annotated[
        Path | None, typer.Option(help="Also write the table to this Markdown file.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show a strategy's paired differences to others on every board."""
    from cl_bench.atomic import replace
    from cl_bench.leaderboard import versus as tables
    from cl_bench.leaderboard.rendering import refuse_other_peoples

    names = split_names([others], "--others") if others else []
    rows = tables.differences(to, strategy, names)
    if page is not None:
        refuse_other_peoples([page])
    emit([dataclasses.asdict(row) for row in rows], format, f"{strategy} against others")
    if page is not None:
        replace(page, tables.page(rows, strategy))
        remark(f"written: {page}")


@leaderboard.command()
def verify(
    board: BoardArgument,
    rerun: Annotated[
        str | None,
        typer.Option(help="Also train entries again: a number of them, all, or names."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds of each to train (default: all).", min=1)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the records of --rerun.")] = Path(
        "runs/rerun"
    ),
    device: Annotated[Device, typer.Option(help="Where --rerun trains.")] = Device.AUTO,
    workers: Annotated[
        int | None, typer.Option(help="Processes of --rerun (default: one a core).", min=1)
    ] = None,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Check a board's entries and streams, make its tables again and compare them to the byte.

    With --rerun, entries are also trained again: to the bit on the platform that they were made
    on, within a tolerance elsewhere.
    """
    from cl_bench.leaderboard.folder import read_entries
    from cl_bench.leaderboard.streams import STREAMS
    from cl_bench.leaderboard.verification import verify as verified

    if seeds is not None and rerun is None:
        raise UserError(f"--seeds {seeds} is of --rerun; give both, such as --rerun 1")
    checks = verified(board, data_dir)
    sound = not any(check.problem for check in checks)
    if rerun is not None and sound:
        for check in checks:
            if check.skipped and check.subject == STREAMS:
                raise UserError(f"--rerun {rerun}: {check.subject} {check.note}")
        from cl_bench.leaderboard.rerun import choose

        chosen = choose(read_entries(board), rerun)
        checks += _train_again(chosen, seeds, out, device, workers, data_dir)
    rows = [_check_row(check) for check in checks]
    emit(rows, format, f"leaderboard {board.resolve().name}")
    problems = [check for check in checks if check.problem]
    if problems:
        unrun = "; nothing was trained again" if rerun is not None and not sound else ""
        first = f"{problems[0].subject}: {problems[0].problem}"
        remark(f"{board} does not agree; first: {first}{unrun}")
        raise typer.Exit(1)
    for check in checks:
        if check.skipped:
            remark(f"{check.subject} {check.note}")
    remark(f"{board} agrees with its entries to the byte")


def _show(built: Built, format: Format) -> None:
    """Print a board that was made."""
    from cl_bench.leaderboard import pages

    for warning in built.warnings:
        remark(warning)
    for name in built.removed:
        remark(f"removed entry {name}: it has no records here")
    people = format is Format.TABLE
    found = built.standings.rows
    rows = pages.people_rows(found) if people else [pages.rounded(r.row()) for r in found]
    emit(rows, format, f"leaderboard {built.folder.name}")
    remark(f"written: {built.folder} ({counted(len(rows), 'configuration')})")


def _check_row(check: Check) -> dict[str, object]:
    agrees = None if check.skipped else check.problem is None
    return {
        "file": check.subject,
        "agrees": agrees,
        "problem": check.problem,
        "note": check.note or None,
    }


def _train_again(
    entries: Sequence[Entry],
    seeds: int | None,
    out: Path,
    device: Device,
    workers: int | None,
    data_dir: Path | None,
) -> list[Check]:
    """Train the first seeds of entries again, and compare what comes out."""
    from cl_bench.engine.sources import code_version
    from cl_bench.leaderboard import rerun
    from cl_bench.leaderboard.check import Check
    from cl_bench.results.store import RunStore

    obstacles = {entry.file_name: rerun.obstacle(entry) for entry in entries}
    checks = [Check(name, problem) for name, problem in obstacles.items() if problem]
    entries = [entry for entry in entries if not obstacles[entry.file_name]]
    # Records that other code has made are not what this code makes.
    folder = out / code_version("avalanche")[:12]
    work, workers = prepare(folder, device, data_dir, workers)
    plan = plan_runs(rerun.protocols(entries, seeds), work, workers, download=False)
    train(plan, work, workers)
    store = RunStore(folder)
    for entry in entries:
        for run in entry.runs[:seeds]:
            config = entry.run_config(run.seed)
            if store.exists(config):
                checks.append(rerun.compare(entry, run, store.open(store.directory(config))))
            else:
                subject = f"{entry.file_name}, seed {run.seed}"
                checks.append(Check(subject, "it could not be trained again"))
    return checks
