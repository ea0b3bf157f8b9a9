"""Our methods against Avalanche's: how far pairs of the same method agree.

Both of a pair train on the same stream with the same network, initial weights, optimiser and
number of steps, and are evaluated alike; their runs are compared paired by seed. What is left is
a difference of the two implementations, and the pair's `why` says which. Where neither has learnt
to do better than guess there is nothing to agree on, and no verdict.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from cl_bench.avalanche.pairs import BASELINE, PROTOCOLS, Pair
from cl_bench.config import Scenario
from cl_bench.metrics.statistics import mean_interval, paired_difference
from cl_bench.results.figures import compute

if TYPE_CHECKING:
    from cl_bench.results.record import RunRecord

AGREES = "agrees"
DIFFERS = "differs"
TOO_FEW = "too few seeds"
NOT_LEARNT = "not learnt"
LEARNT = 0.05
"""Share of what lies between guessing and no error that must be learnt for a verdict."""


@dataclass(frozen=True)
class Finding:
    """What came of a pair."""

    pair: Pair
    seeds: int
    baseline: float
    """Mean average accuracy of the baseline, a fraction."""
    ours: float
    theirs: float
    difference: float
    """Ours less theirs, paired by seed."""
    low: float
    high: float
    """The 95 % BCa bootstrap interval of the difference."""
    apart: float
    """Median distance of the final weights, of the length of ours."""
    learnt: bool = True
    """Whether either of the two does better than guess."""

    @property
    def verdict(self) -> str:
        """Return whether the interval of the difference holds 0, where anything was learnt."""
        if not self.learnt:
            return NOT_LEARNT
        if self.seeds < 2:
            return TOO_FEW
        return AGREES if self.low <= 0 <= self.high else DIFFERS


def find(pair: Pair, records: Sequence[RunRecord]) -> Finding | None:
    """Return what the records of a pair's protocol show; None where seeds are missing.

    Args:
        pair: the pair.
        records: those of its protocol, in any order.
    """
    by_name: dict[str, dict[int, RunRecord]] = {}
    for record in records:
        by_name.setdefault(record.config.strategy.name, {})[record.config.seed] = record
    names = (BASELINE, pair.ours[0], pair.theirs[0])
    seeds = sorted(set.intersection(*(set(by_name.get(name, ())) for name in names)))
    if not seeds:
        return None
    runs = {name: [by_name[name][seed] for seed in seeds] for name in names}
    values = {name: np.array([_accuracy(run) for run in of]) for name, of in runs.items()}
    _, ours, theirs = names
    interval = paired_difference(values[ours], values[theirs]).interval
    distances = [_distance(a, b) for a, b in zip(runs[ours], runs[theirs], strict=True)]
    return Finding(
        pair=pair,
        seeds=len(seeds),
        baseline=float(values[BASELINE].mean()),
        ours=float(values[ours].mean()),
        theirs=float(values[theirs].mean()),
        difference=interval.mean,
        low=interval.low,
        high=interval.high,
        apart=float(np.median(distances)),
        learnt=any(_learnt(values[name], chance(runs[name][0])) for name in (ours, theirs)),
    )


def chance(record: RunRecord) -> float:
    """Return the average accuracy of guessing among a task's classes; among all in class-IL."""
    classes = record.predictions.groupby("task")["label"].nunique()
    if record.config.benchmark.scenario is Scenario.CLASS:
        return 1 / int(record.predictions["label"].nunique())
    return float((1 / classes).mean())


def _learnt(accuracies: NDArray[np.float64], guessed: float) -> bool:
    """Return whether accuracies by seed are above guessing: by a margin, and not by chance."""
    interval = mean_interval(accuracies)
    surely = interval.count < 2 or interval.low > guessed
    return surely and interval.mean > guessed + LEARNT * (1 - guessed)


def _accuracy(record: RunRecord) -> float:
    return compute(record)["average_accuracy"]


def _distance(a: RunRecord, b: RunRecord) -> float:
    first, second = (
        np.concatenate([run.weights[name].ravel() for name in a.weights]) for run in (a, b)
    )
    return float(np.linalg.norm(first - second) / np.linalg.norm(first))


PairRow = TypedDict(
    "PairRow",
    {
        "pair": str,
        "protocol": str,
        "ours": str,
        "theirs": str,
        "seeds": int,
        "naive": float,
        "our accuracy": float,
        "their accuracy": float,
        "difference": float,
        "low": float,
        "high": float,
        "weights apart": float,
        "verdict": str,
    },
)


