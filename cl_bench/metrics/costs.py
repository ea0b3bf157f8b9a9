"""What a run cost: a table of pure functions of its record's cost, each with its definition.

Less is better for all. A figure that a record does not hold is NaN, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cost:
    """A named cost of a run."""

    name: str
    title: str
    unit: str
    definition: str
    function: Callable[[Mapping[str, Any]], float]
    """Of `RunRecord.cost`."""
    of_machine: bool = False
    """Whether it tells of the machine as much as of the method."""


def seconds(cost: Mapping[str, Any]) -> float:
    """Return the seconds of all phases but evaluation, as a share of the stack's."""
    phases = {name: float(v) for name, v in (cost.get("seconds") or {}).items()}
    phases.pop("evaluate", None)
    return sum(phases.values()) if phases else float("nan")


def _entry(key: str) -> Callable[[Mapping[str, Any]], float]:
    def read(cost: Mapping[str, Any]) -> float:
        value = cost.get(key)
        return float("nan") if value is None else float(value)

    return read


_TABLE = (
    Cost(
        name="bytes",
        title="bytes kept",
        unit="bytes",
        definition="what the strategy keeps from one task to the next, the network apart",
        function=_entry("bytes_kept"),
    ),
    Cost(
        name="network",
        title="bytes of the network",
        unit="bytes",
        definition="the weights of the network itself",
        function=_entry("network_bytes"),
    ),
    Cost(
        name="seconds",
        title="seconds",
        unit="seconds",
        definition=(
            "time of all phases but evaluation, which is the protocol's; a run of a stack has its "
            "share of the stack's time"
        ),
        function=seconds,
        of_machine=True,
    ),
    Cost(
        name="passes",
        title="gradient passes",
        unit="minibatches",
        definition="minibatches whose gradient was taken, for whatever purpose",
        function=_entry("gradient_passes"),
    ),
    Cost(
        name="samples",
        title="training images seen",
        unit="images",
        definition="images in the minibatches of training, exploration steps included",
        function=_entry("samples_seen"),
    ),
)

COSTS: dict[str, Cost] = {cost.name: cost for cost in _TABLE}
"""Every cost by name, in the order they are shown."""
