"""The panels of a study's figures: their frame, points against flatness, the power law found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cl_bench.landscape.relation import Relation, of_row
from cl_bench.report.style import COLOURS

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

AROUND, BETWEEN = 220, 105
"""Pixels above and below all panels, and between two: a title of two lines, ticks and an axis."""


def frame(title: str, rows: int, columns: int, titles: Sequence[str], *, height: int) -> Figure:
    """Return a figure of empty panels, row by row, of so many pixels in height."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=list(titles),
        horizontal_spacing=0.09,
        vertical_spacing=BETWEEN / (height - AROUND),
    )
    figure.update_annotations(font_size=13)
    figure.update_layout(
        template="plotly_white",
        title={"text": title, "x": 0.01, "font": {"size": 17}},
        height=height,
        font_size=12,
        margin={"l": 70, "r": 30, "t": 110, "b": 110},
        legend={"orientation": "h", "x": 0, "y": -70 / (height - AROUND), "yanchor": "top"},
    )
    return figure


def relation_of(table: pd.DataFrame, key: str, value: str, analysis: str) -> Relation | None:
    """Return the relation over all directions, None where there is none."""
    chosen = (table[key] == value) & (table["analysis"] == analysis) & (table["range"] == "all")
    if "control" in table:
        chosen &= ~table["control"]
    found = [of_row(row) for row in table[chosen].to_dict("records")]
    return found[0] if found and found[0].directions else None


def note(found: Relation | None) -> str:
    """Return the second line of a panel's title: the power law that was found."""
    if found is None:
        return ""
    interval = f"[{found.psi_low:.2f}, {found.psi_high:.2f}]"
    return f"<br>psi = {found.psi:.2f} {interval}, rho = {found.rho:.2f}"


def points(
    figure: Figure, rows: pd.DataFrame, y: str, at: tuple[int, int], *, marker: Any, **given: Any
) -> None:
    """Draw a quantity against flatness, a point a direction."""
    figure.add_scatter(
        x=rows["flatness"],
        y=rows[y],
        mode="markers",
        marker={"size": 5, "opacity": 0.6, **marker},
        row=at[0],
        col=at[1],
        **given,
    )
    figure.update_xaxes(type="log", dtick="D2", title="flatness F", row=at[0], col=at[1])
    figure.update_yaxes(type="log", exponentformat="power", row=at[0], col=at[1])


def line(
    figure: Figure, rows: pd.DataFrame, y: str, found: Relation | None, at: tuple[int, int]
) -> None:
    """Draw the power law that was found through the middle of the points."""
    if found is None or not len(rows):
        return
    logs = np.log(rows[["flatness", y]].to_numpy(float))
    logs = logs[np.isfinite(logs).all(1)]
    middle = np.median(logs, 0)
    ends = np.quantile(logs[:, 0], [0.02, 0.98])
    figure.add_scatter(
        x=np.exp(ends),
        y=np.exp(middle[1] - found.psi * (ends - middle[0])),
        mode="lines",
        line={"color": COLOURS[-1], "width": 1.5, "dash": "dash"},
        name="power law",
        showlegend=False,
        row=at[0],
        col=at[1],
    )


def error_bars(found: Sequence[Relation], what: str) -> dict[str, Any]:
    """Return the intervals of psi or rho as Plotly has them."""
    middle, low, high = ([getattr(r, what + end) for r in found] for end in ("", "_low", "_high"))
    return {
        "type": "data",
        "symmetric": False,
        "array": np.subtract(high, middle),
        "arrayminus": np.subtract(middle, low),
        "thickness": 1.2,
        "width": 3,
    }
