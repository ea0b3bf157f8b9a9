"""What is tuned: a range a setting, as its strategy declares it, and the way from [0, 1] to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from cl_bench.config import Number, OptimizerConfig, Section
from cl_bench.errors import UserError, unknown
from cl_bench.planning import finding
from cl_bench.planning.validation import validated

LEARNING_RATE = "optimizer.learning_rate"
DIGITS = 4
"""Significant digits of every value tried: short to write, and the same whatever rounds below."""


class Range(Section):
    """What one setting is tuned over."""

    name: str
    """The setting of the strategy, or `optimizer.learning_rate`."""
    low: float
    high: float
    log: bool = False
    """Whether trials are spread over the logarithm."""
    whole: bool = False
    """Whether the setting is a whole number."""
    default: int | float
    """The value of trial 0."""

    def at(self, share: float) -> int | float:
        """Return the value that lies so far into the range, from 0 (`low`) to 1 (`high`)."""
        if self.log:
            value = math.exp((1 - share) * math.log(self.low) + share * math.log(self.high))
        else:
            value = self.low + share * (self.high - self.low)
        if self.whole:
            return round(value)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def share(self, value: float) -> float:
        """Return how far into the range a value lies; below 0 or above 1 outside of it."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        if value <= 0:
            return -math.inf
        return math.log(value / self.low) / math.log(self.high / self.low)


Space = tuple[Range, ...]


def space_of(
    name: str,
    given: Mapping[str, Any],
    optimizer: OptimizerConfig,
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    learning_rate: tuple[float, float] | None = None,
) -> Space:
    """Return what a strategy is tuned over, in the order of its settings.

    Args:
        name: the strategy.
        given: the settings that the protocol gives a value: they are held at it.
        optimizer: the protocol's; its learning rate is that of trial 0.
        ranges: by setting, the ends that take the place of the declared ones.
        learning_rate: the range of the learning rate, on a log scale; None does not tune it.

    Raises:
        UserError: a setting is given a grid, or a range that it cannot have.
    """
    from cl_bench.engine.settings import tune_range

    settings = finding.load(name).Settings
    for key, value in given.items():
        if isinstance(value, list):
            raise UserError(
                f"{name}.{key} = {value}: tune draws its own values; give one to hold it at, "
                f"or the ends of a range with --range '{name}.{key}=[LOW,HIGH]'"
            )
    resolved = validated(settings, dict(given), prefix=f"{name}.").model_dump(mode="json")
    asked = dict(ranges or {})
    found = []
    for key, field in settings.model_fields.items():
        declared = tune_range(settings, key)
        if declared is None or key in given:
            continue
        low, high = asked.pop(key, (declared.low, declared.high))
        each = Range(
            name=key,
            low=low,
            high=high,
            log=declared.log,
            whole=field.annotation is int,
            default=resolved[key],
        )
        _check(each, f"--range {name}.{key}")
        for end in (0.0, 1.0):
            validated(settings, {**given, key: each.at(end)}, prefix=f"{name}.")
        found.append(each)
    _refuse_left_over(name, asked, given, [each.name for each in found])
    if learning_rate is not None:
        found.append(_rate(learning_rate, optimizer))
    return tuple(found)


def parse_range(text: str) -> tuple[str, str, tuple[float, float]]:
    """Return the strategy, the setting and the ends in `ewc.strength=[1,1000]`."""
    key, _, value = text.partition("=")
    name, _, setting = key.strip().rpartition(".")
    try:
        low, high = (
            float(end) for end in value.strip().removeprefix("[").removesuffix("]").split(",")
        )
    except ValueError:
        low = high = math.nan
    if not name or not setting or not math.isfinite(low) or not math.isfinite(high):
        raise UserError(
            f"--range {text}: give a setting and the ends of its range, "
            "such as ewc.strength=[1,1000]"
        )
    return name, setting, (low, high)


def _rate(ends: tuple[float, float], optimizer: OptimizerConfig) -> Range:
    """Return the range of the learning rate, the same for every strategy."""
    low, high = ends
    rate = Range(name=LEARNING_RATE, low=low, high=high, log=True, default=optimizer.learning_rate)
    _check(rate, "--tune-learning-rate")
    for end in ends:
        validated(OptimizerConfig, {"learning_rate": end}, prefix="optimizer.")
    return rate


def _check(found: Range, option: str) -> None:
    if not found.low < found.high:
        raise UserError(f"{option} [{found.low:g}, {found.high:g}]: give the lower end first")
    if found.log and found.low <= 0:
        raise UserError(f"{option}: {found.low:g} has no logarithm; give a low end above 0")


def _refuse_left_over(
    name: str, asked: Iterable[str], given: Mapping[str, Number], tuned: Iterable[str]
) -> None:
    for key in asked:
        if key in given:
            raise UserError(f"--range {name}.{key}: it is held at {given[key]}; give one of them")
        known = finding.load(name).Settings.model_fields
        if key not in known:
            raise unknown("setting", f"{name}.{key}", [f"{name}.{each}" for each in known])
        can = ", ".join(tuned) or "none"
        raise UserError(
            f"--range {name}.{key}: its strategy declares no range to tune over (it does of: {can})"
        )
