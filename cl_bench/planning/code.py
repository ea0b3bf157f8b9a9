"""Which code a strategy trains with: a hash of its file and of what it shares with others.

Two runs of one configuration whose strategy was edited in between are not the same: a record keeps
the hash, and `run` trains again what other code has trained.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from cl_bench.planning import finding

SHARED = ("methods", "instruments", "strategies")
"""Rooms of the suite whose modules count where a strategy imports them, if by way of others."""
_PACKAGE = Path(__file__).resolve().parents[1]


def code_of(name: str) -> str | None:
    """Return the hash of a strategy's code: of its meaning, not of comments, docs and layout.

    It covers the strategy's file and the modules of `SHARED` that it imports. None for strategies
    of another library, whose version is in their configs, and where the file is not at hand.

    Raises:
        UserError: there is no such strategy.
    """
    summary = finding.summary(name)
    if ":" in summary.name or summary.path is None:
        return None
    found: dict[str, str] = {}
    todo = [("", summary.path)]
    while todo:
        module, path = todo.pop()
        if module in found:
            continue
        try:
            stamp = path.stat()
            found[module], imported = _read(path, stamp.st_mtime_ns, stamp.st_size)
        except (OSError, SyntaxError, ValueError):
            return None  # what cannot be read or parsed is refused where it is imported
        todo += [(other, place) for other in imported if (place := _place(other)) is not None]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=256)
def _read(path: Path, changed: int, size: int) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a file's meaning and the modules of the suite that it imports."""
    tree = ast.parse(path.read_bytes())
    text = json.dumps(_meaning(tree))
    return hashlib.sha256(text.encode()).hexdigest(), tuple(sorted(set(_imports(tree))))


def _meaning(node: Any) -> Any:
    """Return a syntax tree without places and without texts that stand alone (docstrings).

    Empty fields are left out, so that a newer Python's additions change nothing.
    """
    if isinstance(node, ast.AST):
        fields = {
            name: _meaning(value)
            for name, value in ast.iter_fields(node)
            if name not in ("kind", "type_comment") and value is not None and value != []
        }
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [_meaning(item) for item in node if not _stands_alone(item)]
    return repr(node)


def _stands_alone(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield what a file imports of the shared rooms: `methods.fisher`, or a name within it."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            room, _, inner = name.removeprefix("cl_bench.").partition(".")
            if name.startswith("cl_bench.") and room in SHARED and inner:
                yield f"{room}.{inner}"


def _place(module: str) -> Path | None:
    """Return a module's file; None where the name is of something else."""
    room, *inner = module.split(".")
    folder = finding.folder(room) if room == "strategies" else _PACKAGE / room
    path = folder.joinpath(*inner).with_suffix(".py")
    return path if path.is_file() else None
