"""Networks of one's own: `--network ./mine.py`, or a function or `nn.Module` class in Python.

What is given is known by a name and a hash of its source; worker processes read files again, and
what was defined in Python trains in the process that defined it.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError
from cl_bench.planning import importing, session

if TYPE_CHECKING:
    from cl_bench.config import NetworkConfig

DEFINES = (
    "a network file must define `network`, or one function or torch.nn.Module class, which takes"
    " input_shape (channels, height, width) and n_outputs"
)
_files: dict[tuple[str, str], str] = {}
"""The file of each network that came by one, by its name and code."""


def resolve(given: str) -> dict[str, str]:
    """Return what a configuration says of a network in a file, having made it known.

    Args:
        given: the file's path.

    Returns:
        `name` and `code`, fields of `NetworkConfig`.

    Raises:
        UserError: there is no such file, or it holds no network.
    """
    path = Path(given).expanduser().resolve()
    if path.suffix != ".py":
        raise UserError(f"a network file ends in .py; {given} does not")
    if not path.is_file():
        raise UserError(f"there is no network file {given}")
    name, code = path.stem.replace("_", "-"), _short(path.read_bytes())
    try:
        with redirect_stdout(sys.stderr):  # what a file prints is no result
            module = importing.import_file(name, path)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{given} does not import: {importing.fault(error, path)}") from error
    _make_known(name, code, _factory_in(module, given))
    _files[name, code] = str(path)
    return {"name": name, "code": code}


def add(factory: Any) -> dict[str, str]:
    """Make a function or class known as a network, and return what a configuration says of it.

    Args:
        factory: takes the inputs' shape and the number of outputs, and returns a
            `torch.nn.Module`; or a class of these.

    Raises:
        UserError: it is neither, or its source does not tell all that it makes.
    """
    if not isinstance(factory, (type, FunctionType)):
        raise UserError(
            f"network = {factory!r}: give a name, a file, or a function or class that takes"
            " input_shape and n_outputs and makes the torch.nn.Module"
        )
    name = session.name_of(factory)
    if isinstance(factory, FunctionType) and factory.__code__.co_freevars:
        around = ", ".join(factory.__code__.co_freevars)
        raise UserError(
            f"network '{name}' takes {around} from the function around it, which the hash of its"
            " source does not tell: define it at the top of the program"
        )
    code = session.code_of(factory)[:16]
    _make_known(name, code, factory)
    return {"name": name, "code": code}


def brought() -> dict[tuple[str, str], str]:
    """Return the file that a worker process is to `resolve`, too, by a network's name and code."""
    return dict(_files)


def as_given(config: dict[str, Any]) -> dict[str, Any]:
    """Return a network's section as a config file has it: one from a file by its path."""
    path = _files.get((config["name"], config.get("code") or ""))
    if path is None:
        return config
    return {**{k: v for k, v in config.items() if k != "code"}, "name": path}


def known_here_alone(config: NetworkConfig) -> bool:
    """Return whether a network is an object of this process, which no other can import."""
    return config.code is not None and (config.name, config.code) not in _files


def _short(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()[:16]


def _make_known(name: str, code: str, factory: Any) -> None:
    from cl_bench.config import NETWORKS
    from cl_bench.engine.architectures import add_network

    if name in NETWORKS:
        raise UserError(f"the name '{name}' is taken by a network of the suite; rename yours")
    _takes_two(name, factory)
    add_network(name, code, factory)


def _takes_two(name: str, factory: Any) -> None:
    try:
        inspect.signature(factory).bind((1, 1, 1), 1)
    except TypeError as error:
        raise UserError(
            f"network '{name}': {factory.__name__} must take input_shape and n_outputs ({error})"
        ) from None


def _factory_in(module: ModuleType, given: str) -> Any:
    """Return what a file has: its `network`, or the one function or class that makes one."""
    if callable(there := getattr(module, "network", None)):
        return there
    from torch import nn

    found = {
        key: value
        for key, value in vars(module).items()
        if not key.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
        and (
            isinstance(value, FunctionType)
            or (isinstance(value, type) and issubclass(value, nn.Module))
        )
    }
    if len(found) != 1:
        raise UserError(f"{given}: {DEFINES}; found {', '.join(found) or 'neither'}")
    return next(iter(found.values()))
