"""What `verify` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that `verify` looked at."""

    subject: str
    """A file of the board, "all entries", "task streams", or a run that was made again."""
    problem: str | None
    """What is wrong with it; None where nothing is."""
    note: str = ""
    """How it was checked, where there is more than one way."""
    skipped: bool = False
    """Whether it could not be checked here; the note says why."""
