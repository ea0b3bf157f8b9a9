"""What a study says of the paper's claims: numbers with intervals over seeds, and a plain word.

The first claim, that variance falls with flatness, is `relation`'s; here are that noise does and
that the random landscape theory makes of it the variance, and that SGD anneals itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cl_bench.landscape.quadratic import BLIND
from cl_bench.landscape.relation import (
    MIN_RHO,
    MIN_SEEDS,
    NOT,
    PARTLY,
    RANGES,
    REPRODUCED,
    TOO_FEW,
    UNDECIDED,
    Relation,
    Verdict,
    of_row,
    pairs_of,
    relation,
    shuffled,
    spearman,
)
from cl_bench.metrics.statistics import mean_interval

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
Values = NDArray[np.float64]

NOISE = "noise falls with flatness, and makes the variance"
WITH_FLATNESS = ("curvature", "temperature", "correlation_time")
"""Columns of a `noise` table that are held against flatness."""
MODELS = ("from_memory", "predicted", "simulated", "predicted_alike")
"""Columns with variances: of measured temperature and memory; of the theory, which has curvature
in place of memory; of its simulation; and of its control, all directions as warm."""
WITHIN = 2.0
"""The theory must meet half of the variances within this factor."""
RULE = (
    "Partly if all of three hold: temperature falls with flatness, raw and with the drift "
    "removed; a random walk of steps with training's step covariance shows the relation; and SGD "
    "in the quadratic of the exact Hessian, along the Hessian's directions, without replacement, "
    "shows it under the measured noise and not under noise of the same power that is turned to "
    "random directions, dealt out among the directions, or white. Reproduced if, too, the theory "
    "without coupled directions meets half of the variances within a factor of 2, and better than "
    "with all directions as warm. Otherwise not reproduced."
)
"""What `noise_verdict` goes by."""


def noise_relations(noise: pd.DataFrame) -> list[Row]:
    """Return how quantities go with flatness, as F^-psi: a row a quantity, analysis and range."""
    rows = []
    for analysis, part in noise.groupby("analysis", sort=False):
        for span, edges in RANGES.items():
            for column in (*WITH_FLATNESS, *MODELS):
                pairs = pairs_of(part, edges, "flatness", column)
                where = {"quantity": column, "analysis": str(analysis), "range": span}
                rows.append({**where, "control": False, **asdict(relation(pairs))})
                if column == "temperature":
                    rows.append({**where, "control": True, **asdict(shuffled(pairs))})
    return rows


def theory_fit(noise: pd.DataFrame) -> list[Row]:
    """Return how near the theory comes to the variances: a row a model, analysis and range.

    `factor` is what half of the variances are met within, exp of the median |ln(model/measured)|,
    averaged over seeds; `bias` the median ratio of model to measured; `rho` the rank correlation.
    """
    rows = []
    for analysis, part in noise.groupby("analysis", sort=False):
        for span, edges in RANGES.items():
            for model in MODELS:
                pairs = [p for p in pairs_of(part, edges, "variance", model) if len(p[0]) >= 3]
                if not pairs:
                    continue
                gaps = [y - x for x, y in pairs]
                rows.append(
                    {
                        "model": model,
                        "analysis": str(analysis),
                        "range": span,
                        "seeds": len(pairs),
                        **geometric("factor", [np.median(np.abs(gap)) for gap in gaps]),
                        **geometric("bias", [np.median(gap) for gap in gaps]),
                        **mean("rho", [spearman(x, y) for x, y in pairs]),
                    }
                )
    return rows


def noise_verdict(
    relations: Sequence[Row],
    fit: Sequence[Row],
    walks: Sequence[Row] = (),
    quadratics: Sequence[Row] = (),
) -> Verdict:
    """Return whether noise falls with flatness and makes the variance, by `RULE`.

    Args:
        relations: of `noise_relations`.
        fit: of `theory_fit`.
        walks: of `relation.relations`; what counts is the walk with training's step covariance.
        quadratics: of `fixed_relations`; none where there is no quadratic to be had.
    """
    warm = {
        row["analysis"]: of_row(row)
        for row in relations
        if row["quantity"] == "temperature" and row["range"] == "all" and not row["control"]
    }
    walked = {
        row["analysis"]: of_row(row)
        for row in walks
        if row["source"] == "walk" and row["range"] == "all"
    }
    if not warm or not walked:
        return Verdict(NOISE, UNDECIDED, "noise, or a walk of it, was not measured")
    if min(found.seeds for found in warm.values()) < MIN_SEEDS:
        return Verdict(NOISE, TOO_FEW, f"fewer than {MIN_SEEDS} seeds")
    noisy, suffices = (all(f.shown for f in found.values()) for found in (warm, walked))
    discriminates, said = _discriminates(quadratics)
    reasons = [_text("temperature", warm), _text("a walk of training's steps", walked), said]
    met, said = _theory_says(fit, list(warm))
    reasons.append(said)
    word = NOT
    if noisy and suffices and discriminates:
        word = REPRODUCED if met else PARTLY
    return Verdict(NOISE, word, "; ".join(reasons))


def _text(what: str, found: dict[str, Relation]) -> str:
    each = ", ".join(
        f"psi {f.psi:.2g}, rho {f.rho:.2f} ({name}{'' if f.shown else ': not shown'})"
        for name, f in found.items()
    )
    return f"{what}: {each}"


def _discriminates(quadratics: Sequence[Row]) -> tuple[bool, str]:
    """Return whether training's noise shows the relation in its quadratic and no other noise does.

    True where there is no quadratic of this setting, for the rest to decide.
    """
    found = {
        row["source"]: of_row(row)
        for row in quadratics
        if (row["quantity"], row["sampling"], row["basis"], row["range"])
        == ("variance", "without", "hessian", "all")
    }
    if not found:
        return True, "there is no quadratic of this setting"
    also = [name for name in BLIND if found[name].shown]
    shown = found["measured"].shown
    each = ", ".join(f"{found[name].psi:.2g} ({name})" for name in ("measured", *BLIND))
    text = f"in the same quadratic landscape psi is {each}"
    return shown and not also, text + (f"; shown by {', '.join(also)}, too" if also else "")


def _theory_says(fit: Sequence[Row], analyses: Sequence[str]) -> tuple[bool, str]:
    whole = {(row["model"], row["analysis"]): row for row in fit if row["range"] == "all"}
    if not any(model == "predicted" for model, _ in whole):
        return False, "the theory is not of this optimiser (or window)"
    texts = []
    for model, text in (
        ("predicted", "the theory meets half of the variances within a factor of"),
        ("predicted_alike", "with all directions as warm it is"),
        ("from_memory", "with the measured memory"),
    ):
        factors = [f"{whole[model, name]['factor']:.2g} ({name})" for name in analyses]
        texts.append(f"{text} {', '.join(factors)}")
    return all(_meets(whole, name) for name in analyses), "; ".join(texts)


def _meets(whole: dict[tuple[str, str], Row], analysis: str) -> bool:
    own, alike = (whole.get((model, analysis)) for model in ("predicted", "predicted_alike"))
    if own is None or alike is None:
        return False
    near = own["factor_high"] <= WITHIN and own["factor_high"] < alike["factor_low"]
    return bool(near and own["rho_low"] >= MIN_RHO)


def mean(name: str, values: Sequence[Any]) -> Row:
    """Return a mean over the seeds that have the figure, with its interval, as columns of a row."""
    known = np.array(values, dtype=float)
    found = mean_interval(known[~np.isnan(known)])
    if not name:
        return {"mean": found.mean, "low": found.low, "high": found.high, "seeds": found.count}
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def geometric(name: str, logarithms: Sequence[Any]) -> Row:
    """Return a geometric mean over seeds with its interval, from logarithms."""
    found = mean(name, logarithms)
    return {k: v if k == "seeds" else math.exp(v) for k, v in found.items()}
