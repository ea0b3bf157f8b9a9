"""Figures of a study, as Plotly has them: variance, noise, theory, annealing, and many settings.

Every axis is logarithmic but those of exponents and rank correlations. Points are single
directions of single seeds; lines and crosses are means over seeds with 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cl_bench.landscape import summary
from cl_bench.report.landscape_panels import (
    AROUND,
    BETWEEN,
    error_bars,
    frame,
    line,
    note,
    points,
    relation_of,
)
from cl_bench.report.same_landscape_figure import same_landscape
from cl_bench.report.style import COLOURS

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from cl_bench.landscape.findings import Findings

SOURCES = {
    "sgd": ("training", COLOURS[0]),
    "walk": ("random walk, training's step covariance", COLOURS[1]),
    "permuted": ("the same walk, weights dealt out anew", COLOURS[4]),
    "isotropic": ("isotropic noise", COLOURS[2]),
    "local": ("training less its moving mean", COLOURS[6]),
    "layer": ("training of this layer alone", COLOURS[5]),
    "random": ("random directions", COLOURS[3]),
}
"""How a source of directions is named and drawn."""
ANALYSES = {"raw": "raw", "detrended": "drift removed"}
_GREY = "#888888"


def of_setting(name: str, found: Findings) -> dict[str, Figure]:
    """Return the figures of one study, by kind."""
    tables = found.tables
    drawn = {"relation": _relation(name, tables["directions"], tables["relations"])}
    if "noise" in tables:
        drawn["noise"] = _noise(name, tables["noise"], tables["noise_relations"])
        if tables["noise"]["predicted"].notna().any():
            drawn["theory"] = _theory(name, tables["noise"])
    if "fixed_basis" in tables:
        drawn["same-landscape"] = same_landscape(
            name, tables["fixed_basis"], tables["fixed_relations"]
        )
    if "annealing" in tables:
        drawn["annealing"] = _annealing(name, tables["annealing"])
    return drawn


def of_settings(found: Mapping[str, Findings]) -> dict[str, Figure]:
    """Return the figure that holds studies side by side."""
    rows = [row for row in summary.exponents(found) if row.range in ("all", "tail")]
    quantities = list(dict.fromkeys(row.quantity for row in rows))
    titles = [f"{what}: {q}" for q in quantities for what in ("psi", "rho")]
    each = 40 + 26 * len(found)
    height = AROUND + len(quantities) * (each + BETWEEN) - BETWEEN
    figure = frame("The relations in many settings", len(quantities), 2, titles, height=height)
    marks = {
        ("raw", "all"): ("all directions, raw", COLOURS[0], "circle"),
        ("detrended", "all"): ("all directions, drift removed", COLOURS[5], "circle"),
        ("raw", "tail"): ("from the 20th on, raw", COLOURS[1], "diamond"),
    }
    for number, quantity in enumerate(quantities, start=1):
        for key, (label, colour, symbol) in marks.items():
            chosen = [r for r in rows if (r.quantity, r.analysis, r.range) == (quantity, *key)]
            for column, what in ((1, "psi"), (2, "rho")):
                figure.add_scatter(
                    x=[getattr(row.relation, what) for row in chosen],
                    y=[row.setting for row in chosen],
                    error_x=error_bars([row.relation for row in chosen], what),
                    mode="markers",
                    marker={"color": colour, "symbol": symbol, "size": 8},
                    name=label,
                    legendgroup=label,
                    showlegend=number == column == 1,
                    row=number,
                    col=column,
                )
        figure.add_vline(x=0, line_color=_GREY, row=number, col="all")
        figure.update_yaxes(autorange="reversed", row=number, col=1)
        figure.update_yaxes(autorange="reversed", showticklabels=False, row=number, col=2)
        figure.update_xaxes(range=[-1.05, 1.05], row=number, col=2)
    return {"settings": figure}


def _relation(name: str, directions: pd.DataFrame, relations: pd.DataFrame) -> Figure:
    found = {a: relation_of(relations, "source", "sgd", a) for a in ANALYSES}
    titles = [f"training: {text}{note(found[a])}" for a, text in ANALYSES.items()]
    figure = frame(
        f"Variance of the weights against flatness of the loss: {name}",
        2,
        2,
        [*titles, *(f"controls: {t}" for t in ANALYSES.values())],
        height=900,
    )
    for column, analysis in enumerate(ANALYSES, start=1):
        part = directions[(directions["analysis"] == analysis) & np.isfinite(directions["error"])]
        for source, (label, colour) in SOURCES.items():
            rows = part[part["source"] == source]
            if not len(rows):
                continue
            own = source == "sgd"
            points(
                figure,
                rows,
                "variance",
                (1 if own else 2, column),
                marker=_by_direction(rows, column == 2) if own else {"color": colour},
                name=label,
                legendgroup=source,
                showlegend=column == 1 and not own,
            )
            if own:
                line(figure, rows, "variance", found[analysis], (1, column))
    figure.update_yaxes(title="variance")
    figure.update_layout(margin_r=100)  # for the colour bar's title
    return figure


def _by_direction(rows: pd.DataFrame, bar: bool) -> dict[str, Any]:
    """Return a marker coloured by the number of the direction, and a bar that tells it."""
    return {
        "color": np.log10(rows["index"] + 1),
        "colorscale": "Viridis",
        "showscale": bar,
        "colorbar": {
            "title": "direction",
            "tickvals": [0, 1, 2],
            "ticktext": ["0", "9", "99"],
            "len": 0.42,
            "y": 0.79,
            "thickness": 16,
        },
    }


def _noise(name: str, noise: pd.DataFrame, relations: pd.DataFrame) -> Figure:
    columns = {
        "temperature": ("temperature T", COLOURS[1]),
        "correlation_time": ("correlation time tau (steps)", COLOURS[2]),
        "curvature": ("curvature p·Hp", COLOURS[3]),
    }
    found = {(q, a): relation_of(relations, "quantity", q, a) for a in ANALYSES for q in columns}
    titles = [f"{columns[q][0]}, {ANALYSES[a]}{note(each)}" for (q, a), each in found.items()]
    figure = frame(
        f"Noise, its memory and curvature against flatness: {name}", 2, 3, titles, height=850
    )
    for row, analysis in enumerate(ANALYSES, start=1):
        part = noise[(noise["analysis"] == analysis) & np.isfinite(noise["flatness"])]
        for column, (quantity, (text, colour)) in enumerate(columns.items(), start=1):
            usable = part[part[quantity] > 0]
            if quantity == "correlation_time":
                usable = usable[usable["converged"]]
            at, marker = (row, column), {"color": colour}
            points(figure, usable, quantity, at, marker=marker, showlegend=False)
            line(figure, usable, quantity, found[quantity, analysis], at)
            figure.update_yaxes(title=text, row=row, col=column)
    return figure


def _theory(name: str, noise: pd.DataFrame) -> Figure:
    models = {
        "variance": ("measured", COLOURS[0], "circle"),
        "from_memory": ("measured temperature and memory, T tau", COLOURS[2], "cross-thin-open"),
        "predicted": ("random landscape theory", COLOURS[1], "x-thin-open"),
        "simulated": ("its simulation", COLOURS[4], "circle-open"),
        "predicted_alike": ("control: all directions as warm", _GREY, "line-ew-open"),
    }
    figure = frame(
        f"What the theory makes of flatness and temperature: {name}",
        1,
        2,
        list(ANALYSES.values()),
        height=520,
    )
    for column, analysis in enumerate(ANALYSES, start=1):
        part = noise[(noise["analysis"] == analysis) & np.isfinite(noise["flatness"])]
        for model, (label, colour, symbol) in models.items():
            points(
                figure,
                part,
                model,
                (1, column),
                marker={"size": 6, "color": colour, "symbol": symbol},
                name=label,
                legendgroup=model,
                showlegend=column == 1,
            )
    figure.update_yaxes(title="variance")
    return figure


def _annealing(name: str, annealing: pd.DataFrame) -> Figure:
    panels = [
        ("step", "loss"),
        ("step", "temperature"),
        ("step", "sharpness"),
        ("step", "flatness_sharpest"),
        ("sharpness", "temperature"),
        ("loss", "sharpness"),
    ]
    titles = [f"{y.replace('_', ', ')} against {x}" for x, y in panels]
    figure = frame(f"Noise and landscape from the first step on: {name}", 2, 3, titles, height=800)
    styles = {
        "sgd": ("training", COLOURS[0]),
        "quiet": ("the same with a tenth of the noise (control)", COLOURS[1]),
    }
    for number, (x, y) in enumerate(panels):
        row, column = number // 3 + 1, number % 3 + 1
        for source, (label, colour) in styles.items():
            part = annealing[annealing["source"] == source]
            for seed, rows in part.groupby("seed"):
                ordered = rows.sort_values("step")
                figure.add_scatter(
                    x=ordered[x] + (1 if x == "step" else 0),
                    y=ordered[y],
                    mode="lines+markers",
                    marker={"size": 4},
                    line={"color": colour, "width": 1},
                    opacity=0.8,
                    name=label,
                    legendgroup=source,
                    showlegend=number == 0 and bool(seed == part["seed"].min()),
                    row=row,
                    col=column,
                )
        figure.update_xaxes(title=x if x != "step" else "step + 1", row=row, col=column)
        figure.update_yaxes(title=y.replace("_", ", "), row=row, col=column)
    figure.update_xaxes(type="log", exponentformat="power")
    figure.update_yaxes(type="log", exponentformat="power")
    figure.update_xaxes(autorange="reversed", row=2, col=3)
    return figure
