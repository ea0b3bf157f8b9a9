"""The page of all published tables: README.md for people, table.csv for programs.

Both are functions of the tables and the entries alone; table.csv has each entry's SHA-256, so that
any changed digit shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cl_bench.leaderboard.entries import checksum, entry_bytes
from cl_bench.leaderboard.published.results import Outcome
from cl_bench.leaderboard.published.tables import TOLERANCE, Cell, PublishedTable
from cl_bench.leaderboard.rendering import csv_bytes, document, generated, markdown, origins

Rows = list[dict[str, Any]]

_HOW = (
    "Average accuracy over all tasks after the last, in per cent. A cell is *inside* where our "
    "mean is within the published spread of the published mean, or within "
    f"{TOLERANCE:g} point where no spread was published, in either direction. Ours is the mean "
    "over seeds with its 95 % BCa bootstrap interval, which of five seeds covers about 85 % and of "
    "three little more than their range. One run has no interval, and its verdict says little. "
    "Settings are the published ones but where a table says otherwise; none was tuned here. Loops "
    "written apart, which some reasons name, are not part of the suite."
)


def rows(outcomes: Sequence[Outcome]) -> Rows:
    """Return a row a cell, in full precision."""
    return [
        {
            "table": found.cell.table,
            "row": found.cell.row,
            "method": found.cell.method,
            "strategy": found.entry.strategy,
            "published": found.cell.published.published,
            "spread": found.cell.published.spread,
            "ours": found.mean,
            "low": found.low,
            "high": found.high,
            "deviation": found.deviation,
            "seeds": len(found.entry.runs),
            "difference": found.difference,
            "allowed": found.cell.allowed,
            "verdict": found.verdict,
            "group_id": found.entry.group_id,
            "sha256": checksum(entry_bytes(found.entry)),
        }
        for found in outcomes
    ]


def people_rows(outcomes: Sequence[Outcome]) -> Rows:
    """Return a row a cell as text, without the name of the table."""
    return [
        {
            "": found.cell.row,
            "method": found.cell.method,
            "published": _published(found.cell),
            "ours": _ours(found),
            "seeds": len(found.entry.runs),
            "difference": _signed(found.difference),
            "verdict": "inside" if found.inside else f"**{found.verdict}**",
        }
        for found in outcomes
    ]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return how many cells are inside, in words."""
    inside = sum(found.inside for found in outcomes)
    return f"{inside} of {len(outcomes)} published cells are inside"


def render(
    tables: Mapping[str, PublishedTable], cells: Sequence[Cell], outcomes: Sequence[Outcome]
) -> dict[str, bytes]:
    """Return the generated files by name.

    Args:
        tables: all published tables by name.
        cells: all their cells.
        outcomes: of those that were made again, in the order of the cells.
    """
    return {
        "README.md": _readme(tables, cells, outcomes),
        "table.csv": csv_bytes([{k: _short(v) for k, v in row.items()} for row in rows(outcomes)]),
    }


def _readme(
    tables: Mapping[str, PublishedTable], cells: Sequence[Cell], outcomes: Sequence[Outcome]
) -> bytes:
    parts = [
        "# Published tables, made again",
        generated("by `cl_bench reproduce` from configs/published/ and the entries here"),
        f"{summary(outcomes)}; {len(cells) - len(outcomes)} more are described and were not run.",
        _HOW,
        _overview(tables, cells, outcomes),
        "Make it again (runs that have a record are not run again), or only check that this page "
        "and its entries agree:",
        "```\npython -m cl_bench reproduce\npython -m cl_bench reproduce --verify\n```",
    ]
    for name, table in tables.items():
        mine = [found for found in outcomes if found.cell.table == name]
        made = {found.cell.name for found in mine}
        missing = [c.name for c in cells if c.table == name and c.name not in made]
        parts += _section(name, table, mine, missing)
    if outcomes:
        named = ((f"{o.cell.table} {o.cell.name}", o.entry) for o in outcomes)
        parts += ["## Where the numbers come from", markdown(origins(named))]
    return document(parts)


def _overview(
    tables: Mapping[str, PublishedTable], cells: Sequence[Cell], outcomes: Sequence[Outcome]
) -> str:
    found = []
    for name, table in tables.items():
        mine = [each for each in outcomes if each.cell.table == name]
        found.append(
            {
                "table": f"[{name}](#{name})",
                "what": table.title,
                "cells": sum(cell.table == name for cell in cells),
                "made again": len(mine),
                "inside": sum(each.inside for each in mine),
                "within 1 point": sum(abs(each.difference) <= TOLERANCE for each in mine),
            }
        )
    return markdown(found)


def _section(
    name: str, table: PublishedTable, outcomes: Sequence[Outcome], missing: Sequence[str]
) -> list[str]:
    """Return the parts of the page that are of one table."""
    spread = f" Published spread: {table.spread}." if table.spread else ""
    departs = [f"- {method}: {how.departs}" for method, how in table.methods.items() if how.departs]
    whys = [
        f"- {found.cell.row}, {found.cell.method} ({_signed(found.difference)}): "
        f"{found.cell.published.why or 'not explained yet.'}"
        for found in outcomes
        if not found.inside
    ]
    return [
        f"## {name}",
        f"{table.title}. {table.source}.{spread}",
        table.notes,
        markdown(people_rows(outcomes)),
        f"Not run: {', '.join(missing)}." if missing else "",
        "Where this departs from the paper:" if departs else "",
        "\n".join(departs),
        "Outside, and why:" if whys else "",
        "\n".join(whys),
    ]


def _published(cell: Cell) -> str:
    spread = cell.published.spread
    return f"{cell.published.published:.2f}" + ("" if spread is None else f" ± {spread:.2f}")


def _signed(difference: float) -> str:
    return "diverged" if math.isnan(difference) else f"{difference:+.2f}"


def _ours(found: Outcome) -> str:
    if math.isnan(found.low):
        return "" if math.isnan(found.mean) else f"{found.mean:.2f}"
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
