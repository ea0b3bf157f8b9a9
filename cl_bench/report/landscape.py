"""Studies of the landscape for people: short tables, and figures as one page and as PNG.

Everything is drawn from the records alone. The page needs no network: Plotly is in it. PNG files
need the extra `figures` and a Chrome or Chromium; without them the page is all there is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, astuple
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError
from cl_bench.landscape import summary
from cl_bench.landscape.relation import of_row
from cl_bench.report import landscape_figures as figures

if TYPE_CHECKING:
    from cl_bench.landscape.findings import Findings
    from cl_bench.landscape.relation import Relation

Rows = list[dict[str, Any]]
Found = Mapping[str, "Findings"]
"""Records by the name of their setting."""

DERIVED = (
    "relations",
    "noise_relations",
    "theory",
    "annealing_figures",
    "fixed_relations",
    "residual_exponents",
)
"""Tables of a record that follow from its measurements."""
SCALED = ("scaled", "sharpness")
PAGE = "landscape.html"
WIDTH, SCALE = 1100, 1.5
"""Of the PNG files: pixels, and how many of them a CSS pixel has."""


def brief(found: Found) -> dict[str, Rows]:
    """Return the verdicts and, shortly, what they are about, by title."""
    shown: dict[str, Rows] = {"verdicts": verdicts(found)}
    if len(found) > 1:
        return shown | {"settings": settings(found)}
    for name, each in found.items():
        whole: dict[str, dict[str, Any]] = {}
        for row in each.tables["relations"].query("range == 'all'").to_dict("records"):
            columns = whole.setdefault(row["source"], {"source": row["source"]})
            columns |= {f"{k}, {row['analysis']}": v for k, v in _relation(of_row(row)).items()}
        shown[f"variance ~ flatness^-psi, all directions: {name}"] = list(whole.values())
    return shown


def tables(found: Found) -> dict[str, Rows]:
    """Return every table that follows from the measurements, by title, for people.

    Intervals are 95 % over seeds.
    """
    shown: dict[str, Rows] = {"verdicts": verdicts(found)}
    for name, each in found.items():
        rows = each.tables["relations"].to_dict("records")
        shown[f"variance ~ flatness^-psi: {name}"] = [
            {
                "source": row["source"],
                "analysis": row["analysis"],
                "directions": row["range"],
                **_relation(of_row(row)),
            }
            for row in rows
            if row["range"] == "all" or row["source"] == "sgd"
        ]
        shown |= _noise_tables(name, each) | _fixed_tables(name, each)
        shown |= _annealing_table(name, each)
    if len(found) > 1:
        shown["settings"] = settings(found)
        shown["exponents"] = [
            {
                "setting": row.setting,
                "quantity": row.quantity,
                "analysis": row.analysis,
                "directions": row.range,
                **_relation(row.relation),
            }
            for row in summary.exponents(found)
            if row.range == "all"
        ]
        shown["noise at equal loss"] = [
            {**asdict(row), **{k: _text(*astuple(getattr(row, k))[:3]) for k in SCALED}}
            for row in summary.noise_scaling(found)
        ]
    return shown


def verdicts(found: Found) -> Rows:
    """Return a row a claim of each study."""
    return [{"setting": name, **asdict(v)} for name, each in found.items() for v in each.verdicts]


def settings(found: Found) -> Rows:
    """Return a row a study: what was trained, how far, and each claim's verdict in a word."""
    rows = [asdict(row) for row in summary.settings(found)]
    return [{**row, **row.pop("verdicts")} for row in rows]


def _relation(found: Relation) -> dict[str, str]:
    return {
        "psi": _text(found.psi, found.psi_low, found.psi_high, "too few directions"),
        "rho": _text(found.rho, found.rho_low, found.rho_high, "too few directions"),
    }


def _text(mean: float, low: float, high: float, undefined: str = "undefined") -> str:
    """Return a figure with its interval, `3.80 [3.58, 4.03]`, or why there is none."""
    if math.isnan(mean):
        return undefined
    if math.isnan(low) or math.isnan(high):  # of one seed
        return f"{mean:.2f}"
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def _noise_tables(name: str, each: Findings) -> dict[str, Rows]:
    if "noise_relations" not in each.tables:
        return {}
    found = {}
    found[f"noise ~ flatness^-psi: {name}"] = [
        {
            "quantity": row["quantity"] + (" (shuffled)" if row["control"] else ""),
            "analysis": row["analysis"],
            **_relation(of_row(row)),
        }
        for row in each.tables["noise_relations"].to_dict("records")
        if row["range"] == "all"
    ]
    if "theory" in each.tables:
        found[f"theory against measured variance: {name}"] = [
            {
                "model": row["model"],
                "analysis": row["analysis"],
                "directions": row["range"],
                **{
                    key: _text(row[key], row[f"{key}_low"], row[f"{key}_high"])
                    for key in ("factor", "bias", "rho")
                },
            }
            for row in each.tables["theory"].to_dict("records")
            if row["range"] in ("all", "tail")
        ]
    return found


