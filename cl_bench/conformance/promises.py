"""What a check is: a promise in one sentence, and a function that finds whether it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from cl_bench.conformance.trainings import Trainings

Function = Callable[[Trainings], None]


class Broken(AssertionError):  # noqa: N818 - a promise is what is broken
    """A promise does not hold; the message says what was found."""


@dataclass(frozen=True)
class Check:
    """One promise."""

    name: str
    promise: str
    """One sentence."""
    run: Function
    once: bool
    """Whether one scenario is enough."""

    @classmethod
    def of(cls, function: Function, *, once: bool = False) -> Self:
        """Return the check that a function makes: its name and its docstring are the check's."""
        return cls(function.__name__, function.__doc__ or "", function, once)


def need(holds: object, why: str) -> None:
    """Raise `Broken` where something does not hold."""
    if not holds:
        raise Broken(why)


def listed(names: Sequence[str]) -> str:
    """Return names in a row."""
    return ", ".join(names)
