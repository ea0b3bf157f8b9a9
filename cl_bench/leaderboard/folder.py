"""A board's folder on disk: what lies in it, and how it is written so that no kill loses an entry.

All that a writing changes is first put into one file, in one move; from then on whoever writes to
the board next completes it. So a board is at any moment the old one or on its way to the new one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cl_bench.atomic import locked, replace, sweep
from cl_bench.errors import UserError
from cl_bench.leaderboard.check import Check
from cl_bench.leaderboard.entries import (
    Entry,
    checksum,
    parse_entry,
    problem_of,
    problem_together,
)
from cl_bench.leaderboard.rendering import refuse_other_peoples

ENTRIES = "entries"
TABLES = ("README.md", "table.csv", "table.json")
JOURNAL = ".pending.json"
"""The files of a writing that was begun, whole, and the names of those that it takes away."""
_NAME = re.compile(rf"({ENTRIES}/)?[^./\\][^/\\]*")


def write(folder: Path, files: Mapping[str, bytes], removed: Collection[str] = ()) -> None:
    """Write a board's files and take some away; killed at any moment, it can be completed.

    Args:
        folder: the board's.
        files: contents by name; text.
        removed: names of files of the board.

    Raises:
        UserError: the folder cannot be written, or holds files that no board has written.
    """
    refuse_other_peoples(folder / name for name in TABLES)
    try:
        content = {
            "of": _checksum(folder / "table.json"),
            "files": {name: data.decode() for name, data in files.items()},
            "removed": sorted(removed),
        }
        replace(folder / JOURNAL, json.dumps(content, ensure_ascii=False).encode())
        complete(folder)
    except (OSError, UserError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write the leaderboard to {folder}: {reason}") from None


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep others from writing a board from before it is read until it is written; they wait.

    Raises:
        UserError: there is no folder, and it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write the leaderboard to {folder}: {reason}") from None
    with locked(folder):
        yield


def complete(folder: Path) -> bool:
    """Complete a writing that was stopped, and return whether there was one.

    Raises:
        UserError: the folder cannot be written, or what was begun cannot be read.
    """
    begun = _begun(folder)
    if begun is None:
        return False
    files, removed = begun
    for name, data in files.items():
        if not _holds(folder / name, data):
            replace(folder / name, data)
    try:
        for name in removed:
            (folder / name).unlink(missing_ok=True)
        for parent in (folder, folder / ENTRIES):
            sweep(parent)
        (folder / JOURNAL).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror or error}") from error
    return True


def is_begun(folder: Path) -> bool:
    """Return whether a writing was stopped before it was complete."""
    return (folder / JOURNAL).exists()


def exists(folder: Path) -> bool:
    """Return whether there is a board, also one whose first writing was stopped."""
    return (folder / ENTRIES).is_dir() or is_begun(folder)


def read_entries(folder: Path) -> list[Entry]:
    """Return the entries of a board, having completed a writing that was stopped.

    Raises:
        UserError: there is no board in this folder, or an entry is not as it was built.
    """
    complete(folder)
    entries, checks = check_entries(folder)
    for check in checks:
        if check.problem:
            raise UserError(f"{folder} is damaged: {check.subject}: {check.problem}")
    return entries


def check_entries(folder: Path) -> tuple[list[Entry], list[Check]]:
    """Return the entries that can be used, and a check of each file and of all together.

    Raises:
        UserError: there is no board in this folder.
    """
    if not (folder / ENTRIES).is_dir():
        raise UserError(f"{folder} is not a leaderboard: it has no folder {ENTRIES}")
    listed = _listed(folder)
    entries: list[Entry] = []
    checks = []
    for path in _entry_files(folder):
        name = f"{ENTRIES}/{path.name}"
        entry, problem = _check_entry(path, listed.pop(name, None))
        checks.append(Check(name, problem))
        if entry is not None:
            entries.append(entry)
    checks += [Check(name, "it is missing") for name in listed]
    together = problem_together(entries) if entries else "there is none that can be read"
    return entries, [*checks, Check("all entries", together)]


def strangers(folder: Path, keep: Collection[str]) -> list[str]:
    """Return the entries of a board, by name, that are not among those to be kept.

    What neither table.json lists nor is an entry under its own name is not the board's.
    """
    if not (folder / ENTRIES).is_dir():
        return []
    listed = _listed(folder)
    names = {path: f"{ENTRIES}/{path.name}" for path in _entry_files(folder)}
    return [
        name
        for path, name in names.items()
        if name not in keep and (name in listed or _is_entry(path))
    ]


def _entry_files(folder: Path) -> list[Path]:
    """Return what lies among the entries; what is hidden is no entry."""
    return [path for path in sorted((folder / ENTRIES).iterdir()) if path.name[0] != "."]


def _is_entry(path: Path) -> bool:
    try:
        return parse_entry(path.read_bytes()).file_name == path.name
    except (OSError, ValueError):
        return False


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


def _begun(folder: Path) -> tuple[dict[str, bytes], Sequence[str]] | None:
    """Return the files of a writing that was begun, and the names that it takes away."""
    path = folder / JOURNAL
    try:
        content: Any = json.loads(path.read_bytes())
        files = {str(name): str(text).encode() for name, text in content["files"].items()}
        removed, before = [str(name) for name in content["removed"]], content["of"]
        after = checksum(files["table.json"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove it") from None
    for name in (*files, *removed):
        if not _NAME.fullmatch(name):
            raise UserError(f"{path} names {name!r}, which is no file of a board; remove it")
    if _checksum(folder / "table.json") not in (before, after):
        raise UserError(
            f"{path} is of a writing that was begun on another table.json; remove it to keep the "
            "board as it is"
        )
    return files, removed


def _checksum(path: Path) -> str | None:
    try:
        return checksum(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False