def _fixed_tables(name: str, each: Findings) -> dict[str, Rows]:
    if "fixed_relations" not in each.tables:
        return {}
    return {
        f"along the Hessian's directions ~ flatness^-psi: {name}": [
            {
                **{key: row[key] for key in ("source", "quantity", "sampling", "basis")},
                **_relation(of_row(row)),
            }
            for row in each.tables["fixed_relations"].query("range == 'all'").to_dict("records")
        ],
        f"noise ~ curvature^q, residuals as long as a power of their length: {name}": [
            {
                **{key: row[key] for key in ("power", "basis")},
                **{k: _text(row[k], row[f"{k}_low"], row[f"{k}_high"]) for k in ("q", "less")},
            }
            for row in each.tables["residual_exponents"].query("range == 'all'").to_dict("records")
        ],
    }


def _annealing_table(name: str, each: Findings) -> dict[str, Rows]:
    if "annealing_figures" not in each.tables:
        return {}
    rows = each.tables["annealing_figures"].to_dict("records")
    shown = [
        {
            "source": row["source"],
            "figure": row["figure"],
            "mean": _text(row["mean"], row["low"], row["high"], "too few looks"),
        }
        for row in rows
    ]
    return {f"annealing: {name}": shown}


def draw(found: Found, folder: Path) -> tuple[Path, list[Path], str]:
    """Draw every figure of some studies into a folder.

    Returns:
        The page, the PNG files, and why there are none where there are none.

    Raises:
        UserError: the folder cannot be written to.
    """
    drawn = {
        f"{name}-{kind}": figure
        for name, each in found.items()
        for kind, figure in figures.of_setting(name, each).items()
    }
    if len(found) > 1:
        drawn |= figures.of_settings(found)
    page = folder / PAGE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.write_text(_page(found, drawn), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write figures to {folder}: {error.strerror or error}") from error
    pictures = {name: folder / f"{name}.png" for name in drawn}
    problem = _write_png({pictures[name]: figure for name, figure in drawn.items()})
    return page, [] if problem else list(pictures.values()), problem


def _page(found: Found, drawn: Mapping[str, Any]) -> str:
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>cl_bench landscape</title>",
        "<style>body {font: 15px/1.5 sans-serif; max-width: 1150px; margin: 2em auto}"
        " td {padding: 0 1em .5em 0; vertical-align: top}</style>",
        "<h1>Variance, flatness and noise of SGD</h1><table>",
    ]
    for name, each in found.items():
        parts += [
            f"<tr><td><b>{escape(name)}</b></td><td>{escape(v.claim)}</td>"
            f"<td><b>{escape(v.verdict)}</b></td><td>{escape(v.reason)}</td></tr>"
            for v in each.verdicts
        ]
    parts.append("</table>")
    script: bool | str = True
    for name, figure in drawn.items():
        parts.append(
            figure.to_html(full_html=False, include_plotlyjs=script, div_id=f"figure-{name}")
        )
        script = False
    return "\n".join([*parts, "</html>\n"])


def _write_png(figures_by_path: Mapping[Path, Any]) -> str:
    """Write PNG files; return what the user can do where that cannot be done here."""
    try:
        import kaleido
    except ImportError:
        return "no PNG files: they need `pip install 'cl_bench[figures]'` and Chrome or Chromium"
    try:
        kaleido.write_fig_from_object_sync(
            [
                {
                    "fig": figure,
                    "path": str(path),
                    "opts": {
                        "format": "png",
                        "width": WIDTH,
                        "height": figure.layout.height or 500,
                        "scale": SCALE,
                    },
                }
                for path, figure in figures_by_path.items()
            ]
        )
    except Exception as error:
        # Kaleido's own errors and those of the browser it starts have no common class.
        return (
            f"no PNG files ({type(error).__name__}): they need Chrome or Chromium on this machine"
        )
    return ""
