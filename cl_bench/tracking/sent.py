"""What was sent to W&B, noted beside the records, so that nothing is sent twice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from cl_bench import atomic


@dataclass(frozen=True)
class Destination:
    """Where on W&B runs go."""

    server: str
    entity: str | None
    project: str


@dataclass(frozen=True)
class Note:
    """Where one run went."""

    destination: Destination
    mode: str
    path: str | None
    """Name of the folder of its offline files."""
    url: str | None
    weights_sha256: str | None = None
    """None in notes from before that was kept."""


def write(folder: Path, run_id: str, note: Note) -> None:
    """Write a run's note into the folder of W&B's files; a UserError where that cannot be."""
    data = json.dumps(asdict(note), indent=1) + "\n"
    atomic.replace(_path(folder, run_id), data.encode())


def read(folder: Path, run_id: str) -> Note | None:
    """Return a run's note, None where there is none that can be read."""
    try:
        found = json.loads(_path(folder, run_id).read_text(encoding="utf-8"))
        return Note(**{**found, "destination": Destination(**found["destination"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _path(folder: Path, run_id: str) -> Path:
    return folder / "sent" / f"{run_id}.json"
