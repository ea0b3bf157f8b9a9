"""What the pages of boards, of comparisons and of published tables share.

A page is Markdown that says which command made it; its table for spreadsheets is CSV. Nothing that
another hand made is overwritten.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_bench.errors import UserError
from cl_bench.leaderboard.entries import Entry

Row = Mapping[str, Any]

_MARK = re.compile(
    rb"<!-- Generated [^>]*`cl_bench |"  # a page's comment
    rb"\A[^\n]*,group_id,|"  # the columns of a CSV file
    rb'"protocol_id":'  # table.json
)
_START = 2000
"""Bytes of a generated file in which one of these stands."""


def generated(note: str) -> str:
    """Return the comment of a generated page: from what, and by which command."""
    return f"<!-- Generated {note}; edits are lost. -->"


def document(parts: Iterable[str]) -> bytes:
    """Return a page of Markdown; empty parts are left out."""
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def markdown(rows: Sequence[Row]) -> str:
    """Return a table of rows with the same keys; nothing for no rows."""
    if not rows:
        return ""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[str(row[column]).replace("|", "\\|") for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def csv_bytes(rows: Sequence[Row]) -> bytes:
    """Return rows with the same keys as CSV; empty for no rows and for what is not a number."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value)
    return "" if isinstance(value, float) and math.isnan(value) else value


def origins(named: Iterable[tuple[str, Entry]]) -> list[dict[str, str]]:
    """Return where the runs were made (code, packages, machine), a row for each such place.

    Args:
        named: entries, each with the name that it is shown by.
    """
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, entry in named:
        found.setdefault(tuple(_origin(entry).items()), []).append(name)
    return [
        {"entries": "all" if len(found) == 1 else "; ".join(names), **dict(origin)}
        for origin, names in found.items()
    ]


def _origin(entry: Entry) -> dict[str, str]:
    def each(values: Iterable[object]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values if value))

    sources = [run.provenance for run in entry.runs]
    return {
        "commit": each(_commit(source.get("git")) for source in sources),
        "torch": each((source.get("packages") or {}).get("torch") for source in sources),
        **{key: each(s.get(key) for s in sources) for key in ("device", "python", "platform")},
    }


def _commit(git: Any) -> str:
    if not isinstance(git, dict) or not git.get("commit"):
        return "unknown"
    changed = "" if git.get("clean") else " with changes"
    return f"{str(git['commit'])[:12]}{changed}"


def refuse_other_peoples(paths: Iterable[Path]) -> None:
    """Raise a `UserError` where a file that would be overwritten is not a generated one.

    Where one of several files of a folder is, all are taken for generated: some may be damaged.
    """
    there = [path for path in paths if path.exists()]
    if there and not any(_is_generated(path) for path in there):
        raise UserError(f"{there[0]} was not made by this command and would be overwritten")


def _is_generated(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return bool(_MARK.search(file.read(_START)))
    except OSError:
        return False
