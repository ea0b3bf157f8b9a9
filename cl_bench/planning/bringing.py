"""Benchmarks and datasets from files: `--benchmark ./mine.py`, `--benchmark split-./pets.npz`.

What is brought is known by its name from then on; worker processes bring it again.
"""

from __future__ import annotations

import hashlib
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from cl_bench import benchmarks, data
from cl_bench.errors import UserError
from cl_bench.planning import importing

_brought: dict[str, str] = {}
"""What was given (paths absolute) by the name that it goes by."""


def resolve(given: str) -> str:
    """Return the name of a benchmark given by name or by file, having made a file's known.

    Args:
        given: a name; `./mine.py`, or `./mine.py:digits` for a family of a file on a dataset; or
            a family and data in a file or folder, `split-./pets.npz`.

    Raises:
        UserError: there is no such file, or it holds no benchmark.
    """
    if found := re.fullmatch(r"(.*\.py)(?::([\w-]+))?", given):
        path = Path(found[1]).expanduser().resolve()
        name = _of_file(path, found[1], found[2])
        _brought[name] = str(path) + given[len(found[1]) :]
        return name
    if "/" not in given and not given.endswith(".npz"):
        return given
    family = next((each for each in benchmarks.families() if given.startswith(f"{each}-")), None)
    if family is None:
        known = ", ".join(f"{each}-" for each in benchmarks.families())
        raise UserError(
            f"{given} is no benchmark file, which ends in .py, nor a family and its data, such as"
            f" split-./mine.npz (families: {known})"
        )
    path = Path(given.removeprefix(f"{family}-")).expanduser().resolve()
    dataset = data.from_path(path)
    if dataset.name in data.names():
        raise UserError(f"{given}: the name '{dataset.name}' is taken by another dataset; rename")
    name = f"{family}-{data.add(dataset)}"
    _brought[name] = f"{family}-{path}"
    return name


def brought() -> dict[str, str]:
    """Return what a worker process is to `resolve`, too, by the name that it goes by."""
    return dict(_brought)


def as_given(name: str) -> str:
    """Return a benchmark as `resolve` takes it: one that was brought by its path."""
    return _brought.get(name, name)


def known_here_alone(name: str) -> bool:
    """Return whether a benchmark is an object of this process, which no other can bring."""
    return name in benchmarks.added() and name not in _brought


def _of_file(path: Path, given: str, dataset: str | None) -> str:
    if not path.is_file():
        raise UserError(f"there is no benchmark file {given}")
    name = path.stem.replace("_", "-")
    try:
        with redirect_stdout(sys.stderr):  # what a file prints is no result
            value = _value(importing.import_file(name, path), given)
            code = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            known = benchmarks.add_value(value, name, code)
    except UserError as error:
        raise UserError(f"{given}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{given} does not import: {importing.fault(error, path)}") from error
    if dataset is None:
        return known
    if not isinstance(value, type):
        raise UserError(f"{given}:{dataset}: it holds a benchmark, not a family for any dataset")
    return f"{value.family}-{dataset}"  # type: ignore[attr-defined]


def _value(module: ModuleType, given: str) -> Any:
    """Return what a file has: its `benchmark`, or the one family that it defines."""
    if hasattr(module, "benchmark"):
        return module.benchmark
    from cl_bench.benchmarks.image_tasks import ImageTasks

    families = importing.classes_in(module, ImageTasks)
    if len(families) != 1:
        found = ", ".join(family.__name__ for family in families) or "neither"
        raise UserError(
            "a benchmark file must define `benchmark` (a benchmark, or a function that returns"
            f" one) or one class derived from ImageTasks; found {found}"
        )
    return families[0]
