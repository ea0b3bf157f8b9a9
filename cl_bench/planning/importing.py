"""Imports a file from anywhere as a module of its own, and finds the strategies in a module."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError

if TYPE_CHECKING:
    from cl_bench.engine.strategy import Strategy

PREFIX = "cl_bench_added_"
"""Start of the names of modules that are imported from files."""
_imported_from: dict[str, tuple[str, bytes]] = {}
"""File and content that such a module was made of: one that was edited is imported again."""


def import_file(name: str, path: Path) -> ModuleType:
    """Import a file, and return the module that it was imported as; again where it was edited.

    Args:
        name: what it is known by, for a message.
        path: the file.

    Raises:
        UserError: it is nothing that can be imported.
        Exception: whatever its code raises.
    """
    qualified = f"{PREFIX}{path.stem}"
    there = sys.modules.get(qualified)
    now = (str(path), path.read_bytes())
    if there is not None and _imported_from.get(qualified) == now:
        return there
    spec = importlib.util.spec_from_file_location(qualified, path)
    if spec is None or spec.loader is None:
        raise UserError(f"'{name}': {path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[qualified] = module
    try:
        exec(compile(now[1], str(path), "exec"), vars(module))
    except BaseException:
        del sys.modules[qualified]
        raise
    _imported_from[qualified] = now
    return module


def fault(error: BaseException, file: Path | None) -> str:
    """Return file, line and reason of what was raised while a file was imported."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if file is not None and Path(frame.filename) == file]
    at = (own or frames)[-1]
    reason = " ".join(str(error).split())
    return f"{at.filename}:{at.lineno}: {type(error).__name__}{reason and ': '}{reason}"


def classes_in(module: ModuleType, base: type) -> list[type[Any]]:
    """Return the classes derived from a base that a module defines, but for those named `_…`."""
    return [
        value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    ]


def strategies_in(module: ModuleType) -> list[type[Strategy]]:
    """Return the strategies that a module defines."""
    from cl_bench.engine.strategy import Strategy

    return classes_in(module, Strategy)


def only_strategy(module: ModuleType, name: str) -> type[Strategy]:
    """Return the one strategy that a module defines; a `UserError` where there is not one."""
    found = strategies_in(module)
    if len(found) != 1:
        names = ", ".join(value.__name__ for value in found) or "none"
        raise UserError(
            f"strategy '{name}': its file must define one subclass of Strategy; found {names}"
        )
    return found[0]
