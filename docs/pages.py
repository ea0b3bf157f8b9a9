"""Pages that the code writes: one a strategy, the metrics, benchmarks, protocols and commands.

Each is Markdown made from what the code itself declares, so that no page can fall behind it.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer

import cl_bench
from cl_bench import benchmarks
from cl_bench.cli.app import app
from cl_bench.config import Scenario
from cl_bench.engine.strategy import ALL_NETWORKS
from cl_bench.metrics import METRICS, NEEDS
from cl_bench.planning import finding, reading
from cl_bench.planning.settings import settings_of

REFERENCE = "docs/reference"


def all_pages() -> Iterator[tuple[str, str]]:
    """Yield the path (from the site's root) and the Markdown of every page, in their order."""
    yield f"{REFERENCE}/strategies.md", _strategies()
    for name in finding.strategy_names():
        yield strategy_path(name), _strategy(name)
    yield f"{REFERENCE}/avalanche-strategies.md", _foreign()
    yield f"{REFERENCE}/benchmarks.md", _benchmarks()
    yield f"{REFERENCE}/metrics.md", _metrics()
    yield f"{REFERENCE}/protocols.md", _protocols()
    yield f"{REFERENCE}/commands.md", _commands()
    yield f"{REFERENCE}/api.md", _api()


def strategy_path(name: str) -> str:
    """Return the path of a strategy's page."""
    return f"{REFERENCE}/strategies/{name.replace('+', '-plus')}.md"


# --- strategies -----------------------------------------------------------------------------


def _strategies() -> str:
    rows = []
    for name in finding.strategy_names():
        one = finding.summary(name)
        link = f"[{name}]({strategy_path(name).removeprefix(f'{REFERENCE}/')})"
        rows.append((link, prose(one.title), _scenarios(one.scenarios), prose(one.source)))
    table = _table(("name", "strategy", "scenarios", "source"), rows)
    return (
        "# Strategies\n\nWhat the suite trains. Avalanche's own have [a page](avalanche-strategies"
        ".md); to write one: [how](../strategies.md).\n\n" + table
    )


def _strategy(name: str) -> str:
    one, kind = finding.summary(name), finding.load(name)
    facts = [
        ("command", f"`python -m cl_bench run --strategy {name}`"),
        ("source", prose(one.source)),
        ("scenarios", _scenarios(one.scenarios)),
        ("networks", ", ".join(sorted(kind.networks))),
        ("sees", "the data of all tasks so far" if kind.all_data else "the current task's data"),
        ("keeps training images", "yes" if kind.keeps_samples else "no"),
    ]
    if kind.networks == ALL_NETWORKS:
        facts.pop(3)
    parts = [f"# {one.title}", _table(("", ""), facts), *_docs(kind)]
    parts += ["## Settings", _settings(name)]
    return "\n\n".join(parts)


def _foreign() -> str:
    parts = [
        "# Avalanche's strategies",
        "Avalanche's own classes in its own training loop, on our streams, from our initial "
        "weights, evaluated as ours are ([how](../avalanche.md)).",
    ]
    for name in finding.foreign_names():
        one, kind = finding.summary(name), finding.load(name)
        facts = [("source", prose(one.source)), ("scenarios", _scenarios(one.scenarios))]
        parts += [f"## {name}", _text(kind.__doc__), _table(("", ""), facts)]
        parts.append(_settings(name))
    return "\n\n".join(parts)


def _docs(kind: type[Any]) -> Iterator[str]:
    yield _text(sys.modules[kind.__module__].__doc__)
    yield _text(kind.__doc__)


def _settings(name: str) -> str:
    rows = [
        (
            f"`{name}.{each.setting}`",
            f"`{str(each.default).lower()}`",
            prose(each.values),
            prose(each.tuned_over),
            prose(each.meaning),
        )
        for each in settings_of(name)
    ]
    head = ("setting", "default", "allowed", "tuned over", "meaning")
    return _table(head, rows) if rows else "It has none."


def _scenarios(scenarios: Iterable[Scenario]) -> str:
    return ", ".join(str(scenario) for scenario in Scenario if scenario in set(scenarios))


# --- what is trained and measured -----------------------------------------------------------


def _benchmarks() -> str:
    rows = []
    for name in benchmarks.names():
        one = benchmarks.summary(name)
        scenarios = ", ".join(typing.cast(list[str], one["scenarios"]))
        tasks, source = str(one["default tasks"]), prose(str(one["source"]))
        rows.append((f"`{name}`", prose(str(one["title"])), scenarios, tasks, source))
    return (
        "# Benchmarks\n\nTask sequences, for `--benchmark`; the first scenario is the default. "
        "To add one: [how](../extending.md).\n\n"
        + _table(("name", "what it is", "scenarios", "tasks by default", "source"), rows)
    )


def _metrics() -> str:
    parts = [
        "# Metrics",
        "a[i, j] is the accuracy on task j after task i was trained; tasks count from 0 to T-1. "
        "Strategies are compared seed by seed (same tasks, same initial weights): a winner is "
        "named only from five common seeds on, and only if the interval of the paired differences "
        "leaves out 0 and the Holm-corrected p-value is below .05. To add one: "
        "[how](../extending.md).",
    ]
    for metric in METRICS.values():
        facts = [
            ("definition", prose(metric.definition)),
            ("better", "higher" if metric.higher_is_better else "lower"),
            ("unit", metric.unit),
            ("needs", NEEDS[metric.needs]),
            ("source", prose(metric.source)),
        ]
        parts += [f"## {metric.name}", _table(("", ""), facts)]
    return "\n\n".join(parts)


def _protocols() -> str:
    rows = []
    for name in reading.config_names():
        content = reading.load_config(name)
        said, source = (prose(str(content.get(key, ""))) for key in ("description", "source"))
        rows.append((f"`{name}`", said, source))
    return (
        "# Protocols\n\nFiles of `configs/`, for `--config`: each fixes a benchmark, a network, an "
        "optimiser and how long it trains.\n\n" + _table(("name", "what it is", "source"), rows)
    )


# --- commands and names ---------------------------------------------------------------------


def _commands() -> str:
    parts = ["# Commands", "`python -m cl_bench COMMAND --help` says the same."]
    root = typer.main.get_command(app)
    for words, command in _leaves(root, ("cl_bench",)):
        parts += [f"## {' '.join(words[1:])}", _text(command.help)]
        rows = [(_typed(each), prose(each.help or "")) for each in command.params]
        parts.append(_table(("option", "meaning"), rows))
    return "\n\n".join(parts)


def _typed(parameter: Any) -> str:
    """Return how an option or argument is typed: `--set KEY=VALUE`, `[RUN|GROUP]`."""
    names = [*parameter.opts, *parameter.secondary_opts]
    given = parameter.metavar or ""
    if not names[0].startswith("-"):
        return f"`{given or names[0].upper()}`".replace("|", "\\|")
    return " ".join([*(f"`{name}`" for name in names), *([f"`{given}`"] if given else [])])


def _leaves(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, inner in command.commands.items():
        yield from _leaves(inner, (*words, name))


def _api() -> str:
    parts = ["# Python API", "The public names of `cl_bench`; what is not here may change."]
    for name in cl_bench.__all__:
        if name.startswith("__"):
            continue
        value = getattr(cl_bench, name)
        where = f"{value.__module__}.{value.__qualname__}"
        parts.append(
            f"::: {where}\n    options:\n      heading_level: 2\n      heading: {name}\n"
            f"      toc_label: {name}"
        )
    return "\n\n".join(parts)


# --- Markdown -------------------------------------------------------------------------------


def prose(text: str) -> str:
    """Return a line of plain text as Markdown: its code stays, nothing else is marked up."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(
        each if each.startswith("`") else re.sub(r"([\\*_\[\]<>|])", r"\\\1", each)
        for each in pieces
    )


def _text(doc: str | None) -> str:
    """Return a docstring as Markdown, paragraph by paragraph; indented ones stay as they are."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(doc or ""))
    return "\n\n".join(each if each.startswith("    ") else prose(each) for each in paragraphs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
