"""From a protocol to its runs: every strategy, grid point and seed, resolved and checked.

Whatever cannot work is refused here, before any training, with the reason.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from cl_bench.config import NetworkConfig, Protocol, RunConfig, Scenario, StrategyConfig
from cl_bench.errors import UserError
from cl_bench.planning import finding
from cl_bench.planning.validation import validated

if TYPE_CHECKING:
    from cl_bench.benchmarks import Benchmark
    from cl_bench.engine.strategy import Strategy


def runs_of(protocol: Protocol, benchmark: Benchmark) -> list[RunConfig]:
    """Return the runs of a protocol: every strategy, grid point and seed, fully resolved.

    Raises:
        UserError: a setting is wrong, or a strategy does not fit the scenario.
    """
    resolved = benchmark.config
    if protocol.evaluation.split == "valid" and not resolved.validation_fraction:
        raise UserError(
            "evaluation.split = 'valid' needs validation data; "
            "set benchmark.validation_fraction, such as --set benchmark.validation_fraction=0.1"
        )
    runs = []
    for name, given in protocol.strategies.items():
        kind = finding.load(name)
        check_scenario(name, kind, benchmark)
        check_network(name, kind, protocol.network, benchmark)
        if kind.makes_pixels and benchmark.dataset.train_images.dtype != "uint8":
            raise UserError(
                f"strategy '{name}' makes images of bytes, and {benchmark.name} has float features"
            )
        code = finding.code_hash(name)
        for settings in settings_grid(name, given):
            strategy = StrategyConfig(name=name, settings=settings, code=code)
            of_seeds = [protocol.run(resolved, strategy, seed) for seed in protocol.all_seeds]
            if reason := kind.refuses(of_seeds[0]):
                raise UserError(f"strategy '{name}' cannot be run so: {reason}")
            _check_steps(of_seeds[0], benchmark, kind)
            runs += of_seeds
    return runs


def settings_grid(name: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the resolved settings of a strategy, one dictionary a point of the grid.

    Raises:
        UserError: an unknown setting, or a value of the wrong type or out of range.
    """
    model = finding.load(name).Settings
    for key, value in given.items():
        if value == []:
            raise UserError(f"{name}.{key} = []: a grid needs at least one value")
    axes = [value if isinstance(value, list) else [value] for value in given.values()]
    return [
        validated(model, dict(zip(given, point, strict=True)), prefix=f"{name}.").model_dump(
            mode="json"
        )
        for point in itertools.product(*axes)
    ]


def check_scenario(name: str, strategy: type[Strategy], benchmark: Benchmark) -> None:
    """Refuse a strategy in a scenario that it does not support, naming the nearest that works."""
    scenario = benchmark.scenario
    if scenario in strategy.scenarios:
        return
    supported = [s for s in Scenario if s in strategy.scenarios]
    reason = (
        f"strategy '{name}' does not work in the {scenario} scenario "
        f"(it supports: {', '.join(supported)})"
    )
    here = [s for s in benchmark.scenarios if s in supported]
    if here:
        raise UserError(f"{reason}; the nearest that works: --scenario {here[0]}")
    from cl_bench import benchmarks

    dataset = benchmark.dataset.name
    for other in sorted(benchmarks.names(), key=lambda other: not other.endswith(dataset)):
        offered: Any = benchmarks.summary(other)["scenarios"]
        for possible in supported:
            if possible in offered:
                raise UserError(
                    f"{reason} and {benchmark.name} has none of these; "
                    f"the nearest that works: --benchmark {other} --scenario {possible}"
                )
    raise UserError(f"{reason} and no benchmark has one of these")


def check_network(
    name: str, strategy: type[Strategy], config: NetworkConfig, benchmark: Benchmark
) -> None:
    """Refuse a network that cannot be trained in a stack, or not by this strategy."""
    from cl_bench.engine.strategy import ALL_NETWORKS, Strategy

    shape = "mlp" if config.name == "linear" and config.code is None else config.name
    if strategy.networks != ALL_NETWORKS and (config.code or shape not in strategy.networks):
        known = ", ".join(sorted(strategy.networks))
        raise UserError(
            f"strategy '{name}' does not work on network '{config.name}' (it does on: {known})"
        )
    if strategy.trainer or shape == "mlp":
        return
    from cl_bench.engine.soundness import sound_network

    network = sound_network(config, benchmark.input_shape, benchmark.n_outputs)
    if network.n_running and strategy.objective is not Strategy.objective:
        raise UserError(
            f"strategy '{name}' takes its loss by way of the weights, which moves no running"
            f" statistics; network '{config.name}' has some: take one with group normalisation"
        )


def _check_steps(config: RunConfig, benchmark: Benchmark, strategy: type[Strategy]) -> None:
    """Refuse settings that cannot work with as few steps as a task takes."""
    from cl_bench.engine import task_steps
    from cl_bench.engine.strategy import all_settings

    given = all_settings(strategy, config.strategy.settings)
    fewest = min(task_steps(config, benchmark, strategy, task) for task in range(benchmark.n_tasks))
    try:
        strategy.check(given, fewest + strategy.extra_steps(given), benchmark.n_outputs)
    except ValueError as error:
        raise UserError(f"{config.strategy.name}.{error}") from None
