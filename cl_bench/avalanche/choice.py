"""Which pairs of methods are meant by what a user types.

Their names hold commas and are parts of one another, so a part will do where it is one pair's.
"""

from __future__ import annotations

from collections.abc import Sequence

from cl_bench.avalanche.pairs import PAIRS, Pair
from cl_bench.errors import UserError


def named(texts: Sequence[str]) -> list[Pair]:
    """Return the pairs that are meant, in the suite's order; all where nothing is said.

    Args:
        texts: names, or parts of one that no other has.

    Raises:
        UserError: no pair has this part, or several have.
    """
    meant = set()
    for text in texts:
        found = [pair for pair in PAIRS if pair.name == text]
        found = found or [pair for pair in PAIRS if text.lower() in pair.name]
        if not found:
            raise UserError(f"unknown pair '{text}'; the pairs are", [pair.name for pair in PAIRS])
        if len(found) > 1:
            raise UserError(
                f"'{text}' is a part of several pairs; give one of", [pair.name for pair in found]
            )
        meant.add(found[0].name)
    return [pair for pair in PAIRS if not texts or pair.name in meant]
