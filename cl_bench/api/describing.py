"""Says what a name stands for: a strategy, benchmark, network, metric, config, dataset or key.

Everything is read from where it is declared, so that nothing is said twice.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError, unknown
from cl_bench.plain import flatten

if TYPE_CHECKING:
    from cl_bench.planning.declared import StrategySummary
    from cl_bench.planning.settings import Setting


@dataclass(frozen=True)
class Description:
    """What a name stands for."""

    name: str
    kind: str
    """"strategy", "benchmark", "network", "metric", "config", "dataset", "section" or "key"."""
    title: str
    about: str
    """What it is, in a paragraph."""
    facts: Mapping[str, str]
    """What else there is to know, such as its source."""
    settings: tuple[Setting, ...] = ()
    """What can be set of it."""


def describe(name: str) -> list[Description]:
    """Return what a name stands for: one thing, or several where kinds share it.

    Args:
        name: a name of `list`, a file of a strategy or benchmark, a key (`training.epochs`,
            `ewc.strength`), or a section of keys (`training`).

    Raises:
        UserError: nothing has this name, with the nearest that are known.
    """
    if name.endswith(".py") or "/" in name:
        return [_file(name)]
    known = _names()
    found = [_KINDS[kind](name) for kind, names in known.items() if name in names]
    owner, dot, setting = name.partition(".")
    if not found and dot and owner in known["strategy"]:
        return [_strategy_key(owner, setting)]
    if not found:
        raise unknown("name", name, {each for names in known.values() for each in names})
    return found


def _names() -> dict[str, list[str]]:
    from cl_bench import benchmarks, data
    from cl_bench.metrics import METRICS
    from cl_bench.planning import finding, keys, reading

    return {
        "strategy": [*finding.strategy_names(), *finding.foreign_names()],
        "benchmark": benchmarks.names(),
        "network": _networks(),
        "metric": list(METRICS),
        "config": reading.config_names(),
        "dataset": data.names(),
        "section": list(reading.SECTIONS),
        "key": list(keys.keys()),
    }


def _file(path: str) -> Description:
    """Return what a file holds: a strategy, or a benchmark; why it is no strategy, if neither."""
    from cl_bench.planning import bringing

    try:
        return _strategy(path)
    except UserError as error:
        try:
            return _benchmark(bringing.resolve(path))
        except UserError:
            raise error from None


def _strategy(name: str) -> Description:
    from cl_bench.planning import finding
    from cl_bench.planning.settings import settings_of

    summary = finding.summary(name)
    kind = finding.load(name)
    facts = {
        "source": summary.source,
        "scenarios": ", ".join(scenario.value for scenario in summary.scenarios),
        "networks": ", ".join(sorted(kind.networks)),
        "keeps": "training images" if kind.keeps_samples else "no training images",
    }
    if kind.all_data:
        facts["bound"] = "it is given the data of all tasks so far: what can be reached at best"
    if kind.isolates:
        facts["isolates"] = "what it predicts on a task, told which, never changes once learnt"
    facts["run it"] = f"python -m cl_bench run --strategy {name}"
    return Description(
        summary.name,
        "strategy",
        summary.title,
        _about(summary),
        facts,
        tuple(settings_of(name)),
    )


def _about(summary: StrategySummary) -> str:
    """Return the text at the top of a strategy's file, on one line."""
    if summary.path is None or ":" in summary.name:
        return summary.doc
    return " ".join((ast.get_docstring(ast.parse(summary.path.read_bytes())) or "").split())


def _strategy_key(owner: str, setting: str) -> Description:
    from cl_bench.planning.settings import settings_of

    found = {each.setting: each for each in settings_of(owner)}
    if setting not in found:
        raise unknown(f"setting of {owner}", setting, found)
    return _of_setting(f"{owner}.{setting}", found[setting])


def _benchmark(name: str) -> Description:
    from cl_bench import benchmarks

    summary: dict[str, Any] = benchmarks.summary(name)
    facts = {
        "source": str(summary["source"]),
        "scenarios": f"{', '.join(summary['scenarios'])} (the first is the default)",
        "tasks": f"{summary['default tasks']} by default",
        "run it": f"python -m cl_bench run --benchmark {name}",
    }
    settings = tuple(each for each in _section_keys("benchmark") if each.setting[10:] != "name")
    return Description(name, "benchmark", str(summary["title"]), "", facts, settings)


def _networks() -> list[str]:
    from cl_bench.config import NETWORKS

    return list(NETWORKS)


def _network(name: str) -> Description:
    from cl_bench.engine.architectures import convnet
    from cl_bench.engine.networks import MLP
    from cl_bench.engine.resnet import resnet18

    told = {"mlp": MLP, "convnet": convnet, "resnet18": resnet18}.get(name)
    about = " ".join((getattr(told, "__doc__", None) or "").partition("\n\n")[0].split())
    facts = {"run it": f"python -m cl_bench run --network {name}"}
    settings = tuple(each for each in _section_keys("network") if each.setting[8:] != "name")
    return Description(name, "network", name, about, facts, settings)


def _metric(name: str) -> Description:
    from cl_bench.metrics import METRICS, NEEDS

    metric = METRICS[name]
    facts = {
        "definition": metric.definition,
        "better": "higher" if metric.higher_is_better else "lower",
        "unit": metric.unit,
        "needs": NEEDS[metric.needs],
        "source": metric.source,
    }
    return Description(name, "metric", metric.title, "", facts)


def _config(name: str) -> Description:
    from cl_bench.planning import reading

    content = reading.load_config(name)
    facts = {"source": str(content.pop("source", ""))}
    about = str(content.pop("description", ""))
    facts |= {key: _shown(value) for key, value in flatten(content).items()}
    facts["run it"] = f"python -m cl_bench run --config {name}"
    return Description(name, "config", name, about, facts)


def _dataset(name: str) -> Description:
    from cl_bench import benchmarks

    users = [each for each in benchmarks.names() if each.endswith(f"-{name}")]
    facts = {"benchmarks": ", ".join(users), "find it": "python -m cl_bench data"}
    return Description(name, "dataset", name, "", facts)


def _section(name: str) -> Description:
    from cl_bench.config import Protocol
    from cl_bench.planning.keys import meaning_of

    model: Any = Protocol.model_fields[name].annotation
    facts = {"set it": f"--set {name}.<key>=<value>"}
    return Description(name, "section", name, meaning_of(model), facts, _section_keys(name))


def _key(name: str) -> Description:
    from cl_bench.planning.keys import keys

    return _of_setting(name, keys()[name])


def _of_setting(name: str, setting: Setting) -> Description:
    facts = {"default": _shown(setting.default), "values": setting.values}
    if setting.tuned_over:
        facts["tuned over"] = setting.tuned_over
    example = "5" if setting.default is None else _shown(setting.default).replace(" ", "")
    facts["set it"] = f"--set {name}={example}"
    return Description(name, "key", name, setting.meaning, facts)


def _section_keys(section: str) -> tuple[Setting, ...]:
    from cl_bench.planning.keys import keys

    return tuple(each for name, each in keys().items() if name.startswith(f"{section}."))


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


_KINDS: dict[str, Callable[[str], Description]] = {
    "strategy": _strategy,
    "benchmark": _benchmark,
    "network": _network,
    "metric": _metric,
    "config": _config,
    "dataset": _dataset,
    "section": _section,
    "key": _key,
}
