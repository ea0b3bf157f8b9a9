"""Finds benchmarks by name: a family of task sequences, a dash, and a dataset.

Names with a prefix and a colon belong to another library's benchmarks, which a module of their
own provides.
"""

from __future__ import annotations

import importlib
import re
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
_PROVIDERS = {"avalanche": "cl_bench.avalanche.benchmarks"}
"""Prefix of names to the module that has the functions of this one for them; it is imported when
it is asked for."""


def names() -> list[str]:
    """Return the names of all benchmarks; loads no data."""
    own = [f"{family}-{dataset}" for family in _FAMILIES for dataset in data.names()]
    providers = (importlib.import_module(module) for module in _PROVIDERS.values())
    return [*own, *_added, *(name for provider in providers for name in provider.names())]


def add(benchmark: Benchmark) -> str:
    """Make a benchmark object known by its name in this process, and return the name.

    Raises:
        UserError: the name is taken by another benchmark, or cannot be one.
    """
    name = benchmark.name
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(
            f"'{name}' cannot be a benchmark's name: give letters, digits, '-', '_', '.'"
        )
    if name in names() and (
        name not in _added or _added[name].config.content != benchmark.config.content
    ):
        raise UserError(f"the name '{name}' is taken by another benchmark; choose another")
    _added[name] = benchmark
    return name


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
    if config.name in _added:
        return _added[config.name].configured(config).config
    family, _ = _parts(config.name)
    family.check(config)
    return config.model_copy(
        update={
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
    if config.name in _added:
        return _added[config.name].configured(config)
    family, dataset_name = _parts(config.name)
    family.check(config)
    found = data.resolve(dataset_name, data_dir, download)
    resolved = config.model_copy(update={"name": f"{family.family}-{found.name}"})
    return family(
        resolved,
        data.load_found(found),
        stands_in=found.name != dataset_name,
        notice=found.notice,
    )


def _provider(name: str) -> Any:
    """Return the module that provides a benchmark of this name, or None for our own."""
    prefix, colon, _ = name.partition(":")
    module = _PROVIDERS.get(prefix) if colon else None
    return importlib.import_module(module) if module else None


def _parts(name: str) -> tuple[type[ImageTasks], str]:
    for family in _FAMILIES.values():
        dataset = name.removeprefix(f"{family.family}-")
        if dataset != name and dataset in data.names():
            return family, dataset
    raise unknown("benchmark", name, names())
