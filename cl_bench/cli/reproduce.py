"""`cl_bench reproduce`: make published tables again, and compare cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
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
    plan_runs,
    prepare,
    train,
)
from cl_bench.errors import UserError, unknown
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.leaderboard.published.tables import Cell, PublishedTable


def reproduce(
    table: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE]...", help="Names in configs/published, or YAML files (default: all)."
        ),
    ] = None,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            help="Only cells of these rows or methods, such as task-IL or task-IL/EWC, separated "
            "by commas; may be repeated."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Seeds of each cell (default: the table's).", min=1)
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list the cells.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only check page, entries, data and task streams.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Only make the page again from the entries.")
    ] = False,
    device: DeviceOption = Device.AUTO,
    workers: WorkersOption = None,
    data_dir: DataDirOption = None,
    download: DownloadOption = True,
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = Path("runs"),
    to: Annotated[
        Path | None,
        typer.Option(help="Folder of page and entries (default: leaderboards/published)."),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Train published tables with the published settings, and say which cells come out the same.

    Runs that have a record are not run again, and entries keep the seeds that they have.
    """
    from cl_bench.leaderboard.published import page, results, tables

    if sum((list_, verify, rebuild)) > 1:
        raise UserError("--list, --verify and --rebuild: give one of them")
    every = _tables(table or [], own_folder=to is not None)
    to = to or Path("leaderboards/published")
    known = {name: tables.cells_of(name, content) for name, content in every.items()}
    wanted = [Path(given).stem if tables.is_path(given) else given for given in table or every]
    chosen = [cell for name in wanted for cell in known[name]]
    chosen = _of_names(chosen, split_names(cells, "cells"))
    if seeds:
        chosen = [_with_seeds(cell, seeds) for cell in chosen]
    if list_:
        emit([_listed(cell) for cell in chosen], format, "published cells")
        return
    all_cells = [cell for found in known.values() for cell in found]
    if verify:
        problems, skipped = results.verify(
            all_cells, to, lambda o: page.render(every, all_cells, o), data_dir
        )
        for told in problems + skipped:
            remark(told)
        if problems:
            raise typer.Exit(1)
        remark(f"{to} agrees with its entries to the byte")
        return
    if not rebuild:
        _train(chosen, every, device, workers, data_dir, download, out, to)
    found = results.outcomes(all_cells, to)
    for path in results.strays(all_cells, to):
        path.unlink()
        remark(f"removed entry {path}: no cell has this configuration")
    results.write(page.render(every, all_cells, found), to)
    names = {(cell.table, cell.name) for cell in chosen}
    shown = [each for each in found if (each.cell.table, each.cell.name) in names]
    rows = page.people_rows(shown) if format is Format.TABLE else page.rows(shown)
    emit(rows, format, "published cells, made again")
    remark(f"{page.summary(shown)}; written: {to}")


def _tables(given: Sequence[str], own_folder: bool) -> dict[str, PublishedTable]:
    """Return the tables of the page: all of the suite, or those given where one is a file."""
    from cl_bench.leaderboard.published import tables

    files = [name for name in given if tables.is_path(name)]
    if files and not own_folder:
        raise UserError(f"{files[0]}: a table of your own needs a folder of its own; give --to")
    found = dict(map(tables.read, given if files else tables.names()))
    for name in given:
        if not files and name not in found:
            raise unknown("published table", name, found)
    return found


def _train(
    cells: Sequence[Cell],
    every: dict[str, PublishedTable],
    device: Device,
    workers: int | None,
    data_dir: Path | None,
    download: bool,
    out: Path,
    to: Path,
) -> None:
    """Train what has no record and keep the entries, also of what was done when it is stopped."""
    from cl_bench.leaderboard.published import results

    work, workers = prepare(out, device, data_dir, workers)
    plan = plan_runs([cell.protocol for cell in cells], work, workers, download)
    others = {config.benchmark.name for config in plan.configs}
    others -= {cell.protocol.benchmark.name for cell in cells}
    if others:
        raise UserError(
            f"published tables need the full data, and only those of {', '.join(sorted(others))} "
            "are at hand; give their folder with --data-dir or CL_BENCH_DATA"
        )
    try:
        failed = train(plan, work, workers)
    finally:
        for cell in cells:
            new = results.entry_from_records(cell, every[cell.table], out)
            if new is not None:
                entry = results.together(results.read_entry(cell, to), new)
                results.write_entry(entry, results.path_of(cell, to))
    if failed:
        remark(f"{counted(failed, 'run')} failed; the same command goes on from here")
        raise typer.Exit(1)


def _of_names(cells: list[Cell], names: Sequence[str]) -> list[Cell]:
    """Return the cells of some rows, methods or both (`row/method`); all, if none is named."""
    for name in names:
        if not any(name in (cell.row, cell.method, cell.name) for cell in cells):
            known = {part for cell in cells for part in (cell.row, cell.method)}
            raise unknown("row or method", name, known)
    return [c for c in cells if not names or {c.row, c.method, c.name} & set(names)]


def _with_seeds(cell: Cell, seeds: int) -> Cell:
    from dataclasses import replace

    return replace(cell, protocol=cell.protocol.model_copy(update={"seeds": seeds}))


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
