"""What is wrong with a board: every file checked against what its entries give.

It shows what was changed since the board was built; whether the runs themselves give these
accuracies, only running them again can tell (`rerun`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_bench.leaderboard import folder as folders
from cl_bench.leaderboard import pages
from cl_bench.leaderboard.board import SEARCHES
from cl_bench.leaderboard.check import Check
from cl_bench.leaderboard.entries import Entry, checksum
from cl_bench.leaderboard.standings import standings
from cl_bench.leaderboard.streams import check_streams

_SHOWN = 60
"""Characters that are quoted of a line that differs."""


def verify(folder: Path, data_dir: Path | None = None) -> list[Check]:
    """Return what was checked of a board and what is wrong, one check a file.

    Every entry's checksum, ids and matrices are checked, its data and task streams made again
    where the data are at hand, then all tables are made again and compared to the byte. Nothing is
    written.

    Raises:
        UserError: there is no board in this folder.
    """
    if folders.is_begun(folder):
        stopped = "the board was being written and that was stopped; `leaderboard rebuild` goes on"
        return [Check(folders.JOURNAL, stopped)]
    entries, checks = folders.check_entries(folder)
    files = sum(check.subject.startswith(f"{folders.ENTRIES}/") for check in checks)
    usable = checks[-1].problem is None and len(entries) == files
    if usable:
        checks.append(check_streams(entries, data_dir))
        if any(entry.budget for entry in entries):
            checks.append(_check_searches(entries, folder.parent / SEARCHES / folder.name))
    made = pages.render(entries, standings(entries)) if usable else {}
    for name in folders.TABLES:
        problem = difference(folder / name, made[name]) if made else "an entry cannot be used"
        checks.append(Check(name, problem))
    return checks


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


def difference(path: Path, made: bytes) -> str | None:
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
