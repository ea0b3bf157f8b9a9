"""What came of the cells: entries from run records, kept as files, and judged by the published.

An entry is that of a leaderboard: a configuration with every seed's accuracies and what is needed
to make them again. It lies at `<folder>/<table>/<strategy>-<group_id>.json`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cl_bench import benchmarks
from cl_bench.config import RunConfig, StrategyConfig
from cl_bench.errors import UserError
from cl_bench.leaderboard.entries import Board, Entry, parse_entry, problem_of
from cl_bench.leaderboard.published.tables import Cell, PublishedTable
from cl_bench.leaderboard.records import entry_of
from cl_bench.leaderboard.standings import figures
from cl_bench.leaderboard.streams import check_streams
from cl_bench.planning import finding
from cl_bench.planning.resolving import settings_grid
from cl_bench.results.store import RunStore

NO_CELL = "no cell has this configuration"
METRIC = "average_accuracy"
_ENTRY_NAME = re.compile(r"-[0-9a-f]{16}\.json\Z")


@dataclass(frozen=True)
class Outcome:
    """A cell with what came of it here, in per cent."""

    cell: Cell
    entry: Entry
    mean: float
    low: float
    high: float
    """Ends of the 95 % BCa interval of the mean; NaN for one seed."""
    deviation: float
    """Standard deviation over the seeds; NaN for one."""

    @property
    def difference(self) -> float:
        """Return our mean less the published one."""
        return self.mean - self.cell.published.published

    @property
    def inside(self) -> bool:
        """Return whether our mean is within the published spread, or the tolerance.

        Both are compared as they are printed, to two decimals.
        """
        return abs(round(self.difference, 2)) <= self.cell.allowed

    @property
    def verdict(self) -> str:
        """Return "inside", "outside", or "diverged" where a run did and so there is no mean."""
        if any(run.diverged for run in self.entry.runs):
            return "diverged"
        return "inside" if self.inside else "outside"


def run_config(cell: Cell, seed: int) -> RunConfig:
    """Return the run of a cell at a seed; needs no data."""
    found = cell.protocol
    ((name, given),) = found.strategies.items()
    (settings,) = settings_grid(name, given)
    strategy = StrategyConfig(name=name, settings=settings, code=finding.code_hash(name))
    return found.run(benchmarks.resolved(found.benchmark), strategy, seed)


def entry_from_records(cell: Cell, table: PublishedTable, out: Path) -> Entry | None:
    """Return the entry of a cell from the records of its seeds; None where there are none."""
    store = RunStore(out)
    configs = [run_config(cell, seed) for seed in cell.protocol.all_seeds]
    runs = [store.open(store.directory(config)) for config in configs if store.exists(config)]
    for run in runs:
        run.verify()
    board = Board(name=cell.table, config=cell.config, description=table.title, source=table.source)
    return entry_of(board, runs, None) if runs else None


def path_of(cell: Cell, folder: Path) -> Path:
    """Return where the entry of a cell is kept."""
    config = run_config(cell, 0)
    empty = Entry.model_construct(
        config=config.model_dump(mode="json", exclude={"seed"}), group_id=config.group_id
    )
    return folder / cell.table / empty.file_name


def read_entry(cell: Cell, folder: Path) -> Entry | None:
    """Return the entry of a cell that is kept, None where there is none.

    Raises:
        UserError: it is damaged, or of another configuration than the cell's.
    """
    path = path_of(cell, folder)
    try:
        entry = parse_entry(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    problem = problem_of(entry)
    if problem is None and entry.group_id != run_config(cell, 0).group_id:
        problem = f"it is of configuration {entry.group_id}, not of cell {cell.name}"
    if problem:
        raise UserError(f"{path} is damaged: {problem}")
    return entry


def together(old: Entry | None, new: Entry) -> Entry:
    """Return an entry with the runs of both; of a seed that both have, the new one."""
    if old is None:
        return new
    runs = {run.seed: run for run in (*old.runs, *new.runs)}
    return new.model_copy(update={"runs": tuple(runs[seed] for seed in sorted(runs))})


def outcome(cell: Cell, entry: Entry) -> Outcome:
    """Return a cell's figures, computed from the entry's matrices."""
    from cl_bench.metrics.statistics import mean_interval

    values = 100 * np.array([figures(run)[METRIC] for run in entry.runs])
    if np.isnan(values).any():
        return Outcome(cell, entry, *(4 * [float("nan")]))
    found = mean_interval(values)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return Outcome(cell, entry, found.mean, found.low, found.high, deviation)


def outcomes(cells: Iterable[Cell], folder: Path) -> list[Outcome]:
    """Return what came of each cell that has an entry."""
    found = [(cell, read_entry(cell, folder)) for cell in cells]
    return [outcome(cell, entry) for cell, entry in found if entry is not None]


def strays(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Return the files of these cells' tables that are named as entries are, but are of no cell."""
    known = {path_of(cell, folder) for cell in cells}
    tables = sorted({cell.table for cell in cells})
    files = [path for table in tables for path in sorted((folder / table).glob("*.json"))]
    return [path for path in files if _ENTRY_NAME.search(path.name) and path not in known]


def is_entry_of(table: str, path: Path) -> bool:
    """Return whether a file is an entry of this table, under the name that its content gives."""
    try:
        entry = parse_entry(path.read_bytes())
    except (OSError, ValueError):
        return False
    return entry.board.name == table and entry.file_name == path.name


def verify(
    cells: Sequence[Cell],
    folder: Path,
    render: Callable[[list[Outcome]], dict[str, bytes]],
    data_dir: Path | None,
) -> tuple[list[str], list[str]]:
    """Return what is wrong in a folder of entries and page, and what was not checked.

    Entries must be of the cells, the page what they give, and their data and task streams what
    the benchmarks' configurations and the seeds give, where the data are at hand.

    Args:
        cells: of all tables.
        folder: where entries and page are.
        render: makes the page's files from the outcomes.
        data_dir: where to look for data first.
    """
    found = [f"{path}: {NO_CELL}" for path in strays(cells, folder)]
    came: list[Outcome] = []
    for cell in cells:
        try:
            came += outcomes([cell], folder)
        except UserError as error:
            found.append(str(error))
    if found:
        return found, []
    for name, made in render(came).items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != made:
            found.append(f"{path} is not what its entries give; make it again with --rebuild")
    wrong, skipped = _problems_of_streams((each.entry for each in came), data_dir)
    return found + wrong, skipped


def _problems_of_streams(
    entries: Iterable[Entry], data_dir: Path | None
) -> tuple[list[str], list[str]]:
    """Return what is wrong with data and task streams, and what was not checked, by benchmark."""
    of_benchmark: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        of_benchmark[json.dumps(entry.config["benchmark"])].append(entry)
    wrong, skipped = [], []
    for members in of_benchmark.values():
        configs = ", ".join(sorted({entry.board.config for entry in members}))
        check = check_streams(members, data_dir)
        if check.problem:
            wrong.append(f"{configs}: {check.problem}")
        elif check.skipped:
            skipped.append(f"{configs}: data and {check.subject} {check.note}")
    return wrong, skipped
