"""A stream of one of Avalanche's benchmarks as it stands on disk: read and verified.

Neither Avalanche nor the data set is needed to read it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cl_bench.errors import UserError

Half = Literal["train", "test"]
HALVES: tuple[Half, Half] = ("train", "test")

_CONTENT = "content.json"


class Stream:
    """One seed's tasks on disk."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder = folder
        self.content = content
        """`classes`: of each task, in Avalanche's order; `train`, `test`: how many images each of
        these has; `sha256`: of each task's images and labels."""
        self._verified: set[tuple[int, Half]] = set()

    def arrays(self, task: int, half: Half) -> tuple[np.ndarray, np.ndarray]:
        """Return the images uint8 [n, pixels] of a task and their classes int64 [n].

        Raises:
            UserError: the file is damaged.
        """
        path = self.folder / f"task-{task}.safetensors"
        images, labels = (self._read(path, f"{half}_{what}") for what in ("images", "labels"))
        if (task, half) not in self._verified:
            if digest(images, labels) != self.content["sha256"][half][task]:
                raise self._damaged(path)
            self._verified.add((task, half))
        return images, labels

    def labels(self, task: int, half: Half) -> np.ndarray:
        """Return the classes int64 [n] of the images of a task."""
        return self._read(self.folder / f"task-{task}.safetensors", f"{half}_labels")

    def _read(self, path: Path, name: str) -> np.ndarray:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                array: np.ndarray = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise self._damaged(path) from error
        return array

    def _damaged(self, path: Path) -> UserError:
        return UserError(f"{path} is damaged; delete {self.folder}, it is made again")


def digest(images: np.ndarray, labels: np.ndarray) -> str:
    """Return the SHA-256 of a task's images and labels."""
    found = hashlib.sha256(repr(images.shape).encode())
    found.update(np.ascontiguousarray(images).data)
    found.update(labels.astype("<i8").data)
    return found.hexdigest()


def write_content(folder: Path, content: dict[str, Any]) -> None:
    """Write what a folder of the cache says of itself; it is whole with that."""
    (folder / _CONTENT).write_text(json.dumps(content) + "\n")


def read_content(folder: Path) -> dict[str, Any] | None:
    """Return what a folder of the cache says of itself, or None where it is not there whole."""
    try:
        content: dict[str, Any] = json.loads((folder / _CONTENT).read_text())
    except (OSError, ValueError):
        return None
    return content
