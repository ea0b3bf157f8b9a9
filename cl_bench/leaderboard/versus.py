"""One strategy against others on every board: the paired differences that the boards hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_bench.errors import UserError, unknown
from cl_bench.leaderboard.rendering import document, generated, markdown
from cl_bench.leaderboard.standings import FIGURES
from cl_bench.metrics import METRICS
from cl_bench.report.tables import interval_text

HIGHER, LOWER, NO_DIFFERENCE = "higher", "lower", "no difference shown"


@dataclass(frozen=True)
class Against:
    """A strategy and another one on a board, paired by seed; the difference is its less theirs."""

    board: str
    against: str
    seeds: int
    value: float
    other_value: float
    difference: float
    low: float
    """Of the 95 % BCa interval of the difference."""
    high: float
    p_holm: float
    verdict: str
    """`HIGHER`, `LOWER` or `NO_DIFFERENCE`."""


def differences(folder: Path, strategy: str, others: Sequence[str]) -> list[Against]:
    """Return the differences in average accuracy between a strategy and others, board by board.

    Of a strategy with several entries on a board the best is taken.

    Args:
        folder: of the boards; their `table.json` are read.
        strategy: the one that others are taken from.
        others: in this order; empty is all.

    Raises:
        UserError: there are no boards, the strategy is on none, or one of the others is on none.
    """
    boards = {path.parent.name: _read(path) for path in sorted(folder.glob("*/table.json"))}
    known = {entry["strategy"] for board in boards.values() for entry in board["entries"]}
    if not boards:
        raise UserError(f"there is no leaderboard in {folder}")
    for name in (strategy, *others):
        if name not in known:
            raise unknown(f"strategy on the boards of {folder}", name, known)
    return [
        row for name, board in boards.items() for row in _of_board(name, board, strategy, others)
    ]


def page(rows: Sequence[Against], strategy: str) -> bytes:
    """Return the differences as Markdown."""
    shown = [
        {
            "board": f"[{row.board}]({row.board}/README.md)",
            "against": row.against,
            "seeds": row.seeds,
            strategy: interval_text(row.value, None, None),
            "the other": interval_text(row.other_value, None, None),
            "difference": interval_text(row.difference, row.low, row.high, digits=5),
            "p (Holm)": f"{row.p_holm:.2g}",
            "verdict": row.verdict,
        }
        for row in rows
    ]
    metric = METRICS[FIGURES[0]]
    higher = sum(row.verdict == HIGHER for row in rows)
    lower = sum(row.verdict == LOWER for row in rows)
    undecided = [row for row in rows if row.verdict == NO_DIFFERENCE]
    above = sum(row.low > 0 for row in undecided)
    below = sum(row.high < 0 for row in undecided)
    names = ",".join(dict.fromkeys(row.against for row in rows))
    parts = [
        f"# {strategy} against others, board by board",
        generated("by `cl_bench leaderboard versus`"),
        f"Differences in {metric.title.lower()}, paired by seed, with 95 % BCa intervals, from "
        "each board's `table.json`. A verdict needs an interval that leaves out 0 and a t-test "
        "(of differences without a spread, a sign-flip test) that holds after Holm's correction "
        "over all pairs of the board.",
        f"Of these {len(rows)} comparisons {strategy} is higher in {higher}, lower in {lower}, and "
        f"in {len(undecided)} no difference is shown; of those, the interval alone leaves out 0 on "
        f"the higher side in {above} and on the lower side in {below}.",
        "Comparisons are not independent of each other: boards share data and seeds, and on those "
        "that differ in the number of tasks alone, equal settings begin alike. Boards with more "
        "entries correct for more pairs. How settings were chosen, what they keep and what they "
        "cost is on each board.",
        markdown(shown),
        f"```\npython -m cl_bench leaderboard versus {strategy} --others {names} "
        f"--page leaderboards/{strategy}.md\n```",
    ]
    return document(parts)


def _of_board(
    name: str, board: dict[str, Any], strategy: str, others: Sequence[str]
) -> Iterator[Against]:
    best: dict[str, dict[str, Any]] = {}
    for entry in board["entries"]:  # best first
        best.setdefault(entry["strategy"], entry)
    if strategy not in best:
        return
    mine = best[strategy]
    of_pair = {frozenset((p["a_group_id"], p["b_group_id"])): p for p in board["pairs"]}
    for other in others or [each for each in best if each != strategy]:
        theirs = best.get(other)
        pair = theirs and of_pair.get(frozenset((mine["group_id"], theirs["group_id"])))
        if theirs and pair:
            yield _against(name, pair, mine, theirs)


def _against(
    board: str, pair: dict[str, Any], mine: dict[str, Any], other: dict[str, Any]
) -> Against:
    forwards = pair["a_group_id"] == mine["group_id"]
    low, high = (pair["low"], pair["high"]) if forwards else (-pair["high"], -pair["low"])
    difference = pair["difference"] if forwards else -pair["difference"]
    shown = (HIGHER if difference > 0 else LOWER) if pair["better"] else NO_DIFFERENCE
    return Against(
        board=board,
        against=other["strategy"],
        seeds=pair["seeds"],
        value=mine[FIGURES[0]],
        other_value=other[FIGURES[0]],
        difference=difference,
        low=low,
        high=high,
        p_holm=pair["p_holm"],
        verdict=shown,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not {"entries", "pairs"} <= content.keys():
        raise UserError(f"{path} is no leaderboard's: it has no entries and pairs")
    return content
