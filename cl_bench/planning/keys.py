"""What can be set of a protocol, for people: every key with its default, values and meaning.

The meaning is the text below a field in `cl_bench.config`, so that it is written down once.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from typing import Any

from pydantic import BaseModel

from cl_bench.config import Protocol
from cl_bench.planning.reading import SECTIONS
from cl_bench.planning.settings import Setting, values_text


@cache
def keys() -> dict[str, Setting]:
    """Return every key of a protocol but the strategies' own, dotted: `training.epochs`."""
    found: dict[str, Setting] = {}
    for section in SECTIONS:
        model = Protocol.model_fields[section].annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        found |= {f"{section}.{name}": each for name, each in _of(model, f"{section}.").items()}
    left_out = (*SECTIONS, "strategies", "description", "source")
    return found | {k: each for k, each in _of(Protocol, "").items() if k not in left_out}


def meaning_of(model: type[BaseModel]) -> str:
    """Return the first paragraph of what a section says of itself, on one line."""
    return " ".join(inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].split())


def _of(model: type[BaseModel], prefix: str) -> dict[str, Setting]:
    schema = model.model_json_schema()
    known = schema.get("$defs", {})
    said = _texts(model)
    return {
        name: Setting(
            f"{prefix}{name}",
            each.get("default"),
            values_text(each, known),
            "",
            said.get(name, each.get("description", "")),
        )
        for name, each in schema["properties"].items()
    }


def _texts(model: type[BaseModel]) -> dict[str, str]:
    """Return the text below each field of a model's source, on one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        text: Any = getattr(getattr(below, "value", None), "value", None)
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = " ".join(str(text).split())
    return found
