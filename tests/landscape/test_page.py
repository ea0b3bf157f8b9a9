"""The page on variance and flatness says what the committed results say, and by which rules."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from cl_bench.landscape import annealing_claim, claims, relation

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "variance-flatness.md").read_text(encoding="utf-8")
FOLDER = DOCS / "variance-flatness"
EVALUATED = json.loads((FOLDER / "paper.json").read_text(encoding="utf-8"))
EXPLORED = json.loads((FOLDER / "paper-seeds-0-4.json").read_text(encoding="utf-8"))
SETTINGS = list(csv.DictReader((FOLDER / "settings.csv").open(encoding="utf-8")))
PREDICTION = list(csv.DictReader((FOLDER / "prediction.csv").open(encoding="utf-8")))

MEASURES = {
    "relations: paper": (("source", "analysis", "range"), ("psi", "rho")),
    "noise relations: paper": (("quantity", "analysis", "range", "control"), ("psi", "rho")),
    "theory: paper": (("model", "analysis", "range"), ("factor", "bias", "rho")),
    "fixed relations: paper": (
        ("quantity", "source", "sampling", "basis", "range"),
        ("psi", "rho"),
    ),
    "residual exponents: paper": (("power", "basis", "range"), ("q", "less")),
    "annealing figures: paper": (("source", "figure"), ("mean",)),
}
"""What tells a row of each table, and the columns that have an interval."""


def interval(row, column, digits=2):
    """Return `3.80 [3.58, 4.03]` of a row."""
    low, high = ("low", "high") if column == "mean" else (f"{column}_low", f"{column}_high")
    if column == "correlation":
        low, high = "low", "high"
    numbers = (f"{float(row[key]):.{digits}f}" for key in (column, low, high))
    return "{} [{}, {}]".format(*numbers)


def find(results, table, **wanted):
    """Return the one row of a table that has the values wanted."""
    rows = [row for row in results[table] if all(row[k] == v for k, v in wanted.items())]
    (row,) = rows
    return row


def of_relations():
    rows = {
        "training, all directions": ("sgd", "raw", "all"),
        "training, from the 20th direction on": ("sgd", "raw", "tail"),
        "training, the first 20 directions": ("sgd", "raw", "leading"),
        "training, drift removed, all directions": ("sgd", "detrended", "all"),
        "training less its mean over an epoch, all directions": ("local", "raw", "all"),
        "the same, the first 20 directions": ("local", "raw", "leading"),
        "null: the walk's directions dealt out anew": ("permuted", "raw", "all"),
        "null: isotropic noise of the same power": ("isotropic", "raw", "all"),
        "null: random directions": ("random", "raw", "all"),
        "null: shuffled pairs": ("shuffled", "raw", "all"),
    }
    for name, (source, analysis, span) in rows.items():
        row = find(EVALUATED, "relations: paper", source=source, analysis=analysis, range=span)
        yield name, interval(row, "psi"), interval(row, "rho")


def of_one_landscape():
    rows = {
        "training": "training",
        "training less its mean over an epoch": "local training",
        "the layer alone": "layer alone",
        "the layer alone less its mean over an epoch": "local layer alone",
        "quadratic, **measured noise**": "measured",
        "quadratic, noise with its directions taken apart": "apart",
        "quadratic, minibatch Hessians, diagonal": "diagonal",
        "quadratic, minibatch Hessians, coupled": "whole",
        "quadratic, **noise turned** to random directions": "turned",
        "quadratic, **noise dealt out** among directions": "dealt",
        "quadratic, **white noise**": "white",
    }
    for name, source in rows.items():
        cells = []
        for basis, sampling in (
            ("hessian", "without"),
            ("hessian", "with"),
            ("principal", "without"),
        ):
            where = {"source": source, "sampling": sampling, "basis": basis, "range": "all"}
            try:
                row = find(EVALUATED, "fixed relations: paper", quantity="variance", **where)
            except ValueError:
                cells.append("")
                continue
            cells.append(f"{interval(row, 'psi')}, {row['rho']:.2f}")
        yield name, *cells


def of_noise():
    rows = {
        "curvature p·Hp": "curvature",
        "temperature T": "temperature",
        "correlation time tau": "correlation_time",
        "alpha T tau": "from_memory",
        "variance by the theory without coupling": "predicted",
    }
    where = {"analysis": "raw", "range": "all"}
    for name, quantity in rows.items():
        row = find(EVALUATED, "noise relations: paper", quantity=quantity, control=False, **where)
        yield name, interval(row, "psi"), interval(row, "rho")
    row = find(EVALUATED, "relations: paper", source="walk", **where)
    name = "variance of a walk with training's step covariance"
    yield name, interval(row, "psi"), interval(row, "rho")


def of_residuals():
    lengths = {1.0: "as it is", 0.5: "its square root", 0.0: "equal for all samples"}
    for power, name in lengths.items():
        cells = []
        for basis in ("principal", "hessian"):
            row = find(
                EVALUATED, "residual exponents: paper", power=power, basis=basis, range="all"
            )
            cells += [interval(row, "q", 3), interval(row, "less", 3) if power < 1 else ""]
        yield name, *cells


def of_settings():
    found = {(r["setting"], r["quantity"], r["analysis"], r["range"]): r for r in SETTINGS}
    for setting in dict.fromkeys(row["setting"] for row in SETTINGS):
        cells = []
        for quantity, span in (
            ("variance", "all"),
            ("variance", "tail"),
            ("variance", "leading"),
            ("temperature", "all"),
        ):
            row = found[setting, quantity, "raw", span]
            cells.append(f"{interval(row, 'psi', 1)}, {float(row['rho']):.2f}")
        yield setting, *cells


def of_prediction():
    names = {
        "flatness": "flatness F, leading directions",
        "sharpness": "sharpness, largest eigenvalue",
        "variance": "variance of the weights",
        "distance": "distance moved since, abs(dw)",
        "bound": "sharpness times squared distance / 2",
        "quadratic": "**1/2 dw·H dw**",
    }
    found = {(r["target"], r["level"], r["predictor"]): r for r in PREDICTION}
    levels = ("between strategies", "within strategy")
    for predictor, name in names.items():
        cells = [interval(found["forgetting", level, predictor], "correlation") for level in levels]
        yield name, *cells


TABLES = {
    "relations": of_relations,
    "one landscape": of_one_landscape,
    "noise": of_noise,
    "residuals": of_residuals,
    "settings": of_settings,
    "prediction": of_prediction,
}


def lines(table):
    return [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in TABLES[table]()]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_that_of_the_results(table):
    assert "\n".join(lines(table)) in PAGE


def all_intervals(results):
    found = {}
    for table, (keys, columns) in MEASURES.items():
        for row in results[table]:
            for column in columns:
                found[(table, *(row[key] for key in keys), column)] = row
    return found


def test_every_interval_in_the_text_is_a_results():
    known = set()
    for results in (EVALUATED, EXPLORED):
        for key, row in all_intervals(results).items():
            known |= {interval(row, key[-1], digits) for digits in (1, 2, 3, 4)}
    known |= {interval(row, "correlation") for row in PREDICTION}
    known |= {interval(row, name, 1) for row in SETTINGS for name in ("psi", "rho")}
    written = re.findall(r"-?\d+\.\d+ \[-?\d+\.\d+, -?\d+\.\d+\]", PAGE)
    assert len(written) > 60
    assert [text for text in written if text not in known] == []


def repeated():
    """Return how many intervals hold what other seeds' mean is, and of how many, a table each."""
    first, second = all_intervals(EXPLORED), all_intervals(EVALUATED)
    counts: dict[str, tuple[int, int]] = {}
    for key in first.keys() & second.keys():
        column = key[-1]
        low, high = ("low", "high") if column == "mean" else (f"{column}_low", f"{column}_high")
        # No interval: shuffled tables, a difference that is 0 by its making, one too few to have.
        if "shuffled" in key or True in key or not first[key][low] < first[key][high]:
            continue
        held, of = counts.get(key[0], (0, 0))
        inside = first[key][low] <= second[key][column] <= first[key][high]
        counts[key[0]] = held + inside, of + 1
    return counts


def test_the_page_says_how_many_intervals_hold_on_other_seeds():
    counts = repeated()
    held, of = (sum(count[i] for count in counts.values()) for i in (0, 1))
    assert f"{held} of {of}" in PAGE


def test_verdicts_and_rules_are_those_of_the_code():
    flat = " ".join(PAGE.replace(">", " ").split())
    for rule in (relation.RULE, claims.RULE, annealing_claim.RULE):
        assert rule in flat
    rows = [line for line in PAGE.splitlines() if re.match(r"\| [123]\. ", line)]
    words = [row["verdict"] for row in EVALUATED["verdicts"]]
    assert len(rows) == len(words) == 3
    for line, word in zip(rows, words, strict=True):
        assert f"**{word}**" in line


def test_the_page_is_short():
    assert len(PAGE.splitlines()) < 220
