"""A picture in Python's hands: it shows itself in a notebook, and is saved by its file's ending."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from cl_bench.report import curves
from cl_bench.report.style import STYLE, check_path, save

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Picture:
    """A figure of Matplotlib's in the suite's style."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        """The figure itself, to be changed at will."""

    @classmethod
    def of(cls, accuracy: pd.DataFrame) -> Picture:
        """Return the forgetting curves of runs of one protocol, from their accuracy table."""
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            return cls(curves.picture(curves.drawable(accuracy)))

    def save(self, path: str | Path) -> None:
        """Write it as SVG, PNG or HTML, by the file's ending.

        Raises:
            UserError: another ending, no such folder, or the file cannot be written.
        """
        import matplotlib as mpl

        check_path(Path(path))
        with mpl.rc_context(STYLE):
            save(self.figure, Path(path))

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=100)
        return drawn.getvalue()
