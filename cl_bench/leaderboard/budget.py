"""What choosing an entry's settings cost, as the file of the search says it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from cl_bench.config import Section
from cl_bench.errors import UserError


class TuningBudget(Section):
    """What was spent on choosing settings."""

    trials: Annotated[int, Field(ge=1)]
    """Settings that were tried in full, or what was spent in such trials."""
    seeds: Annotated[int, Field(ge=1)]
    """Seeds that each was tried with."""
    metric: str
    """By which the best was chosen."""
    method: str
    """How the settings to try were found."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the file that holds the search."""

    def __str__(self) -> str:
        trials, seeds = ("" if number == 1 else "s" for number in (self.trials, self.seeds))
        return f"{self.trials} trial{trials} × {self.seeds} seed{seeds}"


def read_budget(path: Path) -> tuple[TuningBudget, str | None]:
    """Return the budget that the file of a search states, and the group_id of what it chose.

    The file is JSON with `trials`, `seeds`, `metric` and `method`, at its top or under `terms`
    (`trials` also under `budget`, as what was spent), and may name the chosen configuration's
    `group_id` at its top. The records of `cl_bench tune` are such files.

    Raises:
        UserError: the file cannot be read, or one of these is missing or wrong.
    """
    try:
        data = path.read_bytes()
        content: Any = json.loads(data)
    except OSError as error:
        raise UserError(f"--tuning {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"--tuning {path}: it is not JSON ({error})") from error
    content = content if isinstance(content, dict) else {}
    parts = [content, content.get("terms"), content.get("budget")]
    stated: dict[str, Any] = {}
    for part in parts:
        stated |= part if isinstance(part, dict) else {}
    given: dict[str, Any] = {
        name: stated.get(name) for name in ("trials", "seeds", "metric", "method")
    }
    try:
        budget = TuningBudget.model_validate(given | {"sha256": hashlib.sha256(data).hexdigest()})
    except ValidationError as error:
        problem = error.errors()[0]
        key = str(problem["loc"][0])
        raise UserError(f"--tuning {path}: {key} = {given.get(key)!r}: {problem['msg']}") from None
    group_id = content.get("group_id")
    return budget, group_id if isinstance(group_id, str) else None
