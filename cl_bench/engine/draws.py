"""A stack's random numbers in training: each draw is its own, and none depends on the company.

A draw is named by its purpose, the run's seed, the task and the step; nothing else is remembered
but how a purpose's numbers are laid out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from cl_bench.seeding import torch_generator

Kind = Literal["uniform", "normal"]
_DRAWN: dict[Kind, Callable[..., Tensor]] = {"uniform": torch.rand, "normal": torch.randn}
_BLOCK = 64
"""Small draws are made for so many steps at a time: a generator costs more than its numbers."""
_SMALL = 4096


@dataclass(frozen=True)
class _Layout:
    """How the numbers of a purpose's present block of steps follow one another."""

    steps: int
    """Steps a block, the same all task long."""
    block: int
    """The block's number in the task."""
    shape: tuple[int, ...]
    """Of each step's numbers: that of the block's first draw."""


class Draws:
    """The draws of R runs.

    A block of steps is drawn at once, laid out for the shape that its first draw has. A draw of
    another shape would cut the same numbers differently: it has a stream of its own.

    Args:
        seeds: of the runs.
        device: where the numbers are wanted.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._seeds = seeds
        self._device = device
        self._task = 0
        self._laid_out: dict[tuple[Kind, str], _Layout] = {}
        """Of this task."""
        self._blocks: dict[tuple[Kind, str], Tensor] = {}

    def draw(
        self, kind: Kind, purpose: str, shape: tuple[int, ...], task: int, step: int
    ) -> Tensor:
        """Return numbers [R, *shape]; the same call gives the same ones."""
        steps = _BLOCK if math.prod(shape) <= _SMALL else 1
        if task != self._task:
            self._task, self._laid_out, self._blocks = task, {}, {}
        key, wanted = (kind, purpose), _Layout(steps, step // steps, shape)
        layout = self._laid_out.get(key)
        if layout is None or (layout.steps == steps and layout.block != wanted.block):
            layout = self._laid_out[key] = wanted
            self._blocks.pop(key, None)
        if layout != wanted:
            return self._drawn(kind, shape, purpose, task, "own", step, *shape)
        if key not in self._blocks:
            self._blocks[key] = self._drawn(kind, (steps, *shape), purpose, task, wanted.block)
        return self._blocks[key][:, step % steps]

    def _drawn(
        self, kind: Kind, shape: tuple[int, ...], purpose: str, task: int, *names: str | int
    ) -> Tensor:
        def of_seed(seed: int) -> Tensor:
            generator = torch_generator("strategy", kind, purpose, seed, task, *names)
            return _DRAWN[kind](shape, generator=generator)

        return by_seed(self._seeds, of_seed).to(self._device)

    def state(self) -> dict[str, Any]:
        """Return how this task's numbers are laid out, as JSON has it."""
        layouts = [(*key, *astuple(layout)) for key, layout in self._laid_out.items()]
        return {"task": self._task, "layouts": layouts}

    def load(self, state: dict[str, Any]) -> None:
        """Go on with the layouts that `state` returned."""
        self._task, self._blocks = state["task"], {}
        self._laid_out = {
            (kind, purpose): _Layout(steps, block, tuple(shape))
            for kind, purpose, steps, block, shape in state["layouts"]
        }


def by_seed(seeds: Sequence[int], make: Callable[[int], Tensor]) -> Tensor:
    """Return what the seed of each run makes, [R, …]; runs of one seed have it made once."""
    made = {seed: make(seed) for seed in set(seeds)}
    return torch.stack([made[seed] for seed in seeds])
