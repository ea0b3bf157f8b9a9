"""Tunings as tables: what was chosen of how many trials, and how much each setting does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cl_bench.report.tables import interval_text
from cl_bench.tuning.record import TuningRecord

Rows = list[dict[str, Any]]


def choices(records: Sequence[TuningRecord], *, people: bool = False) -> Rows:
    """Return a row for each strategy: its choice, beside its defaults, and what it cost."""
    rows = []
    for record in records:
        chosen, default, terms = record.choice, record.default, record.terms
        row: dict[str, Any] = {
            "strategy": terms.strategy.name,
            "trials": record.trials,
            "seeds": terms.seeds,
            "chosen": dict(chosen.settings) if chosen else {},
        }
        if people:
            row["chosen"] = row["chosen"] or _why_none(record)
            row["validation " + terms.metric.replace("_", " ")] = (
                interval_text(chosen.mean, chosen.low, chosen.high) if chosen else ""
            )
            in_full = default.length == 1 and not default.diverged
            row["defaults"] = interval_text(default.mean if in_full else None, None, None)
            row["at an edge"] = ", ".join(record.edges)
            row["gradient passes"] = f"{record.budget.gradient_passes:,.0f}"
        else:
            row |= {
                "trial": record.chosen,
                "metric": terms.metric,
                "mean": chosen.mean if chosen else None,
                "low": chosen.low if chosen else None,
                "high": chosen.high if chosen else None,
                "default_mean": default.mean,
                "default_length": default.length,
                "edges": record.edges,
                **record.budget.model_dump(),
                "tuning_id": record.tuning_id,
            }
        rows.append(row)
    return rows


def sensitivities(records: Sequence[TuningRecord]) -> Rows:
    """Return a row for each bin of each setting's range."""
    return [
        {"strategy": record.terms.strategy.name, **each.model_dump()}
        for record in records
        for each in record.sensitivity
    ]


def warnings(record: TuningRecord) -> list[str]:
    """Return what a user should know before taking a choice: it is at an edge, or trials failed."""
    name, found = record.terms.strategy.name, []
    for each in record.terms.space:
        if each.name in record.edges and record.choice is not None:
            found.append(
                f"{name}: {each.name} = {record.choice.settings[each.name]:g} is the "
                f"{record.edges[each.name]} value tried, in a range of {each.low:g} to "
                f"{each.high:g}; a better one may lie beyond: widen the range"
            )
    diverged = {result.number for result in record.results if result.diverged}
    if diverged:
        found.append(f"{name}: {len(diverged)} of {record.trials} trials diverged")
    return found


def _why_none(record: TuningRecord) -> str:
    return "every trial diverged" if record.chosen is None else "nothing to tune"
