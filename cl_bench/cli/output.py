"""How commands print: tables for people, JSON and CSV for programs, remarks to stderr.

Only tables go to stdout, so that what a command prints can be piped.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from cl_bench.execution.remarks import remark as remark
from cl_bench.plain import counted as counted
from cl_bench.plain import plain

Row = Mapping[str, Any]
WRAPPED = 28
"""Letters in a line from which a column's texts may be wrapped, at their words."""
PADDING = 3
"""Letters that a column takes beside its texts."""


class Format(StrEnum):
    """How a table is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


FormatOption = Annotated[Format, typer.Option("--format", help="How tables are printed.")]


def emit(rows: Sequence[Row], format: str = "table", title: str = "") -> None:
    """Print one table on stdout.

    Args:
        rows: one mapping a row; the columns are all their keys, in order of appearance.
        format: "table", "json" (an array of objects) or "csv".
        title: put above a table for people.
    """
    if format == Format.JSON:
        print(json.dumps([plain(row) for row in rows], indent=2))
    elif format == Format.CSV:
        _print_csv(rows)
    else:
        _print_table(rows, title)


def emit_many(tables: Mapping[str, Sequence[Row]], format: str = "table") -> None:
    """Print several tables by title: JSON is one object of arrays, CSV has blank lines between."""
    if format == Format.JSON:
        content = {title: [plain(row) for row in rows] for title, rows in tables.items()}
        print(json.dumps(content, indent=2))
        return
    for number, (title, rows) in enumerate(tables.items()):
        if number:
            print()
        emit(rows, format, title)


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _print_csv(rows: Sequence[Row]) -> None:
    writer = csv.DictWriter(sys.stdout, _columns(rows), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = plain(row)
        writer.writerow(
            {k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in values.items()}
        )


def _print_table(rows: Sequence[Row], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200
    console = Console(file=sys.stdout, width=width, highlight=False)
    if not rows:
        console.print(f"{title}: none" if title else "none")
        return
    if title:
        console.print(Text(title, style="bold"))
    columns = _columns(rows)
    numeric = {column: _is_numeric([plain(row.get(column)) for row in rows]) for column in columns}
    cells = {c: [cell_text(row.get(c), aligned=numeric[c]) for row in rows] for c in columns}
    for block in _blocks(cells, console.width):
        table = Table(box=box.SIMPLE_HEAD)
        for column in block:
            table.add_column(
                Text(column),
                justify="right" if numeric[column] else "left",
                overflow="fold",
                min_width=_longest_word([column, *cells[column]], console.width // 2),
            )
        for values in zip(*(cells[column] for column in block), strict=True):
            table.add_row(*map(Text, values))
        console.print(table)


def _blocks(cells: Mapping[str, Sequence[str]], width: int) -> list[list[str]]:
    """Return the columns in groups that fit side by side, each after those that name its rows."""
    needed = {
        column: min(max(map(len, (column, *texts))), max(WRAPPED, _longest_word([column, *texts])))
        + PADDING
        for column, texts in cells.items()
    }
    names = _naming(cells, needed, width // 2)
    taken = sum(needed[column] for column in names)
    blocks, left = [names[:]], width - taken
    for column in [column for column in cells if column not in names]:
        if needed[column] > left and len(blocks[-1]) > len(names):
            blocks.append(names[:])
            left = width - taken
        blocks[-1].append(column)
        left -= needed[column]
    return blocks if sum(needed.values()) > width else [list(cells)]


def _naming(cells: Mapping[str, Sequence[str]], needed: Mapping[str, int], width: int) -> list[str]:
    """Return the first column, and what else tells rows apart in at most so much width."""
    first, *others = cells
    names: list[str] = [first]
    told: list[tuple[str, ...]] = [(text,) for text in cells[first]]
    for column in others:
        further = [(*row, text) for row, text in zip(told, cells[column], strict=True)]
        fits = sum(needed[name] for name in (*names, column)) <= width
        if fits and len(set(further)) > len(set(told)):
            names, told = [*names, column], further
    return names


def _longest_word(texts: Sequence[str], most: int = sys.maxsize) -> int:
    return min(most, max((len(word) for text in texts for word in text.split()), default=0))


def _is_numeric(values: Sequence[Any]) -> bool:
    """Return whether a column holds numbers alone, and gaps."""
    numbers = [value for value in values if _is_number(value)]
    return bool(numbers) and all(v is None or v == "" or _is_number(v) for v in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def cell_text(value: Any, *, aligned: bool = False) -> str:
    """Return a value as a cell of a table for people: four digits are enough.

    Args:
        value: what the cell holds.
        aligned: whether numbers stand under one another and so keep their last zeros.
    """
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if aligned and (value == 0 or 1e-3 <= abs(value) < 1000):
            return f"{value:.4f}"
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(cell_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={cell_text(item)}" for key, item in value.items())
    return str(value)
