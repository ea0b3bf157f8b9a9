"""The figure of SGD in one landscape under noises of several kinds, with and without replacement.

Points are single directions of single seeds; lines are the closed forms, medians over seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cl_bench.report.landscape_panels import frame, points
from cl_bench.report.style import COLOURS

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

SOURCES = {
    "training": ("training", COLOURS[0], "circle"),
    "local training": ("training less its moving mean", COLOURS[5], "circle"),
    "measured": ("quadratic, measured noise", COLOURS[1], "diamond"),
    "whole": ("the same, minibatch Hessians coupled", COLOURS[6], "cross-thin-open"),
    "turned": ("quadratic, noise turned to random directions", COLOURS[4], "x-thin-open"),
    "white": ("quadratic, white noise", COLOURS[2], "square-open"),
}
LINES = ("measured", "white")
"""Sources whose closed forms are drawn."""
PANELS = {
    ("without", "hessian"): "Hessian's directions, without replacement",
    ("with", "hessian"): "Hessian's directions, with replacement",
    ("without", "principal"): "own principal directions, without replacement",
    ("with", "principal"): "own principal directions, with replacement",
}


def same_landscape(name: str, fixed: pd.DataFrame, relations: pd.DataFrame) -> Figure:
    """Return the figure of a `fixed_basis` table and its relations."""
    titles = [f"{text}{_note(relations, *key)}" for key, text in PANELS.items()]
    figure = frame(
        f"Variance in the same landscape under different noise: {name}", 2, 2, titles, height=1000
    )
    for number, (sampling, basis) in enumerate(PANELS):
        part = fixed[(fixed["sampling"] == sampling) & (fixed["basis"] == basis)]
        at = (number // 2 + 1, number % 2 + 1)
        for source, (label, colour, symbol) in SOURCES.items():
            rows = part[part["source"] == source]
            if not len(rows):
                continue
            marker = {"size": 4, "color": colour, "symbol": symbol}
            if "open" in symbol:
                marker["line"] = {"color": colour, "width": 1}
            points(
                figure,
                rows,
                "variance",
                at,
                marker=marker,
                name=label,
                legendgroup=source,
                showlegend=number == 0,
            )
            if source in LINES and rows["predicted"].notna().any():
                means = rows.groupby("index")[["flatness", "predicted"]].median()
                means = means.sort_values("flatness")
                figure.add_scatter(
                    x=means["flatness"],
                    y=means["predicted"],
                    mode="lines",
                    line={"color": colour, "width": 2},
                    name=f"closed form: {label.removeprefix('quadratic, ')}",
                    showlegend=number == 0,
                    row=at[0],
                    col=at[1],
                )
        figure.update_yaxes(title="variance", row=at[0], col=at[1])
    return figure


def _note(relations: pd.DataFrame, sampling: str, basis: str) -> str:
    """Return the second line of a panel's title: psi of training and of two noises."""
    chosen = relations[
        (relations["quantity"] == "variance")
        & (relations["range"] == "all")
        & (relations["sampling"] == sampling)
        & (relations["basis"] == basis)
    ].set_index("source")["psi"]
    shown = ("training", "measured", "turned", "white")
    return "<br>psi: " + ", ".join(f"{s} {chosen[s]:.1f}" for s in shown if s in chosen.index)
