"""What choosing settings cost: read from the files of the searches that chose them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cl_bench.errors import UserError
from cl_bench.leaderboard.entries import Entry, TuningBudget, checksum


def read_searches(given: Path) -> dict[Path, bytes]:
    """Return the contents of the search that `--tuning` gives, or of all those in its folder.

    Raises:
        UserError: one cannot be read.
    """
    found = {}
    for path in sorted(given.glob("*.json")) if given.is_dir() else [given]:
        try:
            found[path] = path.read_bytes()
        except OSError as error:
            raise UserError(f"--tuning {path}: {error.strerror or error}") from error
    return found


def with_budgets(
    entries: Sequence[Entry], given: Path, searches: Mapping[Path, bytes]
) -> list[Entry]:
    """Return entries of which those that a search chose have its budget.

    Of a single search that names no configuration, all entries have it.

    Args:
        entries: of one board.
        given: what `--tuning` gives.
        searches: contents of its files by path.

    Raises:
        UserError: one is not a search, or none of them chose one of these entries.
    """
    budgets = dict(parse_search(path, data) for path, data in searches.items())
    if None in budgets and len(searches) == 1:
        return [entry.model_copy(update={"budget": budgets[None]}) for entry in entries]
    ids = sorted(entry.group_id for entry in entries)
    if not any(group_id in budgets for group_id in ids):
        chosen = ", ".join(sorted(filter(None, budgets)))
        which = f"it chose configuration {chosen}" if chosen else "it chose none"
        raise UserError(
            f"--tuning {given}: {which}, of which there are no records; the records are of "
            f"{', '.join(ids)}"
        )
    return [e.model_copy(update={"budget": budgets.get(e.group_id)}) for e in entries]


def parse_search(path: Path, data: bytes) -> tuple[str | None, TuningBudget]:
    """Return the group_id of what a search chose, and the budget that its file states.

    The file is JSON with `trials`, `seeds`, `metric` and `method`, at its top or under `terms`
    (`trials` also under `budget`, as what was spent), and may name the chosen configuration's
    `group_id` at its top. The records of `cl_bench tune` are such files.

    Raises:
        UserError: it is not JSON, or one of these is missing or wrong.
    """
    try:
        content: Any = json.loads(data)
    except ValueError as error:
        raise UserError(f"--tuning {path}: it is not JSON ({error})") from error
    content = content if isinstance(content, dict) else {}
    stated: dict[str, Any] = {}
    for part in (content, content.get("terms"), content.get("budget")):
        stated |= part if isinstance(part, dict) else {}
    given = {name: stated.get(name) for name in ("trials", "seeds", "metric", "method")}
    try:
        budget = TuningBudget.model_validate(given | {"sha256": checksum(data)})
    except ValidationError as error:
        problem = error.errors()[0]
        key = str(problem["loc"][0])
        raise UserError(f"--tuning {path}: {key} = {given.get(key)!r}: {problem['msg']}") from None
    group_id = content.get("group_id")
    return (group_id if isinstance(group_id, str) else None), budget
