"""Settings that make a strategy quick to train, and values of settings other than the default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from cl_bench.engine.settings import tune_range
from cl_bench.engine.strategy import Strategy

SHORT: dict[str, Any] = {
    "exploration_steps": 12,
    "snapshot_every": 2,
    "fisher_samples": 200,
    "samples": 200,
    "flatness_samples": 200,
}
"""Settings that make a strategy quick, where it has them."""
SHORTER: dict[str, Any] = {
    **SHORT,
    "every": 5,
    "interval": 5,
    "buffer_size": 40,
    "fisher_samples": 48,
    "samples": 48,
    "flatness_samples": 48,
}
"""The same for trainings of a few steps."""


def allows(settings: type[BaseModel], values: dict[str, Any]) -> bool:
    """Return whether settings may have these values."""
    try:
        settings(**values)
    except ValidationError:
        return False
    return True


def other_values(kind: type[Strategy], name: str, share: float) -> Iterator[float]:
    """Yield values of a setting other than its default, the best first."""
    default = float(kind.Settings.model_fields[name].default)
    found = tune_range(kind.Settings, name)
    if found is not None:
        low, high = found.low, found.high
        yield low * (high / low) ** share if low > 0 else low + (high - low) * share
    yield default * (0.5 + share)
    yield share
