"""Fair timings on a machine that may be busy: contenders take turns, and ratios are of one turn.

The clock is the processor time of this process, all its threads together: what other programs
use of a core is not counted, and a second core in use would be.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

clock = time.process_time

Contender = Callable[[], float]
"""Does its work once and returns its rate, per second."""


@dataclass(frozen=True)
class Row:
    """One comparison, as printed."""

    name: str
    ours: float
    """Median rate of this suite."""
    peer: float | None
    """Median rate of what it is compared with."""
    ratio: float | None
    """Median over the turns of our rate divided by the peer's in the same turn."""
    ratio_min: float | None
    ratio_max: float | None
    target: float | None
    """The least ratio that is asked for, if any."""
    met: bool | None
    """Whether the median ratio reaches the target."""
    unit: str
    compared_with: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row as a mapping, in the order of columns."""
        return asdict(self)


def take_turns(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Return the rates of each contender, one a round; in a round each works once, in order."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    for _ in range(rounds):
        for name, work in contenders.items():
            rates[name].append(work())
    return rates


def compare(
    name: str,
    ours: Sequence[float],
    peer: Sequence[float],
    compared_with: str,
    *,
    target: float | None = None,
    unit: str = "images/s",
) -> Row:
    """Return the row of two contenders that took turns."""
    ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    middle = statistics.median(ratios)
    return Row(
        name=name,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        ratio=middle,
        ratio_min=min(ratios),
        ratio_max=max(ratios),
        target=target,
        met=None if target is None else middle >= target,
        unit=unit,
        compared_with=compared_with,
    )


def lone(name: str, rate: float, unit: str, what: str) -> Row:
    """Return the row of a rate that is compared with nothing."""
    return Row(name, rate, None, None, None, None, None, None, unit, what)
