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
            values_text(schema),
            _tuned(schema),
            schema.get("description", ""),
        )
        for setting, schema in declared.items()
    ]


def _tuned(schema: Mapping[str, Any]) -> str:
    if "tune" not in schema:
        return ""
    return _range(*schema["tune"]) + (", log" if schema["log"] else "")


def values_text(schema: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> str:
    """Return what a JSON schema allows, for people: `whole, 1 to 10`, `sgd | adam`.

    Args:
        schema: of the value.
        known: the schemas that it may refer to by name.
    """
    if "$ref" in schema:
        schema = (known or {})[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return " or ".join(values_text(each, known) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = schema.get("type")
    if kind == "array":
        return f"list of ({values_text(schema['items'], known)})" if "items" in schema else "list"
    if kind in ("boolean", "null"):
        return "true | false" if kind == "boolean" else "none"
    if kind in ("number", "integer"):
        return ("whole, " if kind == "integer" else "") + _limits(schema)
    return str(schema.get("const", {"string": "text"}.get(str(kind), kind or "")))


def _limits(schema: Mapping[str, Any]) -> str:
    ends = [schema.get(key) for key in ("minimum", "maximum")]
    above, below = (schema.get(f"exclusive{side}") for side in ("Minimum", "Maximum"))
    if above is None and below is None:
        return _range(*ends)
    if above is not None:
        return f"above {above:g}" + ("" if ends[1] is None else f", to {ends[1]:g}")
    return f"{ends[0]:g} to below {below:g}" if ends[0] is not None else f"below {below:g}"


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "any number"
    if low is None or high is None:
        return f">= {low:g}" if low is not None else f"<= {high:g}"
    return f"{low:g} to {high:g}"
