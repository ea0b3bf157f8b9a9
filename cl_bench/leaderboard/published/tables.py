"""The published tables: what each cell says, and the protocol and settings that make it again.

A table is a YAML file in `configs/published/`. Its rows name a protocol of `configs/`, its columns
(the methods) a strategy, and each of rows, methods and cells may change keys as `run --set` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cl_bench.config import Protocol, Section
from cl_bench.errors import UserError, pick, unknown
from cl_bench.planning import finding, reading, resolving, validation

TOLERANCE = 1.0
"""By how much, in percentage points, a mean may differ where no spread was published."""

Percent = Annotated[float, Field(ge=0, le=100)]


class Row(Section):
    """What the cells of a row share."""

    config: str
    """The protocol, a name in `configs/`."""
    set: dict[str, Any] = Field(default_factory=dict)
    """What the row changes of it, by dotted key."""


class Method(Section):
    """What the cells of a method share."""

    strategy: str
    set: dict[str, Any] = Field(default_factory=dict)
    departs: str = ""
    """What is done here otherwise than in the paper or its code."""


class PublishedCell(Section):
    """One figure of the table."""

    published: Percent
    """Average accuracy after the last task, in per cent."""
    spread: Annotated[float, Field(ge=0)] | None = None
    """What the table's `spread` says, in percentage points."""
    set: dict[str, Any] = Field(default_factory=dict)
    seeds: Annotated[int, Field(ge=1)] | None = None
    """Number of seeds, where it is not the table's."""
    why: str = ""
    """Why ours is outside, by evidence."""


class PublishedTable(Section):
    """A table of a paper."""

    title: str
    source: str
    """Paper, table and the code that the protocol was read from."""
    spread: str = ""
    """What the published spread is, such as "standard deviation over 10 runs"."""
    seeds: Annotated[int, Field(ge=1)] = 5
    notes: str = ""
    """What holds for all cells."""
    rows: dict[str, Row]
    methods: dict[str, Method]
    cells: dict[str, dict[str, PublishedCell]]
    """By row and method."""


@dataclass(frozen=True)
class Cell:
    """A figure of a table, and how it is made again."""

    table: str
    row: str
    method: str
    published: PublishedCell
    protocol: Protocol
    """One strategy at one point, with the number of seeds."""
    config: str
    """The name of the protocol that it is a variant of."""

    @property
    def name(self) -> str:
        """Return how the cell is called within its table."""
        return f"{self.row}/{self.method}"

    @property
    def allowed(self) -> float:
        """Return by how much our mean may differ, in percentage points."""
        spread = self.published.spread
        return TOLERANCE if spread is None else spread


def names() -> list[str]:
    """Return the name of every published table, in alphabetical order."""
    return sorted(path.stem for path in (finding.folder("configs") / "published").glob("*.yaml"))


def read(name_or_path: str) -> tuple[str, PublishedTable]:
    """Return a table and its name, by a name in `configs/published/`, its unique start, or a file.

    Raises:
        UserError: there is none or are several, or its file is wrong.
    """
    if is_path(name_or_path):
        name, path = Path(name_or_path).stem, name_or_path
    else:
        name = pick("published table", name_or_path, names())
        path = str(finding.folder("configs") / "published" / f"{name}.yaml")
    content = reading.load_config(path)
    return name, validation.validated(PublishedTable, content, f"published table {name}: ")


def is_path(name_or_path: str) -> bool:
    """Return whether a table is given by the path of a file."""
    return "/" in name_or_path or name_or_path.endswith((".yaml", ".yml"))


def cells_of(name: str, table: PublishedTable) -> list[Cell]:
    """Return the cells of a table, in the order of its rows and methods.

    Raises:
        UserError: a cell is of no row or no method, or its protocol is wrong.
    """
    found = []
    for row, figures in table.cells.items():
        if row not in table.rows:
            raise UserError(f"published table {name}: {unknown('row', row, table.rows)}")
        for method, published in figures.items():
            if method not in table.methods:
                known = table.methods
                raise UserError(f"published table {name}: {unknown('method', method, known)}")
            found.append(_cell(name, table, row, method, published))
    return found


def _cell(
    name: str, table: PublishedTable, row: str, method: str, published: PublishedCell
) -> Cell:
    of_row, of_method = table.rows[row], table.methods[method]
    changes = {**of_row.set, **of_method.set, **published.set}
    try:
        points = reading.read(
            of_row.config,
            strategies=[of_method.strategy],
            options={**changes, "seeds": published.seeds or table.seeds},
        )
        for point in points:
            resolving.settings_grid(of_method.strategy, _settings(point))
    except UserError as error:
        raise UserError(f"published table {name}, {row}/{method}: {error}") from None
    if len(points) > 1 or any(isinstance(v, list) for v in _settings(points[0]).values()):
        raise UserError(f"published table {name}, {row}/{method}: it is a grid; give one value")
    return Cell(name, row, method, published, points[0], of_row.config)


def _settings(of: Protocol) -> dict[str, Any]:
    ((_, settings),) = of.strategies.items()
    return settings
