"""Where strategies are found by name, without importing one until it is used.

A strategy is a file in `strategies/`, an entry point of the group `cl_bench.strategies` in
another package, a file anywhere, given by its path, a class of the running program (`session`), or
another library's (`avalanche:EWC`).
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cl_bench.config import Scenario
from cl_bench.errors import UserError, unknown
from cl_bench.planning import declared, importing, session

if TYPE_CHECKING:
    from cl_bench.engine.strategy import Strategy

GROUP = "cl_bench.strategies"
_PROVIDERS = {"avalanche": "cl_bench.avalanche.strategies"}
"""Start of a name, before its colon, to the module whose public classes are such strategies.

The module also says by `code_hash()` which version of the library they are of.
"""
_added: dict[str, Path] = {}


def folder(kind: str) -> Path:
    """Return the folder of the suite's own `strategies` or `configs`, installed or checked out."""
    package = Path(__file__).resolve().parent.parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind


def strategy_names() -> list[str]:
    """Return the name of every strategy that the engine can run, in alphabetical order."""
    return sorted({*_own_files(), *_entry_points(), *_added, *session.names()})


def foreign_names() -> list[str]:
    """Return the name of every strategy that another library trains on our streams."""
    return [f"{prefix}:{name}" for prefix in _PROVIDERS for name in sorted(_provided(prefix))]


def add_file(path: str | Path) -> str:
    """Make a strategy file from anywhere known in this process and return its name.

    The name is the file's own, with `-` for `_`. Worker processes add `added_files()` again.

    Raises:
        UserError: there is no such file, or its name is taken by another strategy.
    """
    file = Path(path).expanduser().resolve()
    if file.suffix != ".py":
        raise UserError(f"a strategy file ends in .py; {path} does not")
    if not file.is_file():
        raise UserError(f"there is no strategy file {path}")
    name = _name_of(file)
    own = _own_files().get(name)
    if own is not None and own.resolve() == file:
        return name
    if own is not None or name in _entry_points() or _added.get(name, file) != file:
        raise UserError(f"{path}: the name '{name}' is taken by another strategy; rename the file")
    _added[name] = file
    return name


def added_files() -> list[Path]:
    """Return the strategy files that were added from outside the suite."""
    return list(_added.values())


def resolve(name: str) -> str:
    """Return the name of a strategy given by name or by path (`./mine.py`), having found it.

    Raises:
        UserError: nothing of that name or at that path.
    """
    if name.endswith(".py") or "/" in name:
        return add_file(name)
    if _foreign(name):
        if name not in foreign_names():
            raise unknown("strategy", name, foreign_names())
        return name
    if name not in strategy_names():
        raise unknown("strategy", name, strategy_names())
    return name


def load(name: str) -> type[Strategy]:
    """Import a strategy (by name or path) and return its class.

    Raises:
        UserError: it is unknown, its file does not import, or the file does not hold exactly
            one strategy.
    """
    name = resolve(name)
    try:
        with redirect_stdout(sys.stderr):  # what a file prints is no result
            loaded = _imported(name)
    except UserError as error:
        raise UserError(f"strategy '{name}': {error}") from error
    except (Exception, SystemExit) as error:
        raise UserError(
            f"strategy '{name}' does not import: {importing.fault(error, _file(name))}"
        ) from error
    if isinstance(loaded, ModuleType):
        return importing.only_strategy(loaded, name)
    from cl_bench.engine.strategy import Strategy

    if isinstance(loaded, type) and issubclass(loaded, Strategy):
        return loaded
    raise UserError(f"strategy '{name}': its entry point is not a subclass of Strategy")


def _imported(name: str) -> Any:
    """Import a strategy that was found; return its module, or what its entry point names."""
    if _foreign(name):
        prefix, _, inner = name.partition(":")
        return getattr(importlib.import_module(_PROVIDERS[prefix]), inner)
    if (there := session.find(name)) is not None:
        return there
    if name in _added:
        return importing.import_file(name, _added[name])
    if name in _own_files():
        _ensure_strategies_package()
        return importlib.import_module(f"{GROUP}.{_own_files()[name].stem}")
    return _entry_points()[name].load()


