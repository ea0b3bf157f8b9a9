"""Checkpoints of a stack in training: all that the rest of its life depends on, in one file.

A safetensors file holds the tensors, its header a JSON text with everything else. It is replaced
atomically, so that a reader finds the newest whole checkpoint or the one before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cl_bench import atomic
from cl_bench.engine.sources import code_version
from cl_bench.engine.state import State
from cl_bench.errors import UserError

_log = logging.getLogger(__name__)
FORMAT = 1
FOLDER = ".checkpoints"
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds."""

    runs: tuple[str, ...]
    """The run_id of each run of the stack."""
    content: dict[str, Any]
    """Everything but tensors, as JSON has it."""
    tensors: dict[str, Tensor]

    def part(self, name: str) -> State:
        """Return the state that was saved under this name."""
        prefix = f"{name}:"
        chosen = {
            k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)
        }
        return State(self.content["trees"][name], chosen)


class Checkpoint:
    """Where, and how often, one stack's checkpoint is written.

    Args:
        path: the file.
        seconds: write when so many seconds have passed since the last; None does not.
        steps: write after every so many training steps; None does not.
    """

    def __init__(
        self, path: Path, *, seconds: float | None = 15.0, steps: int | None = None
    ) -> None:
        self.path = path
        self.seconds = seconds
        self.steps = steps
        self._last = time.monotonic()

    def due(self, steps: int) -> bool:
        """Return whether one should be written after so many training steps in all."""
        if self.steps is not None and steps % self.steps == 0:
            return True
        return self.seconds is not None and time.monotonic() - self._last >= self.seconds

    def write(
        self,
        runs: Sequence[str],
        device: torch.device,
        content: dict[str, Any],
        parts: dict[str, State],
    ) -> None:
        """Put a new checkpoint in the place of the last one.

        Where it cannot be written (a disk that is full, say), that is told once and training goes
        on: records are smaller, and may fit.

        Args:
            runs: the run_id of each run of the stack.
            device: where it trains; another kind of device does not resume it.
            content: everything but tensors, as JSON has it.
            parts: states by name.
        """
        tensors = {
            f"{part}:{name}": tensor.detach().cpu().contiguous().clone()
            for part, state in parts.items()
            for name, tensor in state.tensors.items()
        }
        trees = {part: state.tree for part, state in parts.items()}
        axes = {
            f"{part}:{name}": _axes(tensor)
            for part, state in parts.items()
            for name, tensor in state.tensors.items()
            if not tensor.is_contiguous()
        }
        header = {
            "format": FORMAT,
            "code": code_version(),
            "device": device.type,
            "runs": list(runs),
            "content": {**content, "trees": trees, "axes": axes},
        }
        data = save(tensors, {"cl_bench": json.dumps(header)})
        try:
            atomic.replace(self.path, data)
        except UserError as error:
            _tell(self.path.parent, str(error))
        self._last = time.monotonic()

    def read(self, runs: Sequence[str], device: torch.device) -> Snapshot | None:
        """Return what was saved of these runs; None where there is nothing that can be used.

        The checkpoint may hold more runs. One of another version of the code, or damaged, cannot
        be used: the runs are trained from the start.
        """
        header = read_header(self.path)
        if header is None or header["device"] != device.type:
            return None
        if not set(runs) <= set(header["runs"]):
            return None
        content, rows = header["content"], [header["runs"].index(run) for run in runs]
        with safe_open(self.path, framework="pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if rows != list(range(len(header["runs"]))):
            tensors = State(None, tensors).of_runs(rows).tensors
            content = {**content, "rows": _rows_of(content["rows"], rows)}
        # A product of a matrix and of the same matrix stored by columns differ in their last bits.
        for name, axes in content["axes"].items():
            tensor = tensors[name].permute(axes).contiguous()
            tensors[name] = tensor.permute(sorted(range(len(axes)), key=axes.__getitem__))
        return Snapshot(tuple(runs), content, tensors)

    def remove(self) -> None:
        """Remove the file, where that can be done: the stack has its records."""
        with suppress(OSError):
            self.path.unlink()


_told: set[Path] = set()


def _tell(folder: Path, problem: str) -> None:
    """Say on stderr that a folder takes no checkpoints, once a process."""
    if folder not in _told:
        _told.add(folder)
        _log.warning("%s; training goes on, but what is stopped now starts anew", problem)


def _axes(tensor: Tensor) -> list[int]:
    """Return the axes of a tensor, that with the largest stride in memory first."""
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda axis: -strides[axis])


def _rows_of(tables: dict[str, list[Any]], rows: Sequence[int]) -> dict[str, list[Any]]:
    return {name: [of_run[row] for row in rows] for name, of_run in tables.items()}


def path_for(out: Path, runs: Sequence[str]) -> Path:
    """Return where the checkpoint of a stack of these runs is kept, beside their records."""
    name = hashlib.sha256("\n".join(runs).encode()).hexdigest()[:16]
    return out / FOLDER / f"{name}{_SUFFIX}"


def unfinished(out: Path) -> dict[Path, tuple[str, ...]]:
    """Return the usable checkpoints in a folder of records, and the run_ids that each holds."""
    found = {}
    atomic.sweep(out / FOLDER, f".*{_SUFFIX}-*")
    for path in sorted((out / FOLDER).glob(f"[!.]*{_SUFFIX}")):
        header = read_header(path)
        if header is not None:
            found[path] = tuple(header["runs"])
    return found


def read_header(path: Path) -> dict[str, Any] | None:
    """Return a checkpoint's header; None where it is missing, damaged or of other code."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["cl_bench"])
        usable = header["format"] == FORMAT and header["code"] == code_version()
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return header if usable else None
