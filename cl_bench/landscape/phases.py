"""What a study has worked out so far, kept on disk seed by seed, so that a killed one goes on.

Each phase of each seed is one file, written in one move: tensors (safetensors) or rows (JSON).
Other code does not go on with them: they lie in a folder named after the code's hash, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cl_bench import atomic
from cl_bench.engine.state import State

Rows = list[dict[str, Any]]
Tables = dict[str, Rows]
"""Tables by name; every row has its `seed`."""


class Phases:
    """The phases of some seeds of one study, trained as one stack.

    Args:
        folder: of the study; each seed has a folder in it.
        seeds: of this stack.
    """

    def __init__(self, folder: Path, seeds: Sequence[int]) -> None:
        self.folder = folder
        self.seeds = tuple(seeds)

    def path(self, seed: int, name: str) -> Path:
        """Return the file of a phase."""
        return self.folder / f"seed-{seed}" / name

    def state(self, name: str, make: Callable[[], State]) -> State:
        """Return the state of a phase, stacked over the seeds; made where a seed lacks it.

        The state's tensors have the seeds as their first axis; its tree is JSON.
        """
        paths = [self.path(seed, f"{name}.safetensors") for seed in self.seeds]
        found = [_read_state(path) for path in paths]
        if any(each is None for each in found):
            state = make()
            for row, path in enumerate(paths):
                own = {key: t[row : row + 1].contiguous() for key, t in state.tensors.items()}
                atomic.replace(path, save(own, {"tree": json.dumps(state.tree)}))
            return state
        whole = [each for each in found if each is not None]
        tensors = {
            key: torch.cat([each.tensors[key] for each in whole]) for key in whole[0].tensors
        }
        return State(whole[0].tree, tensors)

    def tables(self, name: str, make: Callable[[], Tables]) -> Tables:
        """Return the tables of a phase for all seeds; made where a seed lacks them."""
        paths = [self.path(seed, f"{name}.json") for seed in self.seeds]
        if not all(path.exists() for path in paths):
            made = make()
            for seed, path in zip(self.seeds, paths, strict=True):
                own = {
                    table: [row for row in rows if row["seed"] == seed]
                    for table, rows in made.items()
                }
                atomic.replace(path, json.dumps(own).encode())
        found: Tables = {}
        for path in paths:
            for table, rows in json.loads(path.read_bytes()).items():
                found.setdefault(table, []).extend(rows)
        return found


def _read_state(path: Path) -> State | None:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return State(json.loads((file.metadata() or {})["tree"]), tensors)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
