"""Tunings as tables: what was chosen of how many trials, and how much each setting does."""

from __future__ import annotations

from collections.abc import Sequence

from cl_bench.report.tables import Row, Rows, interval_text
from cl_bench.tuning.record import TuningRecord
from cl_bench.tuning.selection import end_reached


def choices(records: Sequence[TuningRecord], *, people: bool = False) -> Rows:
    """Return a row for each strategy: its choice, beside its defaults, and what it cost."""
    return [_choice_text(record) if people else _choice_values(record) for record in records]


def _choice_text(record: TuningRecord) -> Row:
    chosen, default, terms = record.choice, record.default, record.terms
    in_full = default.length == 1 and not default.diverged
    return {
        "strategy": terms.strategy.name,
        "trials": record.trials,
        "seeds": terms.seeds,
        "chosen": dict(chosen.settings) if chosen and chosen.settings else _why_none(record),
        "validation " + terms.metric.replace("_", " "): (
            interval_text(chosen.mean, chosen.low, chosen.high) if chosen else ""
        ),
        "defaults": interval_text(default.mean if in_full else None, None, None),
        "at an edge": ", ".join(record.edges),
        "gradient passes": f"{record.budget.gradient_passes:,.0f}",
    }


def _choice_values(record: TuningRecord) -> Row:
    chosen, default, terms = record.choice, record.default, record.terms
    return {
        "strategy": terms.strategy.name,
        "trials": record.budget.trials,
        "seeds": terms.seeds,
        "chosen": dict(chosen.settings) if chosen else {},
        "trial": record.chosen,
        "metric": terms.metric,
        "mean": chosen.mean if chosen else None,
        "low": chosen.low if chosen else None,
        "high": chosen.high if chosen else None,
        "default_mean": default.mean,
        "default_length": default.length,
        "edges": record.edges,
        "gradient_passes": record.budget.gradient_passes,
        "full_gradient_passes": record.budget.full_gradient_passes,
        "tuning_id": record.tuning_id,
    }


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
            value = record.choice.settings[each.name]
            advice = "between it and the range's end nothing was tried: give more --trials"
            if end_reached(each, value):
                advice = "a better one may lie beyond: widen the range"
            found.append(
                f"{name}: {each.name} = {value:g} is the {record.edges[each.name]} value tried, in "
                f"a range of {each.low:g} to {each.high:g}; {advice}"
            )
    diverged = {result.number for result in record.results if result.diverged}
    if diverged:
        found.append(f"{name}: {len(diverged)} of {record.trials} trials diverged")
    return found


def _why_none(record: TuningRecord) -> str:
    return "every trial diverged" if record.chosen is None else "nothing to tune"
