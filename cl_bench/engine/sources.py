"""Which code trains: a hash of every source file that a run's bits may depend on.

What shows, compares or ships results is left out: it can be mended while a training goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cl_bench.results.provenance import PACKAGES, versions

_PACKAGE = Path(__file__).resolve().parents[1]
TRAINING = (
    *("seeding.py", "config.py", "data", "benchmarks"),
    *("engine", "methods", "instruments", "strategies"),
)
"""Files and folders of the suite that training depends on."""


@cache
def code_version(*more: str) -> str:
    """Return a hash of the code that trains and of the packages it is built on.

    A checkpoint of other code is not resumed: the run would be neither the old nor the new one.
    A strategy from outside has its own hash in the config of its runs.

    Args:
        more: further files or folders of the suite that are to count.
    """
    digest = hashlib.sha256(json.dumps(versions(PACKAGES), sort_keys=True).encode())
    for path in sorted(_sources((*TRAINING, *more))):
        digest.update(f"\n{path.parent.name}/{path.name}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        # Checked out, the strategies stand beside the package; installed, in it.
        place = next(p for p in (_PACKAGE / name, _PACKAGE.parent / name) if p.exists())
        yield from place.rglob("*.py") if place.is_dir() else (place,)
