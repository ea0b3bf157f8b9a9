"""Checkpoints at chosen moments of a training, which may stop there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from cl_bench.engine.checkpoint import Checkpoint


class Stopped(Exception):  # noqa: N818 - no error: the kit itself stops a training
    """A training was stopped at a checkpoint."""


class Stops(Checkpoint):
    """Writes a checkpoint at chosen moments, each to a file of its own, and may stop there.

    Args:
        folder: where the files go.
        moments: counted in what can be saved: once after every step, once more after every task.
        stopping: whether to raise `Stopped` after each.
    """

    def __init__(self, folder: Path, moments: Collection[int], *, stopping: bool) -> None:
        super().__init__(folder / "none", seconds=None)
        self.folder = folder
        self.moments = moments
        self.stopping = stopping
        self.now = 0

    def due(self, steps: int) -> bool:
        self.now += 1
        return self.now in self.moments

    def write(self, *content: Any) -> None:
        self.path = self.folder / str(self.now)
        super().write(*content)
        if self.stopping:
            raise Stopped
