"""What a board shows: README.md for people, table.json and table.csv for programs.

All three are functions of the entries alone, and hold rounded figures: README.md to four decimals,
the others to six decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cl_bench.leaderboard.commands import commands
from cl_bench.leaderboard.entries import Entry, dump, labels
from cl_bench.leaderboard.protocol import protocol_in_words
from cl_bench.leaderboard.rendering import csv_bytes, document, generated, markdown, origins
from cl_bench.leaderboard.standings import BASELINE, FIGURES, Rows, Standing, Standings
from cl_bench.metrics import METRICS, REFERENCE_STRATEGY
from cl_bench.report.tables import interval_text

TABLE_VERSION = 3
DIGITS = 6

_RANKS = (
    "An entry ranks below another only where the difference between them is shown: paired by seed, "
    "the 95 % bootstrap interval of the difference leaves out 0 and the t-test (of differences "
    "without a spread, the sign-flip test) holds after Holm's correction over all pairs of the "
    "board. A rank is a range, such as 3–5: from 1 + the number of entries shown to be better to "
    "the number of ranked entries less those shown to be worse. "
    "Entries that share places are tied; their order in the table is that of their means. "
    "Intervals are 95 % BCa bootstrap intervals of the mean over seeds; at five seeds such an "
    "interval holds the true mean of normal values in 85 of 100 cases, and ranks do not rest on it "
    "alone. `table.json` holds every pair: mean and median difference, both intervals, the "
    "probability of improvement and the p-values."
)
_COSTS = (
    "Bytes kept are what the strategy carries from task to task beyond the network, for one run. "
    "Gradient passes are training minibatches, those of an exploration at a task's end included; "
    "the work of measuring importances is in the second part of the seconds (train + consolidate; "
    "of a run, its share of the stack it was trained in)."
)


def render(entries: Sequence[Entry], found: Standings) -> dict[str, bytes]:
    """Return the generated files of a board by name."""
    return {
        "README.md": _readme(entries, found),
        "table.json": table_json(entries[0], found).encode(),
        "table.csv": csv_bytes([rounded(standing.row()) for standing in found.rows]),
    }


def table_json(entry: Entry, found: Standings) -> str:
    """Return table.json: the board, its rows with each entry's SHA-256, and every pair."""
    content = {
        "schema_version": TABLE_VERSION,
        "board": entry.board.name,
        "protocol_id": entry.protocol_id,
        "ranked_by": FIGURES[0],
        "entries": [rounded(standing.row()) for standing in found.rows],
        "pairs": [rounded(row) for row in found.pairs],
    }
    return dump(content) + "\n"


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its figures rounded; what was set, such as a strength, stays as it is."""
    return {k: _rounded(k, v) if isinstance(v, float) else v for k, v in row.items()}


def _rounded(key: str, value: float) -> float:
    if key in ("p", "p_holm", "p_sign_flip"):  # a small one is not 0
        return float(f"{value:.3g}")
    return round(value, DIGITS) + 0.0  # never -0.0


def people_rows(found: Sequence[Standing]) -> Rows:
    """Return standings as text that is short enough to read, a row for each."""
    tuned = any(standing.budget for standing in found)
    return [_people_row(standing, tuned) for standing in found]


def _people_row(standing: Standing, tuned: bool) -> dict[str, Any]:
    rank = "not ranked" if standing.rank is None else f"{standing.rank}"
    if standing.tied:
        rank += f"–{standing.rank_last}"
    short: dict[str, Any] = {
        "rank": rank,
        "strategy": standing.label,
        "seeds": standing.seeds,
    }
    for metric, figure in standing.figures.items():
        sides = (figure.low, figure.high) if metric in FIGURES[:2] else (None, None)
        short[metric.replace("_", " ")] = interval_text(figure.mean, *sides)
    costs = standing.costs
    times = costs.gradient_passes_of_naive
    passes = _number(costs.gradient_passes, ",.0f")
    seconds = [_number(value, ".1f") for value in (costs.train_seconds, costs.consolidate_seconds)]
    short["bytes kept"] = _number(costs.bytes_kept, ",.0f")
    short["gradient passes"] = passes if times is None else f"{times:.2f} times {BASELINE}"
    short["seconds"] = " + ".join(text for text in seconds if text)
    if tuned:
        short["tuned"] = str(standing.budget or "")
    return short


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _readme(entries: Sequence[Entry], found: Standings) -> bytes:
    board = entries[0].board
    rows = found.rows
    by_group = {entry.group_id: entry for entry in entries}
    ordered = [by_group[row.group_id] for row in rows]
    label = labels(ordered)
    table = [
        {**short, "entry": f"[{row.group_id[:8]}]({row.file})"}
        for short, row in zip(people_rows(rows), rows, strict=True)
    ]
    remarks = [_RANKS, *_remarks(rows), *_definitions(), _COSTS]
    parts = [
        f"# Leaderboard {board.name}",
        generated("from entries/ by `cl_bench leaderboard build`"),
        board.description,
        f"Source: {board.source}." if board.source else "",
        markdown(table),
        *remarks,
        "## Protocol",
        "\n".join(f"- {line}" for line in _protocol(entries[0])),
        "## How the settings were chosen",
        *_tuning(ordered),
        "## How to make it again",
        "```\n" + "\n".join(commands(ordered)) + "\n```",
        "## Where the numbers come from",
        markdown(origins((label[entry.group_id], entry) for entry in ordered)),
    ]
    return document(parts)


def _remarks(rows: Sequence[Standing]) -> list[str]:
    why: dict[str, list[str]] = {}
    for row in rows:
        if row.not_ranked:
            why.setdefault(row.not_ranked, []).append(row.label)
    remarks = [f"Not ranked ({reason}): {', '.join(names)}." for reason, names in why.items()]
    if any(row.strategy == REFERENCE_STRATEGY for row in rows):
        remarks.append(
            f"`{REFERENCE_STRATEGY}` is trained on the data of all tasks so far: a bound to measure"
            " against, which no continual learner may do."
        )
    return remarks


def _definitions() -> list[str]:
    lines = [
        f"- {METRICS[name].title}: {METRICS[name].definition}. {METRICS[name].source}."
        for name in FIGURES
    ]
    return ["a[i, j] is the accuracy on task j after task i, counted from 0.", "\n".join(lines)]


def _protocol(entry: Entry) -> list[str]:
    data = ", ".join(f"{key} {value}" for key, value in entry.runs[0].data.items())
    return [
        *protocol_in_words(entry.run_config(entry.runs[0].seed)),
        f"Protocol id: `{entry.protocol_id}` (the hash of all of this).",
        f"Data: {data}.",
    ]


def _tuning(entries: Sequence[Entry]) -> list[str]:
    """Return the accounts of tuning: one where all entries share it, else each with its entries."""
    label = labels(entries)
    accounts: dict[str, list[str]] = {}
    for entry in entries:
        accounts.setdefault(_account(entry), []).append(label[entry.group_id])
    if len(accounts) == 1:
        return list(accounts)
    return [f"{', '.join(names)}: {account}" for account, names in accounts.items()]


def _account(entry: Entry) -> str:
    """Return how an entry's settings were chosen, and what that cost."""
    budget, spent = entry.budget, ""
    if budget:
        spent = (
            f"Tuned: {budget}, the best {budget.metric} by {budget.method} "
            f"(SHA-256 of the search {budget.sha256[:12]}…)."
        )
    return " ".join(text for text in (entry.tuning, spent) if text) or "No account was given."