def rows(findings: Sequence[Finding]) -> list[PairRow]:
    """Return the table, a row a pair; accuracies are fractions."""
    return [
        {
            "pair": found.pair.name,
            "protocol": found.pair.protocol,
            "ours": describe(*found.pair.ours),
            "theirs": describe(*found.pair.theirs),
            "seeds": found.seeds,
            "naive": found.baseline,
            "our accuracy": found.ours,
            "their accuracy": found.theirs,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "weights apart": found.apart,
            "verdict": found.verdict,
        }
        for found in findings
    ]


def as_text(found: Sequence[PairRow]) -> list[dict[str, str]]:
    """Return the rows as text that is short enough to read."""
    return [
        {
            "pair": row["pair"],
            "seeds": str(row["seeds"]),
            "naive": f"{row['naive']:.3f}",
            "ours": f"{row['our accuracy']:.3f}",
            "theirs": f"{row['their accuracy']:.3f}",
            "ours less theirs": f"{row['difference'] + 0.0:+.3f} "
            f"[{row['low']:+.3f}, {row['high']:+.3f}]",
            "apart": f"{row['weights apart']:.0e}",
            "verdict": row["verdict"],
        }
        for row in found
    ]


def describe(name: str, settings: Mapping[str, Any]) -> str:
    """Return a strategy with those of its settings that are given."""
    shown = ", ".join(f"{key}={value}" for key, value in settings.items())
    return f"{name} ({shown})" if shown else name


def table_csv(findings: Sequence[Finding]) -> str:
    """Return the table for programs, figures to six decimals."""
    text = io.StringIO()
    content = rows(findings)
    writer = csv.DictWriter(text, list(content[0]) if content else ["pair"], lineterminator="\n")
    writer.writeheader()
    for row in content:
        writer.writerow({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def page(findings: Sequence[Finding], versions: Mapping[str, str], left_out: Sequence[str]) -> str:
    """Return the page for people.

    Args:
        findings: one a pair.
        versions: of the packages that the runs were made with.
        left_out: what was not compared, and why, one line each.
    """
    lines = [
        "# Our methods against Avalanche's",
        "",
        "<!-- Generated by `python -m cl_bench crossvalidate --write`; edits are lost. -->",
        "",
        f"Both train on the same task streams: Avalanche {versions.get('avalanche-lib', '?')} in "
        "its own training loop (`--strategy avalanche:EWC`), ours in the engine, with the same "
        "network, initial weights, optimiser and number of steps on one CPU thread. Methods that "
        "do not choose their minibatches get the same ones in the same order, so that naive "
        "training ends at the same weights but for rounding. Accuracy is the average over all "
        "tasks after the last, in percent; the difference is ours less theirs, paired by seed, "
        "with its 95 % BCa bootstrap interval, and a pair *agrees* where the interval holds 0. "
        "*Weights apart* is the distance of the final weights as a share of their length, the "
        "median over seeds: where both compute the same, rounding alone, about 1e-7, unless it "
        "flips a unit and grows. Naive training is there to show that the methods have an effect. "
        f"There is no verdict (*{NOT_LEARNT}*) where neither does better than guess.",
        "",
        *_table(findings),
        "",
        "## The pairs",
        "",
    ]
    for found in findings:
        pair = found.pair
        lines += [
            f"**{pair.name}** ({found.verdict}): {describe(*pair.ours)} and "
            f"{describe(*pair.theirs)}.",
        ]
        lines += [text for text in (pair.mapping, pair.why) if text]
        lines.append("")
    if left_out:
        lines += ["## Not compared", "", *(f"- {line}" for line in left_out), ""]
    lines += ["## Protocols", ""]
    used = dict.fromkeys(found.pair.protocol for found in findings)
    lines += [f"- `{name}`: {PROTOCOLS[name]['description']}." for name in used]
    lines.append("- Otherwise: MLP 100-100, SGD at rate 0.1, minibatches of 64.")
    shown = ", ".join(
        f"{name} {versions[name]}" for name in ("avalanche-lib", "torch") if name in versions
    )
    lines.append(f"- Made with {shown}.")
    return "\n".join(lines) + "\n"


def _table(findings: Sequence[Finding]) -> list[str]:
    heads = ["pair", "protocol", "seeds", "naive", "ours", "theirs", "difference", "weights apart"]
    lines = ["| " + " | ".join([*heads, ""]) + "|", "|---" * (len(heads) + 1) + "|"]
    for found in findings:
        low, high = 100 * found.low, 100 * found.high
        cells = [
            found.pair.name,
            found.pair.protocol,
            str(found.seeds),
            *(f"{100 * value:.2f}" for value in (found.baseline, found.ours, found.theirs)),
            f"{100 * found.difference + 0.0:+.2f} [{low:+.2f}, {high:+.2f}]",
            f"{found.apart:.1e}",
            found.verdict,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
