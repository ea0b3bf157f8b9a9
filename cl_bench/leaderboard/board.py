"""A board on disk: built from records, added to, and verified from its entries.

A board is a folder with `entries/`, one JSON file a configuration, and three files that are made
from these alone. The same records give the same bytes, so whatever was changed by hand shows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_bench import atomic
from cl_bench.errors import UserError, unknown
from cl_bench.leaderboard import pages
from cl_bench.leaderboard.budget import read_budget
from cl_bench.leaderboard.check import Check
from cl_bench.leaderboard.entries import (
    Entry,
    checksum,
    entry_bytes,
    parse_entry,
    problem_of,
    problem_together,
)
from cl_bench.leaderboard.records import make_entries, read_board
from cl_bench.leaderboard.standings import Rows, standings
from cl_bench.leaderboard.streams import check_streams

ENTRIES = "entries"
SEARCHES = "tuning"
"""Beside the boards: the searches that chose the settings, a folder a board."""
_SHOWN = 60
"""Characters that are quoted of a line that differs."""


@dataclass(frozen=True)
class Built:
    """What `build`, `add` or `rebuild` made."""

    folder: Path
    rows: Rows
    """A row for each entry, best first."""
    removed: tuple[str, ...]
    """Entries that were there before and are not now."""
    warnings: tuple[str, ...]
    """One line for each record that was left out although it may belong to the board."""


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
    entries, warnings = make_entries(config, out, _note(tuning_note))
    if not entries:
        raise UserError(f"no record of {config} in {out} can be used: {warnings[0]}")
    return _make(to / entries[0].board.name, entries, warnings)


def add(
    config: str,
    out: Path,
    to: Path,
    strategies: Sequence[str],
    tuning_note: str | None = None,
    tuning: Path | None = None,
) -> Built:
    """Put the entries of some strategies on a board, in place of those it has of them.

    The entries of other strategies stay as they are. Where there is no board yet, one is made.

    Args:
        config: the protocol: a name in `configs/` or the path of a YAML file.
        out: the folder of the runs.
        to: the folder of the boards; this one is `to/<config>`.
        strategies: names of the strategies whose records are taken.
        tuning_note: how the settings were chosen, for people.
        tuning: the file of the search that chose them (`budget.read_budget`), or a folder of such
            files: each configuration then has the budget of the search that names its group_id.

    Raises:
        UserError: as `build`, or the board there is damaged, a strategy has no records, or the
            new entries disagree with the board's on protocol, data or task streams.
    """
    folder = to / read_board(config)[0].name
    kept = read_entries(folder) if folder.exists() else []
    made, warnings = make_entries(config, out, _note(tuning_note))
    known = {entry.strategy for entry in made}
    for name in strategies:
        if name not in known:
            raise unknown(f"strategy of {config} in {out}", name, known)
    chosen = [entry for entry in made if entry.strategy in strategies]
    if tuning is not None:
        chosen = (_with_budgets if tuning.is_dir() else _with_budget)(chosen, tuning)
    kept = [entry for entry in kept if entry.strategy not in strategies]
    built = _make(folder, [*kept, *chosen], warnings)
    if tuning is not None:
        files = sorted(tuning.glob("*.json")) if tuning.is_dir() else [tuning]
        named = {entry.budget.sha256 for entry in chosen if entry.budget}
        _keep({f.name: f.read_bytes() for f in files}, named, to / SEARCHES / folder.name)
    return built


def rebuild(folder: Path) -> Built:
    """Make a board's tables again from its entries, which must be those that it was built with.

    Raises:
        UserError: there is no board in this folder, or an entry is not as it was built.
    """
    return _make(folder, read_entries(folder), ())


def read_entries(folder: Path) -> list[Entry]:
    """Return the entries of a board.

    Raises:
        UserError: there is no board in this folder, or an entry is not as it was built.
    """
    entries, checks = _check_entries(folder)
    for check in checks:
        if check.problem:
            raise UserError(f"{folder} is damaged: {check.subject}: {check.problem}")
    return entries


def verify(folder: Path, data_dir: Path | None = None) -> list[Check]:
    """Return what was checked of a board and what is wrong, one check a file.

    Every entry's checksum, ids and matrices are checked, its data and task streams made again
    where the data are at hand, then all tables are made again and compared to the byte. It shows
    what was changed since the board was built; whether the runs themselves give these accuracies
    only running them again can tell (`leaderboard.rerun`).

    Raises:
        UserError: there is no board in this folder.
    """
    entries, checks = _check_entries(folder)
    files = sum(check.subject.startswith(f"{ENTRIES}/") for check in checks)
    usable = checks[-1].problem is None and len(entries) == files
    if usable:
        checks.append(check_streams(entries, data_dir))
        if any(entry.budget for entry in entries):
            checks.append(_check_searches(entries, folder.parent / SEARCHES / folder.name))
    made = pages.render(entries, standings(entries)) if usable else {}
    for name in ("README.md", "table.csv", "table.json"):
        problem = _difference(folder / name, made[name]) if made else "an entry cannot be used"
        checks.append(Check(name, problem))
    return checks


def _make(folder: Path, entries: Sequence[Entry], warnings: Sequence[str]) -> Built:
    """Write the board of these entries."""
    entries = sorted(entries, key=lambda entry: (entry.strategy, entry.group_id))
    problem = problem_together(entries)
    if problem:
        raise UserError(f"these records cannot stand on one board: {problem}")
    files = {f"{ENTRIES}/{entry.file_name}": entry_bytes(entry) for entry in entries}
    found = standings(entries)
    removed = _write(folder, files | pages.render(entries, found))
    return Built(folder, found.rows, tuple(removed), tuple(warnings))


def _note(text: str | None) -> str | None:
    return (text or "").strip() or None


def _with_budgets(entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """Return entries of which those that a search in the folder chose have its budget."""
    found = [read_budget(path) for path in sorted(folder.glob("*.json"))]
    searches = {group_id: budget for budget, group_id in found}
    if not any(entry.group_id in searches for entry in entries):
        raise UserError(
            f"--tuning {folder}: no search there ({len(searches)}) chose one of the "
            f"configurations {', '.join(sorted(entry.group_id for entry in entries))}"
        )
    return [entry.model_copy(update={"budget": searches.get(entry.group_id)}) for entry in entries]


def _with_budget(entries: Sequence[Entry], file: Path) -> list[Entry]:
    """Return entries of which those that the search of a file chose have its budget."""
    budget, group_id = read_budget(file)
    ids = {entry.group_id for entry in entries}
    if group_id is not None and group_id not in ids:
        raise UserError(
            f"--tuning {file}: it chose configuration {group_id}, of which there are no records; "
            f"the records are of {', '.join(sorted(ids))}"
        )
    return [
        entry.model_copy(update={"budget": budget}) if group_id in (None, entry.group_id) else entry
        for entry in entries
    ]


def _check_entries(folder: Path) -> tuple[list[Entry], list[Check]]:
    """Return the entries that can be used, and a check of each file and of all together."""
    if not (folder / ENTRIES).is_dir():
        raise UserError(f"{folder} is not a leaderboard: it has no folder {ENTRIES}")
    listed = _listed(folder)
    entries: list[Entry] = []
    checks = []
    for path in sorted((folder / ENTRIES).iterdir()):
        name = f"{ENTRIES}/{path.name}"
        entry, problem = _check_entry(path, listed.pop(name, None))
        checks.append(Check(name, problem))
        if entry is not None:
            entries.append(entry)
    checks += [Check(name, "it is missing") for name in listed]
    together = problem_together(entries) if entries else "there is none that can be read"
    return entries, [*checks, Check("all entries", together)]


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


def _keep(files: Mapping[str, bytes], named: Collection[str], folder: Path) -> None:
    """Keep the searches of these checksums beside the boards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            if checksum(data) in named:
                (folder / name).write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot keep the search in {folder}: {error.strerror or error}") from error


def _check_searches(entries: Sequence[Entry], folder: Path) -> Check:
    """Return whether the searches that entries name are there, to the byte."""
    stated = {entry.budget.sha256: entry.file_name for entry in entries if entry.budget}
    if not folder.is_dir():
        note = f"not checked: there is no folder {SEARCHES}/{folder.name} beside the board"
        return Check("searches", None, note, skipped=True)
    found = {checksum(path.read_bytes()) for path in folder.glob("*.json")}
    missing = [name for sha256, name in stated.items() if sha256 not in found]
    problem = f"{missing[0]} names a search that is not in {folder}" if missing else None
    return Check("searches", problem, f"{len(stated)} searches, by checksum")


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
            atomic.replace(folder / name, data)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write the leaderboard to {folder}: {reason}") from error
    return [path.name for path in stale]
