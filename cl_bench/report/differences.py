"""Tables of how stored configurations differ, two by two, and what so many seeds can show.

Rows are plain values; `people=True` gives the same as text that is short enough to read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypedDict

from cl_bench.metrics.comparison import Comparison, compare
from cl_bench.metrics.power import ALPHA, detectable, seeds_needed
from cl_bench.metrics.statistics import LEVEL, least_sign_flip_p
from cl_bench.plain import plain
from cl_bench.report.protocols import SHOWN, describe
from cl_bench.report.selection import Runs
from cl_bench.report.tables import Row, Rows, interval_text, results


class Power(TypedDict):
    """What the seeds of a comparison can show, with 80 % power."""

    detectable: float | None
    """The least true difference that they show, of one test alone."""
    seeds_needed: int | None
    """How many seeds show the difference that was asked for, of one test alone."""
    detectable_holm: float | None
    """As strictly as Holm's correction ever is: over all pairs of the protocol."""
    seeds_needed_holm: int | None


def comparison(
    runs: Runs, metrics: Iterable[str], *, people: bool = False, power: float | None = None
) -> tuple[dict[str, Rows], list[str]]:
    """Return the tables of a comparison by title, and what is to be known beside them.

    Args:
        runs: the runs to compare.
        metrics: names of metrics, whose paired differences are shown.
        people: give text that is short enough to read.
        power: also say how many seeds show a true difference of this size, and which one the
            seeds at hand show (`Power`).
    """
    found: dict[str, Rows] = {}
    if people and len(runs.protocols) > 1:
        words = describe(runs.protocols)
        found["protocols"] = [{"protocol": i[:SHOWN], "": text} for i, text in words.items()]
    found["results"] = results(runs, people=people)
    every: list[Comparison] = []
    for metric in metrics:
        rows = compare(runs.metrics, metric)
        every += rows
        title = f"paired differences in {metric.replace('_', ' ')}"
        found[title] = differences(rows, people=people, power=power)
    told = [what_seeds_show(every)] if every else []
    if metrics and runs.groups == len(runs.protocols):
        told.append("nothing to pair: each protocol has one configuration")
    return found, [line for line in told if line]


def differences(
    rows: Sequence[Comparison], *, people: bool = False, power: float | None = None
) -> Rows:
    """Return a row for each comparison; arguments as of `comparison`."""
    pairs = Counter(row["protocol_id"] for row in rows)
    found: Rows = []
    for row in rows:
        shown = None if power is None else _power(row, power, pairs[row["protocol_id"]])
        if not people:
            found.append({**row, **(shown or {})})
            continue
        text = _difference_text(row, len(pairs) > 1)
        if shown is not None:
            text["detectable"] = interval_text(shown["detectable_holm"], None, None)
            text[f"seeds for {power:g}"] = shown["seeds_needed_holm"]
        found.append(text)
    return found


def _difference_text(row: Comparison, several: bool) -> Row:
    text: Row = {"A": row["a"], "B": row["b"]}
    if several:
        text["protocol"] = row["protocol_id"][:SHOWN]
    text["seeds"] = row["seeds"]
    text["A less B"] = interval_text(row["difference"], row["low"], row["high"], sign="+")
    text["median"] = interval_text(row["median"], None, None, sign="+")
    sides = (row["improvement"], row["improvement_low"], row["improvement_high"])
    text["P(A better)"] = interval_text(*sides, digits=2)
    text["p (Holm)"] = row["p_holm"]
    text["better"] = row["better"] or row["verdict"]
    return text


def _power(row: Comparison, difference: float, pairs: int) -> Power:
    deviation, seeds = row["deviation"], row["seeds"]
    if deviation is None:
        return Power(
            detectable=None, seeds_needed=None, detectable_holm=None, seeds_needed_holm=None
        )
    return Power(
        detectable=plain(detectable(deviation, seeds)),
        seeds_needed=seeds_needed(difference, deviation),
        detectable_holm=plain(detectable(deviation, seeds, ALPHA / pairs)),
        seeds_needed_holm=seeds_needed(difference, deviation, ALPHA / pairs),
    )


def what_seeds_show(rows: Iterable[Comparison]) -> str:
    """Return what is to be known of the winners that few seeds name; nothing where there is none.

    Below 2 / 2^n the t-test alone can tell, which takes differences to be normal.
    """
    few = {row["seeds"] for row in rows if row["better"]}
    few = {seeds for seeds in few if least_sign_flip_p(seeds) > 1 - LEVEL}
    if not few:
        return ""
    return (
        f"winners of {min(few)} seeds are named by the t-test, which takes differences to be "
        f"normal; the sign-flip test, which does not, allows no p below "
        f"{least_sign_flip_p(min(few)):g} there: more seeds show more"
    )
