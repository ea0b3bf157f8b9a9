"""A board on disk: built from records, and verified from its entries.

A board is a folder with `entries/`, one JSON file a configuration, and three files that are made
from these alone. The same records give the same bytes, so whatever was changed by hand shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_bench.errors import UserError
from cl_bench.leaderboard import pages
from cl_bench.leaderboard.entries import (
    Entry,
    checksum,
    entry_bytes,
    parse_entry,
    problem_of,
    problem_together,
)
from cl_bench.leaderboard.records import make_entries
from cl_bench.leaderboard.standings import Rows, standings

ENTRIES = "entries"
_SHOWN = 60
"""Characters that are quoted of a line that differs."""


@dataclass(frozen=True)
class Built:
    """What `build` made."""

    folder: Path
    rows: Rows
    """A row for each entry, best first."""
    removed: tuple[str, ...]
    """Entries that were there before and have no records now."""
    warnings: tuple[str, ...]
    """One line for each record that was left out although it may belong to the board."""


@dataclass(frozen=True)
class Check:
    """One thing that `verify` looked at."""

    subject: str
    """A file of the board, or "all entries"."""
    problem: str | None
    """What is wrong with it; None where nothing is."""


def build(config: str, out: Path, to: Path, tuning_note: str | None = None) -> Built:
    """Make the board of a protocol from all its records, in place of what was there.

    Args:
        config: the protocol: a name in `configs/` or the path of a YAML file.
        out: the folder of the runs.
        to: the folder of the boards; this one is written to `to/<config>`.
        tuning_note: how the settings were chosen, for people.

    Raises:
        UserError: the config is wrong, no record is of its protocol, records of it disagree on
            data or task streams, or the target cannot be written.
    """
    note = (tuning_note or "").strip() or None
    entries, warnings = make_entries(config, out, note)
    if not entries:
        raise UserError(f"no record of {config} in {out} can be used: {warnings[0]}")
    problem = problem_together(entries)
    if problem:
        raise UserError(f"these records cannot stand on one board: {problem}")
    files = {f"{ENTRIES}/{entry.file_name}": entry_bytes(entry) for entry in entries}
    folder = to / entries[0].board.name
    found = standings(entries)
    removed = _write(folder, files | pages.render(entries, found))
    return Built(folder, found.rows, tuple(removed), tuple(warnings))


def verify(folder: Path) -> list[Check]:
    """Return what was checked of a board and what is wrong, one check a file.

    Every entry's checksum, ids and matrices are checked, then all tables are made again and
    compared to the byte. It shows what was changed since the board was built; whether the runs
    themselves give these accuracies only running them again can tell.

    Raises:
        UserError: there is no board in this folder.
    """
    if not (folder / ENTRIES).is_dir():
        raise UserError(f"{folder} is not a leaderboard: it has no folder {ENTRIES}")
    listed = _listed(folder)
    entries: list[Entry] = []
    checks = []
    paths = sorted((folder / ENTRIES).iterdir())
    for path in paths:
        name = f"{ENTRIES}/{path.name}"
        entry, problem = _check_entry(path, listed.pop(name, None))
        checks.append(Check(name, problem))
        if entry is not None:
            entries.append(entry)
    checks += [Check(name, "it is missing") for name in listed]
    together = problem_together(entries) if entries else "there is none that can be read"
    checks.append(Check("all entries", together))
    usable = together is None and len(entries) == len(paths)
    made = pages.render(entries, standings(entries)) if usable else {}
    for name in ("README.md", "table.csv", "table.json"):
        problem = _difference(folder / name, made[name]) if made else "an entry cannot be used"
        checks.append(Check(name, problem))
    return checks


def _check_entry(path: Path, listed: str | None) -> tuple[Entry | None, str | None]:
    """Return the entry of a file, None where it cannot be used, and what is wrong with it."""
    try:
        data = path.read_bytes()
        entry = parse_entry(data)
        problem = problem_of(entry)
    except (OSError, ValueError) as error:
        return None, f"it cannot be read ({' '.join(str(error).split())})"
    if problem:
        return None, problem
    if path.name != entry.file_name:
        return entry, f"its content is that of {entry.file_name}"
    if listed is None:
        return entry, "table.json does not list it"
    if checksum(data) != listed:
        return entry, f"its checksum is {checksum(data)[:12]}…, table.json has {listed[:12]}…"
    return entry, None


def _listed(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each entry as table.json has it; empty where that is damaged."""
    try:
        content: Any = json.loads((folder / "table.json").read_bytes())
        return {str(row["file"]): str(row["sha256"]) for row in content["entries"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _difference(path: Path, made: bytes) -> str | None:
    """Return the first difference of a file from what was made again, or None."""
    try:
        found = path.read_bytes()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if found == made:
        return None
    theirs, ours = (data.decode(errors="replace").splitlines() for data in (found, made))
    theirs, ours = [*theirs, "(the end)"], [*ours, "(the end)"]
    pairs = enumerate(zip(theirs, ours, strict=False), start=1)
    different = ((number, a, b) for number, (a, b) in pairs if a != b)
    number, a, b = next(different, (len(ours), "other line ends", "\\n"))
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    start = max(0, start - _SHOWN // 3)
    shown = [repr(text[start : start + _SHOWN]) for text in (a, b)]
    return f"line {number} is {shown[0]}, made again {shown[1]}"


def _write(folder: Path, files: Mapping[str, bytes]) -> Sequence[str]:
    """Write a board's files, each in one move, and return the entries that were removed."""
    try:
        (folder / ENTRIES).mkdir(parents=True, exist_ok=True)
        stale = [
            path
            for path in sorted((folder / ENTRIES).glob("*.json"))
            if f"{ENTRIES}/{path.name}" not in files
        ]
        for path in stale:
            path.unlink()
        for name, data in files.items():
            temporary = (folder / name).with_name(f".{Path(name).name}.writing")
            temporary.write_bytes(data)
            temporary.replace(folder / name)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write the leaderboard to {folder}: {reason}") from error
    return [path.name for path in stale]
