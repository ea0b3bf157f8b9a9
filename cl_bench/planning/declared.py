"""What a strategy's file says of itself, read from its source: nothing is imported.

So that names, titles and scenarios can be listed at once, without torch.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from cl_bench.config import Scenario


@dataclass(frozen=True)
class StrategySummary:
    """What a strategy's file says of itself, read without importing it."""

    name: str
    title: str
    """Its name as the field writes it."""
    source: str
    """Authors, year, venue or arXiv number."""
    scenarios: tuple[Scenario, ...]
    doc: str
    """The first line of its file."""
    path: Path | None
    """Its file; None where it cannot be told without importing."""
    all_data: bool = False
    """Whether it is given the data of all tasks so far: a bound on what can be reached."""


def summary(name: str, fields: dict[str, ast.expr], doc: str, path: Path) -> StrategySummary:
    """Return the summary of a strategy from the assignments of its class."""
    title, source = (_text(fields.get(key)) for key in ("title", "source"))
    all_data = fields.get("all_data")
    return StrategySummary(
        name,
        title or name,
        source,
        _scenarios(fields),
        doc,
        path,
        all_data=isinstance(all_data, ast.Constant) and all_data.value is True,
    )


def class_fields(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the class-level assignments of the strategy's class: the one that has a title."""
    best: dict[str, ast.expr] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        fields = fields_of(node)
        if not best or ("title" in fields and "title" not in best):
            best = fields
    return best


def fields_of(node: ast.ClassDef) -> dict[str, ast.expr]:
    """Return a class's own assignments by name."""
    fields: dict[str, ast.expr] = {}
    for item in node.body:
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            fields[item.targets[0].id] = item.value
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value:
            fields[item.target.id] = item.value
    return fields


def _text(node: ast.expr | None) -> str:
    if node is None:
        return ""
    try:
        return str(ast.literal_eval(node))
    except ValueError:
        return ""


def _scenarios(fields: dict[str, ast.expr]) -> tuple[Scenario, ...]:
    if "scenarios" not in fields:
        return tuple(Scenario)
    text = ast.unparse(fields["scenarios"])
    named = tuple(s for s in Scenario if f"Scenario.{s.name}" in text or repr(s.value) in text)
    return named or tuple(Scenario)
