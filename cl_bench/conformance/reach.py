"""Promises at the ends of settings, on other networks and on other benchmarks."""

from __future__ import annotations

from typing import Any

from cl_bench import benchmarks
from cl_bench.config import (
    NetworkConfig,
    RunConfig,
    TrainingConfig,
)
from cl_bench.conformance.comparing import (
    differences,
    not_finite,
)
from cl_bench.conformance.promises import listed, need
from cl_bench.conformance.quick import allows
from cl_bench.conformance.trainings import BATCH, DATASET, SEED, Trainings, train
from cl_bench.engine.settings import tune_range
from cl_bench.engine.strategy import free_settings


def extremes(trainings: Trainings) -> None:
    """Weights and losses stay finite at both ends of every tune range."""
    settings, free = trainings.kind.Settings, free_settings(trainings.kind)
    labels, configs = [], []
    for name in settings.model_fields:
        declared = tune_range(settings, name)
        for end in (declared.low, declared.high) if declared else ():
            value = end if settings.model_fields[name].annotation is float else int(end)
            if not allows(settings, {name: value}):
                continue  # `declared` says so
            labels.append(f"{name} = {value:g}")
            configs.append(trainings.config(settings=trainings.quick(**{name: value})))
    together = [i for i, label in enumerate(labels) if label.split(" = ")[0] in free]
    stack = [configs[i] for i in together]
    records = dict(zip(together, train(stack) if stack else [], strict=True))
    for i, label in enumerate(labels):
        record = records[i] if i in records else train([configs[i]])[0]
        found = not_finite(record)
        need(not found, f"{listed(found)} not finite at {label}, an end of its tune range")


def networks(trainings: Trainings) -> None:
    """It trains every network that it declares, with the same bits in any company."""
    small = {"exploration_steps": 6, "fisher_samples": 16, "samples": 16, "flatness_samples": 16}
    fields = trainings.kind.Settings.model_fields
    settings = trainings.quick(**{k: v for k, v in small.items() if k in fields})
    for name in sorted(trainings.kind.networks - {"mlp"}):
        run, other = (
            trainings.config(
                seed,
                settings,
                family="two-task",
                network=NetworkConfig.model_validate({"name": name, "hidden": (8,)}),
                training=TrainingConfig(batch_size=BATCH, iterations=2),
                evaluated_every=None,
                images=2 * BATCH,
            )
            for seed in (SEED, SEED - 1)
        )
        _sound(run, other, f"with network {name}")


def families(trainings: Trainings) -> None:
    """It trains on the other families of benchmarks, at the default network."""
    for family in ("permuted", "rotated", "two-task"):
        name = f"{family}-{DATASET}"
        offered: Any = benchmarks.summary(name)["scenarios"]
        if trainings.scenario not in offered:
            continue
        run, other = (
            trainings.config(
                seed,
                settings,
                family=family,
                tasks=2,
                network=NetworkConfig(),
                training=TrainingConfig(batch_size=64, iterations=trainings.iterations),
                evaluated_every=None,
                images=4 * 64,
            )
            for seed, settings in ((SEED, trainings.settings), (SEED - 1, trainings.others[0]))
        )
        _sound(run, other if family == "permuted" else None, f"on {name}")


def _sound(run: RunConfig, other: RunConfig | None, where: str) -> None:
    """Train a run, which must stay finite, and where another is given the two together."""
    alone = train([run])[0]
    found = not_finite(alone)
    need(not found, f"{where}, {listed(found)} not finite")
    if other is not None:
        found = differences(alone, train([other, run])[1])
        need(not found, f"{where}, a run alone and stacked differs in {listed(found)}")
