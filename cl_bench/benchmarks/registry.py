"""Finds benchmarks by name: a family of task sequences, a dash, and a dataset.

Names with a prefix and a colon belong to another library's benchmarks, which a module of their
own provides. Families and whole benchmarks from outside the suite are added, by hand or as entry
points of the group `cl_bench.benchmarks`.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from cl_bench import data
from cl_bench.benchmarks.base import Benchmark
from cl_bench.benchmarks.class_split import SplitClasses, TwoTask
from cl_bench.benchmarks.image_tasks import ImageTasks
from cl_bench.benchmarks.permuted import Permuted
from cl_bench.benchmarks.rotated import Rotated
from cl_bench.config import BenchmarkConfig
from cl_bench.errors import UserError, unknown

_FAMILIES: dict[str, type[ImageTasks]] = {
    family.family: family for family in (Permuted, SplitClasses, Rotated, TwoTask)
}
_added: dict[str, Benchmark] = {}
"""Benchmarks from outside the suite, by name."""
_code: dict[str, str] = {}
"""Of each family from outside the suite: a hash of its source."""
GROUP = "cl_bench.benchmarks"
_PROVIDERS = {"avalanche": "cl_bench.avalanche.benchmarks"}
"""Prefix of names to the module that has the functions of this one for them; it is imported when
it is asked for."""


def names() -> list[str]:
    """Return the names of all benchmarks; loads no data."""
    _add_entry_points()
    own = [f"{family}-{dataset}" for family in _FAMILIES for dataset in _datasets()]
    providers = (importlib.import_module(module) for module in _PROVIDERS.values())
    return [*own, *_added, *(name for provider in providers for name in provider.names())]


def add(benchmark: Benchmark) -> str:
    """Make a benchmark object known by its name in this process, and return the name.

    Raises:
        UserError: the name is taken by another benchmark, or cannot be one.
    """
    name, content = benchmark.name, benchmark.config.content
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(
            f"'{name}' cannot be a benchmark's name: give letters, digits, '-', '_', '.'"
        )
    if name not in _added and name in names():
        raise UserError(f"the name '{name}' is taken by another benchmark; choose another")
    if content is None:
        told = f"{type(benchmark).__name__} {benchmark.stream_id(0)}"
        content = hashlib.sha256(told.encode()).hexdigest()[:16]
        benchmark.config = benchmark.config.model_copy(update={"content": content})
    _added[name] = benchmark
    return name


def add_value(value: Any, name: str, code: str) -> str:
    """Make known what a file or an entry point holds, and return the benchmark's name.

    Args:
        value: a benchmark, which goes by the name; a function that makes one; or a family: a
            class derived from `ImageTasks`, which goes by `<family>-<dataset>`.
        name: of the file or the entry point.
        code: a hash of the source: a family's runs are addressed by it.

    Raises:
        UserError: it is none of these, or the name is taken.
    """
    if isinstance(value, type) and issubclass(value, ImageTasks):
        family = vars(value).get("family", name)
        value.family = family
        if family in _FAMILIES and family not in _code:
            raise UserError(f"the family '{family}' is one of the suite's; choose another name")
        if inspect.isabstract(value):
            missing = ", ".join(sorted(value.__abstractmethods__))
            raise UserError(f"{value.__name__} does not define {missing}")
        _FAMILIES[family], _code[family] = value, code
        return f"{family}-{value.default_dataset}"
    made = value() if callable(value) and not isinstance(value, type) else value
    if not isinstance(made, Benchmark):
        raise UserError(
            f"{getattr(value, '__name__', type(value).__name__)} is no benchmark: give one, a"
            " function that returns one, or a class derived from ImageTasks"
        )
    made.name = name
    made.config = made.config.model_copy(update={"name": name})
    return add(made)


def families() -> list[str]:
    """Return the names of the families of benchmarks."""
    return list(_FAMILIES)


def added() -> dict[str, Benchmark]:
    """Return the benchmarks that were added from outside the suite, by name."""
    return dict(_added)


@cache
def _entry_points() -> dict[str, EntryPoint]:
    """Return the entry points that were not loaded yet, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def _add_entry_points(wanted: str | None = None) -> None:
    """Make the benchmarks of installed packages known: those a name may be of, or all that load."""
    for name, point in list(_entry_points().items()):
        if wanted not in (None, name) and not str(wanted).startswith(f"{name}-"):
            continue
        try:
            value = point.load()
            del _entry_points()[name]
            source = inspect.getsource(inspect.getmodule(value) or type(value))
            add_value(value, name, hashlib.sha256(source.encode()).hexdigest()[:16])
        except Exception as error:
            if wanted is not None:
                reason = " ".join(str(error).split())
                raise UserError(f"benchmark '{name}' ({point.value}): {reason}") from error