def code_hash(name: str) -> str | None:
    """Return the SHA-256 of the source of a strategy outside the suite; None for the suite's own.

    The suite's own code is told by the git commit in each record's provenance.
    """
    name = resolve(name)
    if _foreign(name):
        return str(importlib.import_module(_PROVIDERS[name.partition(":")[0]]).code_hash())
    if (there := session.find(name)) is not None:
        return session.code_of(there)
    if name in _added:
        return hashlib.sha256(_added[name].read_bytes()).hexdigest()
    if name in _own_files():
        return None
    file = getattr(sys.modules[load(name).__module__], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None


def summary(name: str) -> declared.StrategySummary:
    """Return what a strategy says of itself, read from its source without importing it."""
    name = resolve(name)
    if _foreign(name):
        prefix, _, inner = name.partition(":")
        node = _provided(prefix)[inner]
        doc = (ast.get_docstring(node) or "").partition("\n")[0]
        return declared.summary(name, declared.fields_of(node), doc, _provider_file(prefix))
    if (there := session.find(name)) is not None:
        scenarios = tuple(each for each in Scenario if each in there.scenarios)
        doc = (there.__doc__ or "").strip().partition("\n")[0]
        title = there.title or name
        return declared.StrategySummary(
            name, title, there.source, scenarios, doc, None, there.all_data
        )
    path = _file(name)
    if path is None:
        return declared.StrategySummary(name, name, "", tuple(Scenario), "", None)
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        return declared.StrategySummary(name, name, "", (), f"does not parse: {error}", path)
    doc = (ast.get_docstring(tree) or "").partition("\n")[0]
    return declared.summary(name, declared.class_fields(tree), doc, path)


def _file(name: str) -> Path | None:
    """Return the file of a strategy that is not foreign; None where only importing would tell."""
    if _foreign(name) or session.find(name) is not None:
        return None
    return _added.get(name) or _own_files().get(name) or _source_of(_entry_points()[name])


def _foreign(name: str) -> bool:
    return name.partition(":")[0] in _PROVIDERS and ":" in name


def _provider_file(prefix: str) -> Path:
    inside = _PROVIDERS[prefix].split(".")[1:]
    return Path(__file__).resolve().parent.parent.joinpath(*inside).with_suffix(".py")


@cache
def _provided(prefix: str) -> dict[str, ast.ClassDef]:
    """Return the classes of a provider's module that have a title, read without importing it."""
    tree = ast.parse(_provider_file(prefix).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: node for node in classes if "title" in declared.fields_of(node)}


def _name_of(path: Path) -> str:
    return path.stem.replace("_plus", "+").replace("_", "-")


@cache
def _own_files() -> dict[str, Path]:
    files = sorted(folder("strategies").glob("[a-zA-Z]*.py"))
    return {_name_of(path): path for path in files}


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _ensure_strategies_package() -> None:
    """Let `cl_bench.strategies` be imported from a checkout that is not installed."""
    if GROUP in sys.modules or importlib.util.find_spec(GROUP) is not None:
        return
    init = folder("strategies") / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        GROUP, init, submodule_search_locations=[str(init.parent)]
    )
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[GROUP] = module
    if init.exists() and spec.loader is not None:
        spec.loader.exec_module(module)


def name_of_module(module: str, kind: str) -> str | None:
    """Return the name of the strategy that a class of a module is known by; None where it is new.

    Args:
        module: the name of the module that defines it.
        kind: the class's own name.
    """
    known = {f"{GROUP}.{path.stem}": name for name, path in _own_files().items()}
    known |= {f"{importing.PREFIX}{path.stem}": name for name, path in _added.items()}
    known |= {point.module: name for name, point in _entry_points().items()}
    known |= {name: f"{prefix}:{kind}" for prefix, name in _PROVIDERS.items()}
    return known.get(module)


def _source_of(point: EntryPoint) -> Path | None:
    """Return the file of an entry point's module, found without importing any of it."""
    first, *rest = point.module.split(".")
    spec = importlib.util.find_spec(first)
    if spec is None:
        return None
    roots: Sequence[str] = list(spec.submodule_search_locations or [])
    if not rest and spec.origin:
        return Path(spec.origin)
    for root in roots:
        base = Path(root).joinpath(*rest)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None
