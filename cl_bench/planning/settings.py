"""What can be set of a strategy, for people: defaults, what is allowed, what a search tries.

Its class is imported, for settings may come from what it derives from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cl_bench.planning import finding


@dataclass(frozen=True)
class Setting:
    """One setting of a strategy; `--set <strategy>.<setting>=<value>` sets it."""

    setting: str
    default: Any
    values: str
    """What is allowed."""
    tuned_over: str
    """The range that `tune` searches by default; nothing where it leaves the setting alone."""
    meaning: str


def settings_of(name: str) -> list[Setting]:
    """Return the settings of a strategy, by name or path, in the order of their declaration.

    Raises:
        UserError: it is unknown, or its file does not import.
    """
    declared = finding.load(name).Settings.model_json_schema().get("properties", {})
    return [
        Setting(
            setting,
            schema.get("default"),
            _values(schema),
            _tuned(schema),
            schema.get("description", ""),
        )
        for setting, schema in declared.items()
    ]


def _tuned(schema: Mapping[str, Any]) -> str:
    if "tune" not in schema:
        return ""
    return _range(*schema["tune"]) + (", log" if schema["log"] else "")


def _values(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_values, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "boolean":
        return "true | false"
    if schema.get("type") in ("number", "integer"):
        kind = "" if schema["type"] == "number" else "whole, "
        return kind + _range(schema.get("minimum"), schema.get("maximum"))
    return str(schema.get("const", schema.get("type", "")))


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "any number"
    if low is None or high is None:
        return f">= {low:g}" if low is not None else f"<= {high:g}"
    return f"{low:g} to {high:g}"
