"""Avalanche's classic benchmarks as benchmarks of the suite: `avalanche:SplitMNIST` and the like.

Tasks, classes and pixels are Avalanche's own, and the run's seed is its `seed`; what an output
stands for is the scenario's choice. Names are known without importing Avalanche. `names`,
`summary`, `resolved` and `get` take, return and raise what those of `cl_bench.benchmarks` do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cl_bench.avalanche.streams import StreamCache
from cl_bench.avalanche.tasks import AvalancheTasks, DisjointClasses, SharedClasses
from cl_bench.benchmarks.base import Benchmark
from cl_bench.config import BenchmarkConfig
from cl_bench.errors import UserError, unknown

PREFIX = "avalanche:"
SOURCE = "Avalanche (Carta et al., arXiv 2302.01766)"


@dataclass(frozen=True)
class Classic:
    """What is known of a benchmark of Avalanche before it is imported."""

    title: str
    tasks: int
    """Avalanche's default, or the number that is usual."""
    roots: Mapping[str, str] = field(default_factory=dict)
    """The argument for the root of each dataset, and the dataset's name."""
    order: str | None = "seed"
    """Default of `benchmark.order`; None where Avalanche has no choice."""
    family: type[AvalancheTasks] = DisjointClasses
    impossible: str = ""
    """Why it cannot be had here."""


def _split(title: str, tasks: int, dataset: str) -> Classic:
    return Classic(title, tasks, {"dataset_root": dataset})


def _shared(title: str) -> Classic:
    return Classic(title, 5, {"dataset_root": "mnist"}, order=None, family=SharedClasses)


CLASSICS: dict[str, Classic] = {
    "SplitMNIST": _split("MNIST's classes divided into tasks", 5, "mnist"),
    "SplitFMNIST": _split("Fashion-MNIST's classes divided into tasks", 5, "fashion-mnist"),
    "PermutedMNIST": _shared("MNIST's pixels in another order for each task"),
    "RotatedMNIST": _shared("MNIST's images turned by another angle for each task"),
    "SplitCIFAR10": _split("CIFAR-10's classes divided into tasks", 5, "cifar10"),
    "SplitCIFAR100": _split("CIFAR-100's classes divided into tasks", 10, "cifar100"),
    "SplitCIFAR110": Classic(
        "CIFAR-10, then CIFAR-100's classes divided into tasks",
        11,
        {"dataset_root_cifar10": "cifar10", "dataset_root_cifar100": "cifar100"},
        order=None,
    ),
    "SplitTinyImageNet": _split("Tiny ImageNet's classes divided into tasks", 10, "tiny-imagenet"),
    "SplitImageNet": Classic(
        "", 10, impossible="its images, 190 GB as arrays, are too many to be held as arrays"
    ),
    "SplitCUB200": Classic(
        "", 11, impossible="its images differ in size, and Avalanche does not make them equal"
    ),
    "SplitOmniglot": Classic(
        "", 4, impossible="Avalanche fails to make it: its test set has other classes"
    ),
}
"""All of `avalanche.benchmarks.classic` that have a number of experiences and a seed."""


def names() -> list[str]:
    """Return the names of Avalanche's benchmarks that can be had, with their prefix."""
    return [PREFIX + name for name, classic in CLASSICS.items() if not classic.impossible]


def summary(name: str) -> dict[str, object]:
    """Return what a benchmark is, for people."""
    classic = _classic(name)
    return {
        "name": name,
        "title": f"{classic.title} (Avalanche's)",
        "scenarios": [scenario.value for scenario in classic.family.scenarios],
        "default tasks": classic.tasks,
        "source": SOURCE,
    }


def resolved(config: BenchmarkConfig) -> BenchmarkConfig:
    """Return a configuration with tasks, scenario and order filled in; no data are needed."""
    classic = _classic(config.name)
    known = classic.family.scenarios
    if config.scenario is not None and config.scenario not in known:
        raise UserError(
            f"{config.name} has no scenario '{config.scenario}', as all its tasks have the same"
            f" classes; it has {', '.join(known)}"
        )
    if config.order is not None and classic.order is None:
        raise UserError(
            f"benchmark.order has no meaning for {config.name}: Avalanche leaves no choice;"
            " leave it out"
        )
    for key in ("padding", "identity_first"):
        if getattr(config, key):
            raise UserError(
                f"benchmark.{key} has no meaning for {config.name}: Avalanche makes its tasks;"
                " leave it out"
            )
    return config.model_copy(
        update={
            "tasks": config.tasks or classic.tasks,
            "scenario": config.scenario or known[0],
            "order": config.order or classic.order,
        }
    )


def get(config: BenchmarkConfig, data_dir: Path | None = None, download: bool = True) -> Benchmark:
    """Return the benchmark that a configuration describes; its streams are made when asked for."""
    config = resolved(config)
    name = config.name.removeprefix(PREFIX)
    classic = CLASSICS[name]
    arguments: dict[str, Any] = {"n_experiences": config.tasks}
    if config.order is not None:
        arguments["shuffle"] = config.order == "seed"
    cache = StreamCache(name, arguments, classic.roots, data_dir, download)
    return classic.family(config, cache)


def _classic(name: str) -> Classic:
    classic = CLASSICS.get(name.removeprefix(PREFIX))
    if classic is None:
        raise unknown("benchmark", name, names())
    if classic.impossible:
        raise UserError(
            f"{name} cannot be had: {classic.impossible}; there are {', '.join(names())}"
        )
    return classic
