"""Strategies that are classes of the running program: defined in a script or a notebook's cell.

No other process can import them, so that the process that defined them trains them. Their source
is hashed as a file's is, so that a class that was edited does not pass for the one before.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
import sys
import textwrap
from contextlib import suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError

if TYPE_CHECKING:
    from cl_bench.engine.strategy import Strategy

_classes: dict[str, type[Strategy]] = {}


def add(strategy: type[Strategy], taken: set[str]) -> str:
    """Make a class known in this process by its name, `MyStrategy` as `my-strategy`; return that.

    A class of that name from before gives way, as a cell that runs again has it.

    Raises:
        UserError: another strategy has the name, or the class's source cannot be read.
    """
    name = name_of(strategy)
    if name in taken:
        raise UserError(
            f"class {strategy.__name__}: there is a strategy '{name}'; rename the class"
        )
    code_of(strategy)
    _classes[name] = strategy
    return name


def name_of(strategy: type | FunctionType) -> str:
    """Return the name that a class goes by: `MyStrategy` is `my-strategy`, `L2Init` `l2-init`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", strategy.__name__)
    return words.replace("_", "-").strip("-").lower()


def find(name: str) -> type[Strategy] | None:
    """Return the class of this name; None where there is none."""
    return _classes.get(name)


def names() -> list[str]:
    """Return the names of the classes that were added."""
    return list(_classes)


def code_of(strategy: type | FunctionType) -> str:
    """Return the SHA-256 of a class's source, with whatever of its program the source names.

    That is functions, classes and plain values at the top of the same script or notebook.

    Raises:
        UserError: the source cannot be read, as where it was typed into an interpreter.
    """
    found: dict[str, str] = {}
    _collect(strategy, vars(sys.modules.get(strategy.__module__, sys)), found)
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _collect(value: Any, around: dict[str, Any], found: dict[str, str]) -> None:
    """Add the meaning of a class or function, and of what it names, by name."""
    tree = ast.parse(textwrap.dedent(_source(value)))
    found[value.__qualname__] = ast.dump(tree)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for name in sorted(used & around.keys()):
        other = around[name]
        if isinstance(other, (type, FunctionType)):
            if other.__module__ == value.__module__ and other.__qualname__ not in found:
                _collect(other, around, found)
        elif isinstance(other, (int, float, str, tuple)):
            found[name] = repr(other)


def _source(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        text = _in_cell(value) if isinstance(value, type) else None
    if text is None:
        raise UserError(
            f"the source of {value.__qualname__} cannot be read, and a record says which code "
            "trained it: define it in a file, a script or a notebook's cell"
        )
    return text


def _in_cell(value: type) -> str | None:
    """Return the source of a class from the last of a notebook's cells that defines it."""
    cells = vars(sys.modules.get(value.__module__, sys)).get("_ih", [])
    for text in reversed(cells):
        with suppress(SyntaxError):
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef) and node.name == value.__qualname__:
                    return ast.get_source_segment(text, node)
    return None
