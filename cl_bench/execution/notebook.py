"""A bar in the output of a notebook's cell, where a terminal's cannot move."""

from __future__ import annotations

import sys
from html import escape
from typing import Any


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class NotebookBar:
    """One output of a cell, which replaces itself."""

    def __init__(self) -> None:
        self._shown: Any = None

    def update(self, done: float, text: str) -> None:
        """Show the share that is done, 0 to 1, and what is said beside it."""
        from IPython.display import display

        share = f"{done:.0%}"
        content = {
            "text/plain": f"{share} {text}",
            "text/html": f'<progress value="{done:.3f}" max="1"></progress> {share} {escape(text)}',
        }
        if self._shown is None:
            self._shown = display(content, raw=True, display_id=True)
        else:
            self._shown.update(content, raw=True)
