"""`cl_bench reproduce`: make published tables again, and compare cell by cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, counted, emit, remark
from cl_bench.cli.training import (
    DataDirOption,
    Device,
    DeviceOption,
    DownloadOption,
    WorkersOption,
)
from cl_bench.errors import UserError, pick
from cl_bench.execution.plans import plan_runs, prepare, runs_in, train
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.leaderboard.published.results import Outcome
    from cl_bench.leaderboard.published.tables import Cell, PublishedTable

TablesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TABLE]...", help="Names in configs/published, or YAML files (default: all)."
    ),
]
CellsOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Only cells of these rows or methods, such as task-IL or task-IL/EWC, separated by "
        "commas; may be repeated."
    ),
]
SeedsOption = Annotated[
    int | None, typer.Option(help="Seeds of each cell (default: the table's).", min=1)
]
ListOption = Annotated[bool, typer.Option("--list", help="Only list the cells.")]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Only check page, entries, data and task streams.")
]
RebuildOption = Annotated[
    bool, typer.Option("--rebuild", help="Only make the page again from the entries.")
]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="Also remove entries that are of no cell any more.")
]
ToOption = Annotated[
    Path | None, typer.Option(help="Folder of page and entries (default: leaderboards/published).")
]


@dataclass(frozen=True)
class Asked:
    """The tables of a page, and which of their cells a command is about."""

    tables: dict[str, PublishedTable]
    all_cells: list[Cell]
    chosen: list[Cell]
    to: Path
    """The folder of page and entries."""

    def render(self, found: Sequence[Outcome]) -> dict[str, bytes]:
        """Return the page's files."""
        from cl_bench.leaderboard.published import page

        return page.render(self.tables, self.all_cells, found)


