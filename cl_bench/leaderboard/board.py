"""A board: built from records, added to, and made again from its entries.

It is a folder with `entries/`, one JSON file a configuration, and three files that are made from
these alone. The same records give the same bytes, so whatever was changed by hand shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cl_bench import atomic
from cl_bench.errors import UserError, unknown
from cl_bench.leaderboard import folder as folders
from cl_bench.leaderboard import pages
from cl_bench.leaderboard.budget import read_searches, with_budgets
from cl_bench.leaderboard.entries import Entry, checksum, entry_bytes, problem_together
from cl_bench.leaderboard.records import make_entries
from cl_bench.leaderboard.standings import Standings, standings

SEARCHES = "tuning"
"""Beside the boards: the searches that chose the settings, a folder a board."""


@dataclass(frozen=True)
class Built:
    """What `build`, `add` or `rebuild` made."""

    folder: Path
    standings: Standings
    removed: tuple[str, ...]
    """Entries that were there before and are not now."""
    warnings: tuple[str, ...]
    """One line for each record that was left out although it may belong to the board."""


def build(
    config: str, out: Path, to: Path, tuning_note: str | None = None, *, replace: bool = False
) -> Built:
    """Make the board of a protocol from all its records.

    Args:
        config: the protocol: a name in `configs/` or the path of a YAML file.
        out: the folder of the runs.
        to: the folder of the boards; this one is written to `to/<config>`.
        tuning_note: how the settings were chosen, for people.
        replace: remove the entries that are there and have no records; else they are a reason to
            refuse.

    Raises:
        UserError: the config is wrong, no record is of its protocol, records of it disagree on
            data or task streams, an entry would be lost, or the target cannot be written.
    """
    entries, warnings = make_entries(config, out, _note(tuning_note))
    if not entries:
        raise UserError(f"no record of {config} in {out} can be used: {warnings[0]}")
    folder = to / entries[0].board.name
    with folders.held(folder):
        folders.complete(folder)
        lost = folders.strangers(folder, [_path(entry) for entry in entries])
        if lost and not replace:
            raise UserError(
                f"{folder} has {len(lost)} entries without records in {out} ({lost[0]}, …): keep "
                "them with `leaderboard add`, or give --replace to remove them"
            )
        return _make(folder, entries, warnings, lost)


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
        tuning: the file of the search that chose them (`budget.parse_search`), or a folder of such
            files: each configuration then has the budget of the search that names its group_id.

    Raises:
        UserError: as `build`, or the board there is damaged, a strategy has no records, or the
            new entries disagree with the board's on protocol, data or task streams.
    """
    made, warnings = make_entries(config, out, _note(tuning_note))
    known = {entry.strategy for entry in made}
    for name in strategies:
        if name not in known:
            raise unknown(f"strategy of {config} in {out}", name, known)
    chosen = [entry for entry in made if entry.strategy in strategies]
    kept: dict[str, bytes] = {}
    if tuning is not None:
        searches = read_searches(tuning)
        chosen = with_budgets(chosen, tuning, searches)
        named = {entry.budget.sha256 for entry in chosen if entry.budget}
        kept = {p.name: data for p, data in searches.items() if checksum(data) in named}
    folder = to / chosen[0].board.name
    with folders.held(folder):
        before = folders.read_entries(folder) if folders.exists(folder) else []
        stay = [entry for entry in before if entry.strategy not in strategies]
        gone = {_path(e) for e in before} - {_path(e) for e in (*stay, *chosen)}
        return _make(folder, [*stay, *chosen], warnings, sorted(gone), kept)


def rebuild(folder: Path) -> Built:
    """Make a board's tables again from its entries, which must be those that it was built with.

    Raises:
        UserError: there is no board in this folder, or an entry is not as it was built.
    """
    with atomic.locked(folder):
        return _make(folder, folders.read_entries(folder), (), ())


def _make(
    folder: Path,
    entries: Sequence[Entry],
    warnings: Sequence[str],
    removed: Sequence[str],
    kept: Mapping[str, bytes] | None = None,
) -> Built:
    """Write the board of these entries, with the searches to be kept beside it."""
    entries = sorted(entries, key=lambda entry: (entry.strategy, entry.group_id))
    problem = problem_together(entries)
    if problem:
        raise UserError(f"these records cannot stand on one board: {problem}")
    found = standings(entries)
    files = {_path(entry): entry_bytes(entry) for entry in entries} | pages.render(entries, found)
    for name, data in (kept or {}).items():  # a board never names a search that is not there
        atomic.replace(folder.parent / SEARCHES / folder.name / name, data)
    folders.write(folder, files, removed)
    names = tuple(Path(name).name for name in removed)
    return Built(folder, found, names, tuple(warnings))


def _path(entry: Entry) -> str:
    return f"{folders.ENTRIES}/{entry.file_name}"


def _note(text: str | None) -> str | None:
    return (text or "").strip() or None
