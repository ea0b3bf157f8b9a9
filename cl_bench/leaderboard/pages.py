"""What a board shows: README.md for people, table.json and table.csv for programs.

All three are functions of the entries alone, and hold rounded figures: README.md to four decimals,
the others to six decimals.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cl_bench.leaderboard.budget import TuningBudget
from cl_bench.leaderboard.commands import commands
from cl_bench.leaderboard.entries import Entry, dump, labels
from cl_bench.leaderboard.standings import BASELINE, FIGURES, Rows, Standings
from cl_bench.metrics import METRICS, REFERENCE_STRATEGY
from cl_bench.report.tables import interval_text

TABLE_VERSION = 2
DIGITS = 6

_RANKS = (
    "An entry ranks below another only where the difference between them is shown: paired by seed, "
    "the 95 % bootstrap interval of the difference leaves out 0 and the t-test holds after Holm's "
    "correction over all pairs of the board. A rank is a range, such as 3–5: from 1 + the number "
    "of entries shown to be better to the number of ranked entries less those shown to be worse. "
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
        "README.md": _readme(entries, found).encode(),
        "table.json": table_json(entries[0], found).encode(),
        "table.csv": _table_csv(found.rows).encode(),
    }


def table_json(entry: Entry, found: Standings) -> str:
    """Return table.json: the board, its rows with each entry's SHA-256, and every pair."""
    content = {
        "schema_version": TABLE_VERSION,
        "board": entry.board.name,
        "protocol_id": entry.protocol_id,
        "ranked_by": FIGURES[0],
        "entries": [rounded(row) for row in found.rows],
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


def people_rows(rows: Rows) -> Rows:
    """Return a board's rows as text that is short enough to read."""
    tuned = any(row["budget"] for row in rows)
    return [_people_row(row, tuned) for row in rows]


def _people_row(row: Mapping[str, Any], tuned: bool) -> dict[str, Any]:
    rank = "not ranked" if row["rank"] is None else f"{row['rank']}"
    if row["tied"]:
        rank += f"–{row['rank_last']}"
    short: dict[str, Any] = {"rank": rank, "strategy": row["label"], "seeds": row["seeds"]}
    for metric in FIGURES[:2]:
        sides = (row[metric], row[f"{metric}_low"], row[f"{metric}_high"])
        short[metric.replace("_", " ")] = interval_text(*sides)
    short["learning accuracy"] = interval_text(row["learning_accuracy"], None, None)
    short["bytes kept"] = _number(row["bytes_kept"], ",.0f")
    times = row["gradient_passes_of_naive"]
    passes = _number(row["gradient_passes"], ",.0f")
    short["gradient passes"] = passes if times is None else f"{times:.2f} times {BASELINE}"
    seconds = [_number(row[key], ".1f") for key in ("train_seconds", "consolidate_seconds")]
    short["seconds"] = " + ".join(text for text in seconds if text)
    if tuned:
        short["tuned"] = str(TuningBudget(**row["budget"])) if row["budget"] else ""
    return short


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _table_csv(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = rounded(row)
        writer.writerow({k: json.dumps(v) if isinstance(v, dict) else v for k, v in plain.items()})
    return text.getvalue()


def _readme(entries: Sequence[Entry], found: Standings) -> str:
    board = entries[0].board
    rows = found.rows
    by_group = {entry.group_id: entry for entry in entries}
    ordered = [by_group[row["group_id"]] for row in rows]
    label = labels(ordered)
    table = [
        {**short, "entry": f"[{row['group_id'][:8]}]({row['file']})"}
        for short, row in zip(people_rows(rows), rows, strict=True)
    ]
    remarks = [_RANKS, *_remarks(rows), *_definitions(), _COSTS]
    parts = [
        f"# Leaderboard {board.name}",
        "<!-- Generated from entries/ by `cl_bench leaderboard build`; edits are lost. -->",
        board.description,
        f"Source: {board.source}." if board.source else "",
        markdown(table),
        *remarks,
        "## Protocol",
        "\n".join(f"- {line}" for line in protocol_in_words(entries[0])),
        "## How the settings were chosen",
        *_tuning(ordered),
        "## How to make it again",
        "```\n" + "\n".join(commands(ordered)) + "\n```",
        "## Where the numbers come from",
        markdown(origins((label[entry.group_id], entry) for entry in ordered)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _remarks(rows: Rows) -> list[str]:
    from cl_bench.metrics.statistics import MIN_SEEDS

    remarks = []
    if any(row["rank"] is None for row in rows):
        remarks.append(f"Entries of fewer than {MIN_SEEDS} seeds are listed, not ranked.")
    if any(row["strategy"] == REFERENCE_STRATEGY for row in rows):
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


def protocol_in_words(entry: Entry) -> list[str]:
    """Return the protocol of an entry, a line for each of its parts."""
    config = entry.run_config(entry.runs[0].seed)
    benchmark, training, optimizer = config.benchmark, config.training, config.optimizer
    evaluation = config.evaluation
    order = {"seed": ", classes in an order drawn by seed", "fixed": ", classes in fixed order"}
    images = benchmark.train_samples
    held = benchmark.validation_fraction
    length = (
        f"{training.iterations} minibatches a task"
        if training.iterations
        else f"{training.epochs:g} {'pass' if training.epochs == 1 else 'passes'} over each task's "
        "training data"
    )
    numbers = {
        "sgd": "",
        "momentum": f", momentum {optimizer.momentum:g}",
        "adam": f", betas {optimizer.beta1:g} and {optimizer.beta2:g}, "
        f"epsilon {optimizer.epsilon:g}",
    }
    decay = f", weight decay {optimizer.weight_decay:g}" if optimizer.weight_decay else ""
    hidden = " and ".join(map(str, config.network.hidden)) or "none"
    split = {"test": "test", "valid": "validation"}[evaluation.split]
    data = ", ".join(f"{key} {value}" for key, value in entry.runs[0].data.items())
    return [
        f"Tasks: {benchmark.name}, {benchmark.tasks} tasks, {benchmark.scenario}-incremental"
        f"{order.get(benchmark.order or '', '')}.",
        f"Data: {f'{images} training images' if images else 'all training images'} of each task"
        + (f", {100 * held:g} % of the training data held out" if held else "")
        + f" ({data}).",
        f"Network: {config.network.name}"
        + (f", hidden layers of {hidden}" if config.network.name == "mlp" else "")
        + (f", all weights from seed {config.init_seed}." if config.init_seed is not None else "."),
        f"Training: {length}, {training.batch_size} images a minibatch"
        + (
            f", loss over {'all outputs' if training.outputs == 'all' else 'the outputs seen'}."
            if benchmark.scenario == "class"
            else "."
        ),
        f"Optimiser: {optimizer.name}, learning rate {optimizer.learning_rate:g}"
        f"{numbers[optimizer.name]}{decay}; its state "
        f"{'starts anew with each task' if optimizer.reset else 'is kept from task to task'}.",
        "Evaluation: after each task, on "
        + (f"{benchmark.test_samples} images" if benchmark.test_samples else "all images")
        + f" of each task's {split} data.",
        f"Protocol id: `{entry.protocol_id}` (the hash of all of this).",
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


def origins(named: Iterable[tuple[str, Entry]]) -> Rows:
    """Return where the runs were made (code, packages, machine), a row for each such place.

    Args:
        named: entries, each with the name that it is shown by.
    """
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, entry in named:
        found.setdefault(tuple(_origin(entry).items()), []).append(name)
    return [
        {"entries": "all" if len(found) == 1 else "; ".join(names), **dict(origin)}
        for origin, names in found.items()
    ]


def _origin(entry: Entry) -> dict[str, str]:
    def each(values: Iterable[object]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values if value))

    sources = [run.provenance for run in entry.runs]
    return {
        "commit": each(_commit(source.get("git")) for source in sources),
        "torch": each((source.get("packages") or {}).get("torch") for source in sources),
        **{key: each(s.get(key) for s in sources) for key in ("device", "python", "platform")},
    }


def _commit(git: Any) -> str:
    if not isinstance(git, dict) or not git.get("commit"):
        return "unknown"
    changed = "" if git.get("clean") else " with changes"
    return f"{str(git['commit'])[:12]}{changed}"


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of rows with the same keys."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[str(row[column]).replace("|", "\\|") for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