def reproduce(
    table: TablesArgument = None,
    cells: CellsOption = None,
    seeds: SeedsOption = None,
    list_: ListOption = False,
    verify: VerifyOption = False,
    rebuild: RebuildOption = False,
    prune: PruneOption = False,
    device: DeviceOption = Device.AUTO,
    workers: WorkersOption = None,
    data_dir: DataDirOption = None,
    download: DownloadOption = True,
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = Path("runs"),
    to: ToOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Train published tables with the published settings, and say which cells come out the same.

    Runs that have a record are not run again, and entries keep the seeds that they have.
    """
    if sum((list_, verify, rebuild)) > 1:
        raise UserError("--list, --verify and --rebuild: give one of them")
    if prune and (list_ or verify):
        raise UserError("--prune removes entries; --list and --verify change nothing: give one")
    asked = _asked(table, cells, seeds, to)
    if list_:
        emit([_listed(cell) for cell in asked.chosen], format, "published cells")
    elif verify:
        _verify(asked, data_dir)
    else:
        _check_target(asked)
        if not rebuild:
            _train(asked, device, workers, data_dir, download, out)
        _make_page(asked, prune, format)


def _asked(
    table: Sequence[str] | None, cells: Sequence[str] | None, seeds: int | None, to: Path | None
) -> Asked:
    """Return what the options stand for."""
    from cl_bench.leaderboard.published import tables

    given = table or []
    files = [name for name in given if tables.is_path(name)]
    if files and to is None:
        raise UserError(f"{files[0]}: a table of your own needs a folder of its own; give --to")
    read = dict(map(tables.read, given))
    # The page is of all of the suite's tables, or of those given where one is a file.
    every = read if files else dict(map(tables.read, tables.names()))
    known = {name: tables.cells_of(name, content) for name, content in every.items()}
    chosen = [cell for name in read or every for cell in known[name]]
    chosen = _of_names(chosen, cells)
    if seeds:
        chosen = [_with_seeds(cell, seeds) for cell in chosen]
    every_cell = [cell for found in known.values() for cell in found]
    return Asked(every, every_cell, chosen, to or Path("leaderboards/published"))


def _verify(asked: Asked, data_dir: Path | None) -> None:
    from cl_bench.leaderboard.published import results

    problems, skipped = results.verify(asked.all_cells, asked.to, asked.render, data_dir)
    for told in problems + skipped:
        remark(told)
    if problems:
        raise typer.Exit(1)
    remark(f"{asked.to} agrees with its entries to the byte")


def _check_target(asked: Asked) -> None:
    """Refuse a folder that is another's, or whose entries cannot be added to, before any work."""
    from cl_bench.leaderboard.published import results
    from cl_bench.leaderboard.rendering import refuse_other_peoples

    refuse_other_peoples(asked.to / name for name in asked.render([]))
    for cell in asked.all_cells:
        results.read_entry(cell, asked.to)


def _make_page(asked: Asked, prune: bool, format: Format) -> None:
    """Write the page of all entries, and show the cells that were chosen."""
    from cl_bench.atomic import replace, sweep
    from cl_bench.leaderboard.published import page, results

    for folder in (asked.to, *(asked.to / name for name in asked.tables)):
        sweep(folder)
    found = results.outcomes(asked.all_cells, asked.to)
    for path in results.strays(asked.all_cells, asked.to):
        ours = results.is_entry_of(path.parent.name, path)
        if prune and ours:
            path.unlink()
            remark(f"removed entry {path}: {results.NO_CELL}")
        else:
            advice = "--prune removes it" if ours else "and its content is of no entry"
            remark(f"left as it is: {path}: {results.NO_CELL}; {advice}")
    for name, data in asked.render(found).items():
        replace(asked.to / name, data)
    names = {(cell.table, cell.name) for cell in asked.chosen}
    shown = [each for each in found if (each.cell.table, each.cell.name) in names]
    rows = page.people_rows(shown) if format is Format.TABLE else page.rows(shown)
    emit(rows, format, "published cells, made again")
    remark(f"{page.summary(shown)}; written: {asked.to}")


def _train(
    asked: Asked,
    device: Device,
    workers: int | None,
    data_dir: Path | None,
    download: bool,
    out: Path,
) -> None:
    """Train what has no record and keep the entries, also of what was done when it is stopped."""
    from cl_bench.atomic import replace
    from cl_bench.leaderboard.entries import entry_bytes
    from cl_bench.leaderboard.published import results

    work, workers = prepare(out, device, data_dir, workers)
    plan = plan_runs([cell.protocol for cell in asked.chosen], work, workers, download)
    others = {config.benchmark.name for config in plan.configs}
    others -= {cell.protocol.benchmark.name for cell in asked.chosen}
    if others:
        raise UserError(
            f"published tables need the full data, and only those of {', '.join(sorted(others))} "
            "are at hand; give their folder with --data-dir or CL_BENCH_DATA"
        )
    try:
        failed = runs_in(train(plan, work, workers))
    finally:
        for cell in asked.chosen:
            new = results.entry_from_records(cell, asked.tables[cell.table], out)
            if new is not None:
                entry = results.together(results.read_entry(cell, asked.to), new)
                replace(results.path_of(cell, asked.to), entry_bytes(entry))
    if failed:
        remark(f"{counted(failed, 'run')} failed; the same command goes on from here")
        raise typer.Exit(1)


def _of_names(cells: list[Cell], given: Sequence[str] | None) -> list[Cell]:
    """Return the cells of some rows, methods or both (`row/method`); all, if none is named."""
    parts = {part for cell in cells for part in (cell.row, cell.method)}
    whole = {cell.name for cell in cells}
    names = split_names(given, "--cells", known=parts | whole)
    wanted = {pick("row or method", name, whole if "/" in name else parts) for name in names}
    return [c for c in cells if not wanted or {c.row, c.method, c.name} & wanted]


def _with_seeds(cell: Cell, seeds: int) -> Cell:
    return dataclasses.replace(cell, protocol=cell.protocol.model_copy(update={"seeds": seeds}))


def _listed(cell: Cell) -> dict[str, object]:
    ((strategy, settings),) = cell.protocol.strategies.items()
    return {
        "table": cell.table,
        "row": cell.row,
        "method": cell.method,
        "published": cell.published.published,
        "spread": cell.published.spread,
        "config": cell.config,
        "strategy": strategy,
        "settings": ", ".join(f"{key}={value}" for key, value in settings.items()),
        "seeds": cell.protocol.seeds,
    }
