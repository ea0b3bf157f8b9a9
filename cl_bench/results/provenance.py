"""Where a run's numbers come from: the code's commit, the machine, the packages, the times.

Nothing in it names a person or a place: no path, host or user name.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypedDict

PACKAGES = (
    "cl_bench",
    "avalanche-lib",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "safetensors",
    "scipy",
    "torch",
    "torchvision",
    "wandb",
)
SOURCES = ("cl_bench", "strategies", "configs")
"""What makes up the suite's source tree; a change elsewhere does not make it dirty."""


class GitState(TypedDict):
    """The checkout that a run's code is of."""

    commit: str
    clean: bool
    """Whether its sources (`SOURCES`) were as committed."""


class Provenance(TypedDict, total=False):
    """Where a run's numbers come from."""

    git: GitState | None
    """None where the package is not in a checkout of its own."""
    code: str
    """Hash of the strategy's source and of what it shares with others, comments left out."""
    python: str
    platform: str
    cpu: str
    cpu_kernels: str
    """The instructions that torch's own kernels use."""
    packages: dict[str, str]
    """Versions by name, of those of `PACKAGES` that are installed."""
    device: str
    """What it ran on: `cpu`, `cuda: NVIDIA H200`."""
    threads: int
    """Threads that computed it."""
    started: str | None
    """In ISO 8601 in UTC, to the second, as `finished`."""
    finished: str | None


_PACKAGE = Path(__file__).resolve().parents[1]
_GIT_SECONDS = 10


def collect(
    device: str,
    threads: int,
    *,
    started: datetime | None = None,
    finished: datetime | None = None,
) -> Provenance:
    """Return the provenance of a run made by this process.

    Args:
        device: what it ran on ("cpu", "cuda: NVIDIA H200").
        threads: threads that computed it.
        started: when it began; a time without a zone is an error, None is not recorded.
        finished: when it ended.

    Raises:
        ValueError: a time has no zone.
    """
    return {
        "git": git_state(),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",
        "cpu": cpu_model(),
        "cpu_kernels": cpu_kernels(),
        "packages": versions(PACKAGES),
        "device": device,
        "threads": threads,
        "started": _iso(started),
        "finished": _iso(finished),
    }


def git_state(package: Path = _PACKAGE) -> GitState | None:
    """Return {"commit", "clean"} of the checkout that tracks the package, else None.

    Asked once a process: a run is of the code that was loaded, not of later edits.
    """
    found = _git_state(package)
    return found.copy() if found else None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {name: _version(name) for name in packages}
    return {name: version for name, version in found.items() if version is not None}


@cache
def cpu_model() -> str:
    """Return the processor's name as the system gives it, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, models), platform.processor() or platform.machine())


def cpu_kernels() -> str:
    """Return the instructions that torch's own kernels use here, such as `AVX2`."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


@cache
def _git_state(package: Path) -> GitState | None:
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None  # installed: what repository lies around it says nothing of this code
    commit = _git(package, "rev-parse", "HEAD")
    beside = [str(package.parent / name) for name in SOURCES]
    changes = _git(package, "status", "--porcelain", "--", *beside)
    if not commit or changes is None:
        return None
    return {"commit": commit, "clean": not changes}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None where there is no git or it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _iso(time: datetime | None) -> str | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone")
    return time.astimezone(UTC).isoformat(timespec="seconds")
