"""What is said to the user beside the results: on stderr, a line at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable

Say = Callable[[str], None]


def remark(text: str) -> None:
    """Tell the user something that is not a result, on stderr."""
    print(text, file=sys.stderr, flush=True)
