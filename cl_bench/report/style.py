"""How pictures look and are written: one style, and one way to each kind of file."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ENDINGS = (".svg", ".png", ".html")
# Okabe & Ito's palette, which the colour-blind can tell apart; yellow is left out for its paleness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
STYLE: Any = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 9,
    "svg.hashsalt": "cl_bench",
    "svg.fonttype": "none",
}
"""Matplotlib's settings for every picture; `Any`, for their type lists all there are."""


def look(number: int) -> dict[str, str]:
    """Return the colour and marker of the so-manieth curve; the first 49 all differ."""
    again = number // len(COLOURS)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[(number + again) % len(MARKERS)],
    }


def heading(accuracy: pd.DataFrame) -> str:
    """Return what runs of one protocol are of, from their accuracy table."""
    first, tasks = accuracy.iloc[0], int(accuracy["task"].max()) + 1
    seeds = accuracy.groupby("group_id")["seed"].nunique()
    few, most = seeds.min(), seeds.max()
    count = f"{few}" if few == most else f"{few}-{most}"
    return f"{first['benchmark']}, {tasks} tasks, {first['scenario']} scenario, {count} seeds"


def check_path(path: Path) -> None:
    """Raise a `UserError` where no picture can be written to this path."""
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"{path}: a picture ends in {' or '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")


def save(figure: Figure, path: Path) -> None:
    """Write a picture as SVG, PNG, or an HTML page that holds the SVG, by the file's ending.

    The same figure gives the same bytes. Call it within the `rc_context` of `STYLE`.

    Raises:
        UserError: the file cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    drawn = io.BytesIO()
    if kind == "png":
        figure.savefig(drawn, format="png", dpi=150)
    else:
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    content = drawn.getvalue()
    if kind == "html":
        head = f'<!doctype html>\n<meta charset="utf-8">\n<title>{escape(path.stem)}</title>\n'
        content = head.encode() + content[content.index(b"<svg") :]
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
