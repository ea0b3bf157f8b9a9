"""Promises before any training: what a strategy declares, and what is refused."""

from __future__ import annotations

from cl_bench import benchmarks
from cl_bench.config import (
    BenchmarkConfig,
    NetworkConfig,
    Protocol,
    Scenario,
    TrainingConfig,
)
from cl_bench.conformance.promises import need
from cl_bench.conformance.quick import allows
from cl_bench.conformance.trainings import DATASET, Trainings
from cl_bench.engine.settings import StrategySettings, tune_range
from cl_bench.engine.strategy import ALL_NETWORKS
from cl_bench.errors import UserError
from cl_bench.planning import finding
from cl_bench.planning.packing import make_plan


def loads(trainings: Trainings) -> None:
    """Its file imports and defines one strategy."""
    assert trainings.kind


def declared(trainings: Trainings) -> None:
    """What it declares is there, is allowed, and can be read without importing its file."""
    kind = trainings.kind
    for name in ("title", "source"):
        value = getattr(kind, name)
        need(isinstance(value, str) and value.strip(), f"{name} is empty")
    for name, known in (("scenarios", frozenset(Scenario)), ("networks", ALL_NETWORKS)):
        value = getattr(kind, name)
        fits = isinstance(value, frozenset) and value and value <= known
        need(fits, f"{name} = {value!r}: must be a frozenset of some of {sorted(known)}")
    summary = finding.summary(trainings.name)
    for name in ("title", "source"):
        read, real = getattr(summary, name), getattr(kind, name)
        need(read == real, f"{name} reads {read!r} without importing, but is {real!r}")
    need(
        set(summary.scenarios) == kind.scenarios,
        f"scenarios read {sorted(summary.scenarios)} without importing, "
        f"but are {sorted(kind.scenarios)}; write them out in the class",
    )
    need(
        not kind.isolates or Scenario.TASK in kind.scenarios,
        "isolates: a task's own predictions need the task scenario, in which the task is told",
    )
    _declared_settings(kind.Settings)


def _declared_settings(settings: type[StrategySettings]) -> None:
    derived = isinstance(settings, type) and issubclass(settings, StrategySettings)
    need(derived, "Settings is not derived from StrategySettings")
    need(allows(settings, {}), "Settings: not every setting has a default, or not a valid one")
    defaults = settings().model_dump(mode="json")
    for name, field in settings.model_fields.items():
        value = defaults.get(name, field.default)
        plain = isinstance(value, (bool, int, float, str))
        need(plain, f"setting {name} = {value!r}: must be a number, a text or a bool")
        need(allows(settings, {name: value}), f"setting {name}: default {value!r} is not allowed")
        need(field.description, f"setting {name} does not say what it means")
        found = tune_range(settings, name)
        if found is None:
            continue
        ends = found.low, found.high
        need(found.low < found.high, f"setting {name}: tune range {ends} is empty")
        need(found.low > 0 or not found.log, f"setting {name}: no logarithm of {found.low}")
        for end in ends:
            need(allows(settings, {name: end}), f"setting {name}: {end} of tune is not allowed")


def refused(trainings: Trainings) -> None:
    """A scenario or network that it does not declare is refused before any training."""
    kind = trainings.kind
    for scenario in Scenario:
        planned = _planned(trainings, scenario, min(kind.networks))
        holds = planned == (scenario in kind.scenarios)
        need(holds, f"the {scenario} scenario is {'not ' * planned}refused")
    for network in ALL_NETWORKS:
        planned = _planned(trainings, trainings.scenario, network)
        holds = planned == (network in kind.networks)
        need(holds, f"the network {network} is {'not ' * planned}refused")


def _planned(trainings: Trainings, scenario: Scenario, network: str) -> bool:
    """Return whether the plan takes the strategy on."""
    protocol = Protocol(
        benchmark=BenchmarkConfig(name=f"split-{DATASET}", scenario=scenario),
        network=NetworkConfig.model_validate({"name": network}),
        training=TrainingConfig(iterations=1000),
        strategies={trainings.name: {}},
        seeds=1,
    )
    try:
        make_plan([protocol], lambda config: benchmarks.get(config, download=False))
    except UserError:
        return False
    return True
