"""Figures of a study, as Plotly has them: variance, noise, theory, annealing, and many settings.

Every axis is logarithmic but those of exponents and rank correlations. Points are single
directions of single seeds; lines and crosses are means over seeds with 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cl_bench.landscape import summary
from cl_bench.report.style import COLOURS

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from cl_bench.landscape.record import LandscapeRecord

SOURCES = {
    "sgd": ("training", COLOURS[0]),
    "walk": ("random walk, training's step covariance", COLOURS[1]),
    "permuted": ("the same walk, weights dealt out anew", COLOURS[4]),
    "isotropic": ("isotropic noise", COLOURS[2]),
    "layer": ("training of this layer alone", COLOURS[5]),
    "random": ("random directions", COLOURS[3]),
}
"""How a source of directions is named and drawn."""
ANALYSES = {"raw": "raw", "detrended": "drift removed"}
_GREY = "#888888"


def of_setting(name: str, found: LandscapeRecord) -> dict[str, Figure]:
    """Return the figures of one study, by kind."""
    tables = found.tables
    drawn = {"relation": _relation(name, tables["directions"], tables["relations"])}
    if "noise" in tables:
        drawn["noise"] = _noise(name, tables["noise"], tables["noise_relations"])
        if tables["noise"]["predicted"].notna().any():
            drawn["theory"] = _theory(name, tables["noise"])
    if "annealing" in tables:
        drawn["annealing"] = _annealing(name, tables["annealing"])
    return drawn


def of_settings(found: Mapping[str, LandscapeRecord]) -> dict[str, Figure]:
    """Return the figure that holds studies side by side."""
    rows = [row for row in summary.exponents(found) if row["range"] in ("all", "tail")]
    quantities = list(dict.fromkeys(row["quantity"] for row in rows))
    titles = [f"{what}: {q}" for q in quantities for what in ("psi", "rho")]
    figure = _panels(len(quantities), 2, titles, height=180 + 26 * len(found) * len(quantities))
    marks = {
        ("raw", "all"): ("all directions, raw", COLOURS[0], "circle"),
        ("detrended", "all"): ("all directions, drift removed", COLOURS[5], "circle"),
        ("raw", "tail"): ("from the 20th on, raw", COLOURS[1], "diamond"),
    }
    for number, quantity in enumerate(quantities, start=1):
        for key, (label, colour, symbol) in marks.items():
            chosen = [r for r in rows if (r["analysis"], r["range"]) == key]
            chosen = [row for row in chosen if row["quantity"] == quantity]
            for column, figure_name in ((1, "psi"), (2, "rho")):
                figure.add_scatter(
                    x=[row[figure_name] for row in chosen],
                    y=[row["setting"] for row in chosen],
                    error_x={
                        "type": "data",
                        "symmetric": False,
                        "array": [r[f"{figure_name}_high"] - r[figure_name] for r in chosen],
                        "arrayminus": [r[figure_name] - r[f"{figure_name}_low"] for r in chosen],
                        "thickness": 1.2,
                        "width": 3,
                    },
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
    _title(figure, "The relations in many settings")
    return {"settings": figure}


def _relation(name: str, directions: pd.DataFrame, relations: pd.DataFrame) -> Figure:
    titles = [f"training: {text}" for text in ANALYSES.values()]
    titles += [f"controls: {text}" for text in ANALYSES.values()]
    figure = _panels(2, 2, titles, height=850)
    for column, analysis in enumerate(ANALYSES, start=1):
        part = directions[(directions["analysis"] == analysis) & np.isfinite(directions["error"])]
        for source, (label, colour) in SOURCES.items():
            rows = part[part["source"] == source]
            if not len(rows):
                continue
            row = 1 if source == "sgd" else 2
            figure.add_scatter(
                x=rows["flatness"],
                y=rows["variance"],
                mode="markers",
                marker={
                    "size": 5,
                    "opacity": 0.6,
                    **(
                        {
                            "color": np.log10(rows["index"] + 1),
                            "colorscale": "Viridis",
                            "showscale": column == 2,
                            "colorbar": {
                                "title": "direction i",
                                "tickvals": [0, 1, 2],
                                "ticktext": ["0", "9", "99"],
                                "len": 0.45,
                                "y": 0.8,
                            },
                        }
                        if source == "sgd"
                        else {"color": colour}
                    ),
                },
                name=label,
                legendgroup=source,
                showlegend=column == 1 and source != "sgd",
                row=row,
                col=column,
            )
            figures = relations.query(
                f"source == '{source}' and analysis == '{analysis}' and range == 'all'"
            )
            if source == "sgd" and len(figures):
                _line(figure, rows, "variance", figures.iloc[0], row, column)
    figure.update_xaxes(type="log", title="flatness F")
    figure.update_yaxes(type="log", title="variance", exponentformat="power")
    _title(figure, f"Variance of the weights against flatness of the loss: {name}")
    return figure


def _line(figure: Figure, rows: pd.DataFrame, y: str, found: Any, row: int, column: int) -> None:
    """Draw the power law that was found through the middle of the points."""
    if found["psi"] != found["psi"]:
        return
    logs = np.log(rows[["flatness", y]].to_numpy(float))
    logs = logs[np.isfinite(logs).all(1)]
    middle = np.median(logs, 0)
    ends = np.quantile(logs[:, 0], [0.02, 0.98])
    psi, low, high, rho = (found[key] for key in ("psi", "psi_low", "psi_high", "rho"))
    figure.add_scatter(
        x=np.exp(ends),
        y=np.exp(middle[1] - psi * (ends - middle[0])),
        mode="lines",
        line={"color": COLOURS[-1], "width": 1.5, "dash": "dash"},
        name="power law",
        showlegend=False,
        row=row,
        col=column,
    )
    figure.add_annotation(
        text=f"psi = {psi:.2f} [{low:.2f}, {high:.2f}], rho = {rho:.2f}",
        xref="x domain",
        yref="y domain",
        x=0.98,
        y=0.97,
        showarrow=False,
        row=row,
        col=column,
    )


def _noise(name: str, noise: pd.DataFrame, relations: pd.DataFrame) -> Figure:
    columns = {
        "temperature": ("temperature T", COLOURS[1]),
        "correlation_time": ("correlation time tau (steps)", COLOURS[2]),
        "curvature": ("curvature p·Hp", COLOURS[3]),
    }
    titles = [f"{text}, {label}" for label in ANALYSES.values() for text, _ in columns.values()]
    figure = _panels(2, 3, titles, height=750)
    for row, analysis in enumerate(ANALYSES, start=1):
        part = noise[(noise["analysis"] == analysis) & np.isfinite(noise["flatness"])]
        for column, (quantity, (text, colour)) in enumerate(columns.items(), start=1):
            usable = part[part[quantity] > 0]
            if quantity == "correlation_time":
                usable = usable[usable["converged"]]
            figure.add_scatter(
                x=usable["flatness"],
                y=usable[quantity],
                mode="markers",
                marker={"size": 5, "opacity": 0.6, "color": colour},
                showlegend=False,
                row=row,
                col=column,
            )
            found = relations.query(
                f"quantity == '{quantity}' and analysis == '{analysis}' and range == 'all' "
                "and not control"
            )
            if len(found) and len(usable):
                _line(figure, usable, quantity, found.iloc[0], row, column)
            figure.update_yaxes(title=text, row=row, col=column)
    figure.update_xaxes(type="log", title="flatness F")
    figure.update_yaxes(type="log", exponentformat="power")
    _title(figure, f"Noise, its memory and curvature against flatness: {name}")
    return figure


def _theory(name: str, noise: pd.DataFrame) -> Figure:
    models = {
        "variance": ("measured", COLOURS[0], "circle"),
        "from_memory": ("measured temperature and memory, T tau", COLOURS[2], "cross-thin-open"),
        "predicted": ("random landscape theory", COLOURS[1], "x-thin-open"),
        "simulated": ("its simulation", COLOURS[4], "circle-open"),
        "predicted_alike": ("control: all directions as warm", _GREY, "line-ew-open"),
    }
    figure = _panels(1, 2, list(ANALYSES.values()), height=520)
    for column, analysis in enumerate(ANALYSES, start=1):
        part = noise[(noise["analysis"] == analysis) & np.isfinite(noise["flatness"])]
        for model, (label, colour, symbol) in models.items():
            figure.add_scatter(
                x=part["flatness"],
                y=part[model],
                mode="markers",
                marker={"size": 6, "opacity": 0.65, "color": colour, "symbol": symbol},
                name=label,
                legendgroup=model,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    figure.update_xaxes(type="log", title="flatness F")
    figure.update_yaxes(type="log", title="variance", exponentformat="power")
    _title(figure, f"What the theory makes of flatness and temperature: {name}")
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
    figure = _panels(2, 3, titles, height=750)
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
    _title(figure, f"Noise and landscape from the first step on: {name}")
    return figure


def _panels(rows: int, columns: int, titles: Sequence[str], *, height: int) -> Figure:
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=list(titles),
        horizontal_spacing=0.09,
        vertical_spacing=min(0.13, 60 / height * 1.5),
    )
    figure.update_annotations(font_size=13)
    figure.update_layout(
        template="plotly_white",
        height=height,
        font_size=12,
        margin={"l": 70, "r": 30, "t": 90, "b": 110},
        legend={"orientation": "h", "x": 0, "y": -70 / (height - 200), "yanchor": "top"},
    )
    return figure


def _title(figure: Figure, text: str) -> None:
    figure.update_layout(title={"text": text, "x": 0.01, "font": {"size": 17}})
