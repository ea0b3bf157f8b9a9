"""`cl_bench list`: what can be run and measured, named without importing any of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from cl_bench.cli.output import Format, FormatOption, emit, emit_many

Rows = list[dict[str, Any]]


class Kind(StrEnum):
    """What can be listed."""

    STRATEGIES = "strategies"
    BENCHMARKS = "benchmarks"
    METRICS = "metrics"
    CONFIGS = "configs"


def list_(
    kind: Annotated[
        Kind | None, typer.Argument(help="What to list; everything by default.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List strategies, benchmarks, metrics and configs."""
    if kind is not None:
        emit(_ROWS[kind](), format, kind.value)
    else:
        emit_many({each.value: rows() for each, rows in _ROWS.items()}, format)


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


_ROWS: dict[Kind, Callable[[], Rows]] = {
    Kind.STRATEGIES: _strategies,
    Kind.BENCHMARKS: _benchmarks,
    Kind.METRICS: _metrics,
    Kind.CONFIGS: _configs,
}