def summary(name: str) -> dict[str, object]:
    """Return what a benchmark is, for people: title, scenarios, default tasks, source.

    Raises:
        UserError: there is no benchmark of this name.
    """
    if provider := _provider(name):
        found: dict[str, object] = provider.summary(name)
        return found
    if benchmark := _added.get(name):
        return {
            "name": name,
            "title": getattr(benchmark, "title", type(benchmark).__name__),
            "scenarios": [scenario.value for scenario in benchmark.scenarios],
            "default tasks": benchmark.n_tasks,
            "source": getattr(benchmark, "source", ""),
        }
    family, dataset = _parts(name)
    return {
        "name": name,
        "title": f"{family.title} ({dataset})",
        "scenarios": [scenario.value for scenario in family.scenarios],
        "default tasks": family.default_tasks,
        "source": family.source,
    }


def resolved(config: BenchmarkConfig) -> BenchmarkConfig:
    """Return a configuration with tasks, scenario and order filled in; no data are needed.

    Raises:
        UserError: an unknown name, or a combination that makes no sense.
    """
    if provider := _provider(config.name):
        found: BenchmarkConfig = provider.resolved(config)
        return found
    _add_entry_points(config.name)
    if config.name in _added:
        return _added[config.name].configured(config).config
    family, _ = _parts(config.name)
    family.check(config)
    return config.model_copy(
        update={
            **_content(family, config),
            "tasks": config.tasks or family.default_tasks,
            "scenario": config.scenario or family.scenarios[0],
            "order": config.order or family.default_order,
        }
    )


def get(config: BenchmarkConfig, data_dir: Path | None = None, download: bool = True) -> Benchmark:
    """Return the benchmark that a configuration describes, its data loaded and verified.

    Where MNIST is not available and its 5,000-image stand-in is, the result is another
    benchmark: its `name` and `config.name` end in `-5k`, sample numbers beyond its size are
    lowered in its `config`, and its `notice` says so. Records must hold the result's `config`.

    Args:
        config: the configuration; its `None`s are resolved in the result's `config`.
        data_dir: the folder to search for data first.
        download: whether missing data may be downloaded.

    Raises:
        UserError: an unknown name, a combination that makes no sense, or data that are not
            available or damaged.
    """
    if provider := _provider(config.name):
        benchmark: Benchmark = provider.get(config, data_dir, download)
        return benchmark
    _add_entry_points(config.name)
    if config.name in _added:
        return _added[config.name].configured(config)
    family, dataset_name = _parts(config.name)
    family.check(config)
    if dataset_name in data.added():
        brought = config.model_copy(update=_content(family, config))
        return family(brought, data.added()[dataset_name])
    found = data.resolve(dataset_name, data_dir, download)
    name = f"{family.family}-{found.name}"
    resolved = config.model_copy(update={"name": name, **_content(family, config)})
    return family(
        resolved,
        data.load_found(found),
        stands_in=found.name != dataset_name,
        notice=found.notice,
    )


def _datasets() -> list[str]:
    return [*data.names(), *data.added()]


def _provider(name: str) -> Any:
    """Return the module that provides a benchmark of this name, or None for our own."""
    prefix, colon, _ = name.partition(":")
    module = _PROVIDERS.get(prefix) if colon else None
    return importlib.import_module(module) if module else None


def _content(family: type[ImageTasks], config: BenchmarkConfig) -> dict[str, str]:
    """Return what a configuration of a family from outside is to say of its source."""
    dataset = data.added().get(_parts(config.name)[1])
    code = _code.get(family.family)
    if dataset is not None:
        code = hashlib.sha256(f"{code} {dataset.checksum}".encode()).hexdigest()[:16]
    if config.content not in (None, code):
        raise UserError(
            f"benchmark '{config.name}' has changed, or is not the one that was run: its content is"
            f" {code or 'not given'}, the run asks for {config.content}"
        )
    return {"content": code} if code else {}


def _parts(name: str) -> tuple[type[ImageTasks], str]:
    _add_entry_points(name)
    for family in _FAMILIES.values():
        dataset = name.removeprefix(f"{family.family}-")
        if dataset != name and dataset in _datasets():
            return family, dataset
    raise unknown("benchmark", name, names())
