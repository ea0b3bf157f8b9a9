"""`cl_bench list`: what can be run and measured, named without importing any of it.

Only a strategy whose settings are asked for is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from cl_bench.cli.output import Format, FormatOption, emit, emit_many, remark
from cl_bench.errors import UserError
from cl_bench.planning.parsing import split_names

Rows = list[dict[str, Any]]


class Kind(StrEnum):
    """What can be listed."""

    STRATEGIES = "strategies"
    BENCHMARKS = "benchmarks"
    METRICS = "metrics"
    CONFIGS = "configs"
    SETTINGS = "settings"


def list_(
    kind: Annotated[
        Kind | None, typer.Argument(help="What to list; everything by default.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Strategies, by name or ./file.py, whose settings to list."),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List strategies, benchmarks, metrics, configs and settings; or some strategies' settings."""
    if names and kind not in (Kind.STRATEGIES, Kind.SETTINGS):
        raise UserError(f"{', '.join(names)}: only strategies have settings to list")
    if names:
        _settings(split_names(names, "strategies"), format)
    elif kind is Kind.SETTINGS and format is Format.TABLE:
        emit(_keys(), format, "settings of every run")
        remark("a strategy's own: python -m cl_bench list settings <strategy>")
    elif kind is not None:
        emit(_ROWS[kind](), format, kind.value)
        if kind is Kind.STRATEGIES and format is Format.TABLE:
            remark("settings: python -m cl_bench list strategies <name>")
    else:
        emit_many({each.value: rows() for each, rows in _ROWS.items()}, format)


def _settings(names: Sequence[str], format: Format) -> None:
    from dataclasses import asdict

    from cl_bench.planning.settings import settings_of

    tables = {name: [asdict(each) for each in settings_of(name)] for name in names}
    if len(tables) == 1:
        ((name, rows),) = tables.items()
        emit(rows, format, f"settings of {name}")
    else:
        emit_many(tables, format)


def _strategies() -> Rows:
    from cl_bench.planning import finding

    summaries = [
        finding.summary(name) for name in [*finding.strategy_names(), *finding.foreign_names()]
    ]
    return [
        {
            "name": summary.name,
            "title": summary.title,
            "scenarios": [str(scenario) for scenario in summary.scenarios],
            "source": summary.source,
        }
        for summary in summaries
    ]


def _benchmarks() -> Rows:
    from cl_bench import benchmarks

    return [dict(benchmarks.summary(name)) for name in benchmarks.names()]


def _metrics() -> Rows:
    from cl_bench.metrics import METRICS

    return [
        {
            "name": metric.name,
            "better": "higher" if metric.higher_is_better else "lower",
            "definition": metric.definition,
            "source": metric.source,
        }
        for metric in METRICS.values()
    ]


def _configs() -> Rows:
    from cl_bench.planning import reading

    found: Rows = []
    for name in reading.config_names():
        content = reading.load_config(name)
        found.append({"name": name, **{k: content.get(k, "") for k in ("description", "source")}})
    return found


def _keys() -> Rows:
    from cl_bench.planning.keys import keys

    return [
        {
            "name": each.setting,
            "default": each.default,
            "values": each.values,
            "meaning": each.meaning,
        }
        for each in keys().values()
    ]


_ROWS: dict[Kind, Callable[[], Rows]] = {
    Kind.STRATEGIES: _strategies,
    Kind.BENCHMARKS: _benchmarks,
    Kind.METRICS: _metrics,
    Kind.CONFIGS: _configs,
    Kind.SETTINGS: _keys,
}
