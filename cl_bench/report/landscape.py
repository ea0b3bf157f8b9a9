"""Studies of the landscape for people: short tables, and figures as one page and as PNG.

Everything is drawn from the records alone. The page needs no network: Plotly is in it. PNG files
need the extra `figures` and a Chrome or Chromium; without them the page is all there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError
from cl_bench.landscape import summary
from cl_bench.report import landscape_figures as figures
from cl_bench.report.tables import interval_text

if TYPE_CHECKING:
    from cl_bench.landscape.record import LandscapeRecord

Rows = list[dict[str, Any]]
Found = Mapping[str, "LandscapeRecord"]
"""Records by the name of their setting."""

DERIVED = ("relations", "noise_relations", "theory", "annealing_figures")
"""Tables of a record that follow from its measurements."""
PAGE = "landscape.html"
WIDTH, SCALE = 1100, 1.5
"""Of the PNG files: pixels, and how many of them a CSS pixel has."""


def tables(found: Found) -> dict[str, Rows]:
    """Return the tables that are printed, by title; intervals are 95 % over seeds."""
    shown: dict[str, Rows] = {}
    for name, each in found.items():
        rows = each.tables["relations"].to_dict("records")
        shown[f"variance ~ flatness^-psi: {name}"] = [
            {
                "source": row["source"],
                "analysis": row["analysis"],
                "directions": row["range"],
                **_relation(row),
            }
            for row in rows
            if row["range"] == "all" or row["source"] == "sgd"
        ]
        shown |= _noise_tables(name, each) | _annealing_table(name, each)
    if len(found) > 1:
        shown["settings"] = summary.settings(found)
        shown["exponents"] = [
            {**{k: row[k] for k in ("setting", "quantity", "analysis", "range")}, **_relation(row)}
            for row in summary.exponents(found)
            if row["range"] == "all"
        ]
        shown["noise at equal loss"] = summary.noise_scaling(found)
    return shown


def _relation(row: Mapping[Any, Any]) -> dict[str, str]:
    return {name: interval_of(row, name) for name in ("psi", "rho")}


def interval_of(row: Mapping[Any, Any], name: str, digits: int = 2) -> str:
    """Return a figure with its interval, `3.80 [3.58, 4.03]`, from the columns of a row."""
    values = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
    if any(value != value for value in values):
        return ""
    middle, low, high = (f"{value:.{digits}f}" for value in values)
    return f"{middle} [{low}, {high}]"


def _noise_tables(name: str, each: LandscapeRecord) -> dict[str, Rows]:
    if "noise_relations" not in each.tables:
        return {}
    found = {}
    found[f"noise ~ flatness^-psi: {name}"] = [
        {
            "quantity": row["quantity"] + (" (shuffled)" if row["control"] else ""),
            "analysis": row["analysis"],
            **_relation(row),
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
                **{key: interval_of(row, key) for key in ("factor", "bias", "rho")},
            }
            for row in each.tables["theory"].to_dict("records")
            if row["range"] in ("all", "tail")
        ]
    return found


def _annealing_table(name: str, each: LandscapeRecord) -> dict[str, Rows]:
    if "annealing_figures" not in each.tables:
        return {}
    rows = each.tables["annealing_figures"].to_dict("records")
    shown = [
        {
            "source": row["source"],
            "figure": row["figure"],
            "mean": interval_text(row["mean"], row["low"], row["high"]),
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
        "<style>body {font: 15px/1.5 sans-serif; max-width: 1150px; margin: 2em auto}</style>",
        "<h1>Variance, flatness and noise of SGD</h1><table>",
    ]
    for name, each in found.items():
        parts += [
            f"<tr><td><b>{escape(name)}</b></td><td>{escape(v['claim'])}</td>"
            f"<td><b>{escape(v['verdict'])}</b></td><td>{escape(v['reason'])}</td></tr>"
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
