"""Protocols in words, and the one that a user means by a few letters of them.

A protocol is what runs must share to be compared: benchmark, network, training, evaluation. Its id
says nothing to a reader, so wherever one has to be chosen all are named in words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from cl_bench.config import BenchmarkConfig, Protocol, RunConfig
from cl_bench.errors import UserError
from cl_bench.plain import flatten
from cl_bench.results.labels import differing, setting_text

SECTIONS = ("benchmark", "network", "optimizer", "training", "evaluation")
SHOWN = 8
"""Digits of an id that are shown."""
_IN_WORDS = {
    *("benchmark.name", "benchmark.tasks", "benchmark.scenario", "network.name", "network.hidden"),
    *("optimizer.name", "optimizer.learning_rate"),
    *("training.epochs", "training.iterations", "training.batch_size"),
}
_WIDTH = 78


def describe(configs: Mapping[str, RunConfig]) -> dict[str, str]:
    """Return each protocol in words: what it is, and in what else it differs from the others.

    Args:
        configs: of one run of each protocol, by protocol_id.
    """
    flat = {protocol: settled(config) for protocol, config in configs.items()}
    apart = [key for key in differing(list(flat.values())) if key not in _IN_WORDS]
    found = {}
    for protocol, config in configs.items():
        values = flat[protocol]
        texts = [f"{k}={setting_text(values[k])}" for k in apart if values.get(k) is not None]
        found[protocol] = ", ".join([*_words(config), *texts])
    return found


def settled(config: RunConfig) -> dict[str, Any]:
    """Return all that makes a run's protocol, by dotted key."""
    return flatten(config.model_dump(mode="json", exclude={"seed", "strategy"}))


def apart(configs: Mapping[str, RunConfig]) -> list[str]:
    """Return the dotted keys in which protocols differ."""
    return differing([settled(config) for config in configs.values()])


def lines(configs: Mapping[str, RunConfig]) -> list[str]:
    """Return a line for each protocol, sorted by its words: the start of its id, and the words."""
    words = describe(configs)
    return [
        wrapped(f"{protocol[:SHOWN]}  {text}", SHOWN + 2)
        for protocol, text in sorted(words.items(), key=lambda item: item[1])
    ]


def wrapped(text: str, indent: int) -> str:
    """Return a choice in lines that a terminal holds, all but the first indented."""
    return textwrap.fill(text, _WIDTH, subsequent_indent=" " * indent)


def choose(
    configs: Mapping[str, RunConfig], text: str, where: str, config: Protocol | None = None
) -> str:
    """Return the id of the protocol that a text means.

    Args:
        configs: of one run of each protocol, by protocol_id.
        text: the start of an id or of what `describe` says, or a config's name.
        where: what holds the runs, for the message.
        config: the protocol of that name, where there is one.

    Raises:
        UserError: it is none, or the start of several.
    """
    words = describe(configs)
    start = text.lower()
    ways = (
        [] if config is None else [i for i, run in configs.items() if _is_of(run, config)],
        [i for i in configs if i.startswith(start)],
        [i for i in configs if words[i].lower().startswith(start)],
    )
    meant = next((found for found in ways if found), [])
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UserError(
            f"'{text}' is the start of {len(meant)} protocols in {where}; give more of one",
            lines({i: configs[i] for i in meant}),
        )
    if len(configs) == 1:
        ((only, says),) = words.items()
        raise UserError(f"unknown protocol '{text}' in {where}; there is {only[:SHOWN]}: {says}")
    raise UserError(
        f"unknown protocol '{text}' in {where}; give the start of one of these, or a config's name",
        lines(configs),
    )


def several(what: str, configs: Mapping[str, RunConfig], differ: str = "") -> UserError:
    """Return the error where something is of one protocol and there are several."""
    return UserError(
        f"{what} is of one protocol, and these are {len(configs)}{differ}; choose one with "
        "--protocol (the start of its id or of its words, or a config's name)",
        lines(configs),
    )


def _words(config: RunConfig) -> list[str]:
    benchmark, network, training = config.benchmark, config.network, config.training
    found = [benchmark.name]
    if benchmark.tasks is not None:
        found.append(_counted(benchmark.tasks, "task"))
    if benchmark.scenario is not None:
        found.append(f"{benchmark.scenario}-incremental")
    layers = f" {'-'.join(map(str, network.hidden))}" if network.name == "mlp" else ""
    found.append(network.name + layers)
    found.append(f"{config.optimizer.name} {config.optimizer.learning_rate:g}")
    if training.iterations is not None:
        found.append(_counted(training.iterations, "step"))
    else:
        found.append(_counted(training.epochs or 1, "epoch"))
    return [*found, f"batch {training.batch_size}"]


def _counted(number: float, noun: str) -> str:
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"


def _is_of(run: RunConfig, config: Protocol) -> bool:
    """Return whether a run is one of a protocol, or of its smaller stand-in."""
    if run.init_seed != config.init_seed or not _resolves(config.benchmark, run.benchmark):
        return False
    return all(getattr(run, part) == getattr(config, part) for part in SECTIONS[1:])


def _resolves(given: BenchmarkConfig, resolved: BenchmarkConfig) -> bool:
    """Return whether what a user gave becomes this once the benchmark has filled in its own."""
    for key, value in given:
        found = getattr(resolved, key)
        same = found in (value, f"{value}-5k") if key == "name" else found == value
        if value is not None and not same:
            return False
    return True
