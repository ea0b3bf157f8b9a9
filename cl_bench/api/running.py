"""`cl_bench.run`: train strategies from Python, as the command of that name does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.api.runs import Runs
from cl_bench.api.training import Terms, TrainingError, carry_out
from cl_bench.errors import UserError
from cl_bench.execution.plans import runs_in
from cl_bench.plain import counted, plain

if TYPE_CHECKING:
    from cl_bench.benchmarks import Benchmark
    from cl_bench.config import Protocol
    from cl_bench.engine.strategy import Strategy

    Named = str | Path | type[Strategy]
    """A strategy: its name, a file, or its class."""
    Asked = str | Path | Mapping[str, Any]
    """A name, a file, or settings of the section."""
    Strategies = Named | Iterable[Named] | Mapping[Named, Mapping[str, Any]]


def run(
    strategies: Strategies | None = None,
    benchmark: Asked | Benchmark | None = None,
    *,
    tasks: int | None = None,
    scenario: str | None = None,
    network: Asked | Callable[..., Any] | None = None,
    seeds: int | Iterable[int] | None = None,
    config: str | Path | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    data_dir: str | Path | None = None,
    download: bool = True,
    checkpoint_seconds: float = 15,
    checkpoint_steps: int = 0,
    wandb: str = "auto",
    **settings: Any,
) -> Runs:
    """Train strategies on a task sequence, keep the records, and return the runs.

    It does what `python -m cl_bench run` does: the same runs have the same ids and the same bits,
    runs that have a record are not run again, and a call that was stopped goes on from there.

        runs = cl_bench.run(["naive", "ewc"], "split-mnist", seeds=5, ewc={"strength": [10, 100]})
        runs.table()

    Args:
        strategies: names, files or classes derived from `Strategy`, or a mapping of these to
            settings; None is the config's, or flatness. A class of an imported file trains in the
            worker processes. One of a script or a notebook's cell, which no other process can
            import, trains in this one while the workers train the others.
        benchmark: a name of `list benchmarks`, a file, a mapping of the section's settings, or a
            benchmark of one's own (`Tasks.from_arrays`), which this process alone trains on.
        tasks: the number of tasks.
        scenario: "task", "domain" or "class".
        network: a network's name, a file, a function or class of one's own (`input_shape` and
            `n_outputs` to a `torch.nn.Module`; this process alone trains it), or a mapping of the
            section's settings.
        seeds: their number (5 where no config says otherwise), or the seeds themselves.
        config: a protocol: a name of `list configs` or a YAML file.
        out: the folder of the records.
        device: "auto" (cuda where there is one), "cpu" or "cuda".
        workers: processes; None is one a core, or one on cuda.
        data_dir: the folder to search for data first.
        download: whether to fetch data that are missing.
        checkpoint_seconds: seconds between checkpoints of a stack; 0 for none.
        checkpoint_steps: training steps between checkpoints; 0 for none.
        wandb: "auto" (online where there is a key), "online", "offline" or "off".
        **settings: a section's or a strategy's settings as a mapping (`training={"epochs": 2}`,
            `ewc={"strength": 10}`, `kfac_laplace={…}`), or what the configs have at their top
            (`init_seed=0`). A list is a grid. `**{"training.epochs": 2}` works as well. What
            there is: `python -m cl_bench list settings`.

    Raises:
        UserError: something that cannot work; nothing has been trained then.
        TrainingError: runs failed in training; the others are stored.
        KeyboardInterrupt: the call was stopped; the same call goes on from there.
    """
    protocols = read(
        strategies,
        config,
        {
            "benchmark": benchmark,
            "benchmark.tasks": tasks,
            "benchmark.scenario": scenario,
            "network": network,
            "seeds": seeds,
            **settings,
        },
    )
    terms = Terms(
        Path(out),
        device,
        workers,
        folder_there(data_dir),
        download,
        checkpoint_seconds,
        checkpoint_steps,
        wandb,
    )
    done = carry_out(protocols, terms, go_on="the same call goes on from here")
    runs = Runs.of(terms.out, {config.run_id for config in done.plan.configs})
    if done.failures:
        number = runs_in(done.failures)
        first = done.failures[0]
        name = first.part.configs[0].strategy.name
        raise TrainingError(
            f"{counted(number, 'run')} failed, the first of {name}: {first.reason}; the other "
            f"{len(done.plan.configs) - number} of {len(done.plan.configs)} are in {terms.out}",
            runs,
        )
    assert runs is not None
    return runs


def read(
    strategies: Strategies | None, config: str | Path | None, given: Mapping[str, Any]
) -> list[Protocol]:
    """Return the protocols that the arguments of `run` or `tune` describe.

    Args:
        strategies: as of `run`.
        config: a name or a YAML file.
        given: sections, strategies and single keys (dotted, or at the top) with their values.

    Raises:
        UserError: anything unknown, malformed or out of range.
    """
    from cl_bench.planning import own_networks, reading

    named = _named(strategies)
    options: dict[str, Any] = {}
    for name, settings in named.items():
        options |= _below(name, settings)
    known = list(named) if named else _of_config(config)
    spelt = {_as_argument(name): name for name in known}
    for key, value in given.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            options |= _below(spelt.get(key, key), value)
        elif key == "network" and callable(value):
            options |= {f"network.{k}": v for k, v in own_networks.add(value).items()}
        elif key in ("benchmark", "network"):
            options[f"{key}.name"] = _name_of(value)
        else:
            options[key] = _values(value)
    return reading.read(
        None if config is None else str(config), strategies=list(named), options=options
    )


def _name_of(value: Any) -> str:
    """Return the name of a benchmark or network, having made an object known by it."""
    from cl_bench import benchmarks

    return benchmarks.add(value) if isinstance(value, benchmarks.Benchmark) else str(value)


def folder_there(data_dir: str | Path | None) -> Path | None:
    """Return the folder to search for data; a `UserError` where there is none."""
    if data_dir is not None and not Path(data_dir).is_dir():
        raise UserError(f"data_dir {data_dir}: there is no such folder")
    return None if data_dir is None else Path(data_dir)


def _named(strategies: Strategies | None) -> dict[str, Mapping[str, Any]]:
    """Return the settings given for each strategy by its name, having made all of them known."""
    from cl_bench.planning import adding, finding

    if strategies is None:
        return {}
    if isinstance(strategies, (str, Path, type)):
        strategies = [strategies]
    pairs: Iterable[tuple[Any, Any]] = (
        strategies.items()
        if isinstance(strategies, Mapping)
        else [(each, {}) for each in strategies]
    )
    found: dict[str, Mapping[str, Any]] = {}
    for each, settings in pairs:
        name = adding.add(each) if isinstance(each, type) else finding.resolve(str(each))
        if name in found:
            raise UserError(f"strategy '{name}' is given twice")
        if not isinstance(settings, Mapping):
            raise UserError(f"strategies: {name} = {settings!r}: must be a mapping of settings")
        found[name] = settings
    if not found:
        raise UserError("strategies = []: name at least one, such as naive")
    return found


def _of_config(config: str | Path | None) -> list[str]:
    from cl_bench.config import Protocol
    from cl_bench.planning import reading

    content = {} if config is None else reading.load_config(str(config))
    strategies = content.get("strategies", Protocol.model_fields["strategies"].default)
    return list(strategies) if isinstance(strategies, Mapping) else []


def _as_argument(name: str) -> str:
    """Return a strategy's name as Python can write it: `kfac_laplace`, `gem_plus`."""
    return name.replace("+", "_plus").replace("-", "_")


def _below(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": _values(value) for key, value in values.items()}


def _values(value: Any) -> Any:
    """Return a value as a config has it: NumPy's as Python's, whatever can be listed as a list."""
    if isinstance(value, (set, frozenset, range)) or hasattr(value, "__next__"):
        value = sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    return plain(value)
