"""A strategy's settings: each declared once, on its class, and read from a config by pydantic.

`strength: Tensor = setting(1.0, "weight of the penalty")` says what the strategy sees, a number a
run as a tensor [R, 1]; a configuration gives it as a number.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo
from torch import Tensor

from cl_bench.config import added_later


class StrategySettings(BaseModel):
    """What a configuration may set; a field of type float may differ from run to run of a stack."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def setting(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    tune: tuple[float, float] | None = None,
    log: bool = False,
    later: bool = False,
) -> Any:
    """Declare a setting: its default, what it means, its allowed range and the range to tune over.

    Its type is the annotation's, or the default's where there is none. `Tensor` (or `float`) is a
    number of which each run of a stack may have its own, [R, 1]; all others (int, bool, str,
    Literal) are the same for all runs of a stack.

    Args:
        default: value used where the user gives none.
        doc: meaning and unit, one sentence.
        low: smallest value allowed.
        high: largest value allowed.
        tune: the range a search draws from; None leaves the setting out of searches.
        log: whether the search is over the logarithm.
        later: whether the setting came after runs of the strategy were published (see
            `config.added_later`).
    """
    extra: dict[str, Any] = {"tune": list(tune), "log": log} if tune else {}
    declare = added_later if later else Field
    return declare(default, description=doc, ge=low, le=high, json_schema_extra=extra or None)


def collect(strategy: Any) -> type[StrategySettings]:
    """Return the model of all settings that a strategy's class and its bases declare.

    Raises:
        TypeError: a setting has the name of something else that strategies have.
    """
    fields: dict[str, tuple[Any, FieldInfo]] = {}
    for base in reversed(strategy.__mro__):
        kinds = inspect.get_annotations(base)
        for name, value in vars(base).items():
            if isinstance(value, FieldInfo):
                _check_name(base, name)
                inherited = fields[name][0] if name in fields else type(value.default)
                kind = _kind(kinds[name], base) if name in kinds else inherited
                fields[name] = (kind, value)
            else:
                fields.pop(name, None)  # a subclass fixed its value

    def together(self: StrategySettings) -> StrategySettings:
        strategy.check_settings(dict(self))
        return self

    made: Any = create_model(
        "Settings",
        __base__=StrategySettings,
        __module__=strategy.__module__,
        __validators__={"together": model_validator(mode="after")(together)},
        **fields,  # type: ignore[call-overload]
    )
    made.__qualname__ = f"{strategy.__qualname__}.Settings"
    return made


def _kind(annotation: Any, base: type) -> Any:
    """Return the type of a setting in a configuration."""
    if isinstance(annotation, str):
        known = getattr(sys.modules.get(base.__module__), "__dict__", {})
        annotation = eval(annotation, known, dict(vars(base)))
    return float if annotation is Tensor else annotation


def _check_name(strategy: type, name: str) -> None:
    owners = [
        base.__name__
        for base in strategy.__mro__
        if not isinstance(vars(base).get(name, FieldInfo()), FieldInfo)
        or (base.__name__ == "Strategy" and name in inspect.get_annotations(base))
    ]
    if owners or hasattr(StrategySettings, name) or name.startswith("_"):
        where = f"{owners[-1]} has something else of that name" if owners else "it is reserved"
        raise TypeError(f"{strategy.__name__}: a setting cannot be named '{name}': {where}")


@dataclass(frozen=True)
class TuneRange:
    """The range that a search draws a setting from."""

    low: float
    high: float
    log: bool
    """Whether the search is over the logarithm."""


def tune_range(settings: type[BaseModel], name: str) -> TuneRange | None:
    """Return the range that a setting is declared to be tuned over; None where it is not."""
    extra = settings.model_fields[name].json_schema_extra
    declared: Any = extra if isinstance(extra, dict) else {}
    if "tune" not in declared:
        return None
    low, high = declared["tune"]
    return TuneRange(low, high, bool(declared["log"]))
