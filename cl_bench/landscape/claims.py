"""What a study says of the paper's claims: numbers with intervals over seeds, and a plain word.

The first claim, that variance falls with flatness, is `relation`'s; here are that noise does and
that the random landscape theory makes of it the variance, and that SGD anneals itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cl_bench.landscape.relation import (
    MIN_RHO,
    MIN_SEEDS,
    NOT,
    PARTLY,
    RANGES,
    REPRODUCED,
    TOO_FEW,
    UNDECIDED,
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
ANNEALING = "noise falls as flat places are found"
WITH_FLATNESS = ("curvature", "temperature", "correlation_time")
"""Columns of a `noise` table that are held against flatness."""
MODELS = ("from_memory", "predicted", "simulated", "predicted_alike")
"""Columns with variances: of measured temperature and memory; of the theory, which has curvature
in place of memory; of its simulation; and of its control, all directions as warm."""
WITHIN = 2.0
"""The theory must meet half of the variances within this factor."""
LEVELS = 12
"""Losses at which training and its control are compared."""


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
                        **_geometric("factor", [np.median(np.abs(gap)) for gap in gaps]),
                        **_geometric("bias", [np.median(gap) for gap in gaps]),
                        **_mean("rho", [spearman(x, y) for x, y in pairs]),
                    }
                )
    return rows


def noise_verdict(relations: Sequence[Row], fit: Sequence[Row]) -> Verdict:
    """Return whether noise falls with flatness and, by the theory, makes the variance."""
    warm = {
        row["analysis"]: of_row(row)
        for row in relations
        if row["quantity"] == "temperature" and row["range"] == "all" and not row["control"]
    }
    if not warm:
        return Verdict(NOISE, UNDECIDED, "noise was not measured")
    if min(found.seeds for found in warm.values()) < MIN_SEEDS:
        return Verdict(NOISE, TOO_FEW, f"fewer than {MIN_SEEDS} seeds")
    noisy = [name for name, found in warm.items() if found.shown]
    reasons = [
        "temperature falls as flatness^-psi with psi "
        + ", ".join(f"{found.psi:.2g} ({name})" for name, found in warm.items())
        if noisy
        else "temperature does not fall with flatness"
    ]
    whole = {(row["model"], row["analysis"]): row for row in fit if row["range"] == "all"}
    met = [name for name in warm if _meets(whole, name)]
    if not any(model == "predicted" for model, _ in whole):
        reasons.append("the theory is not of this optimiser (or window)")
    else:
        for model, text in (
            ("predicted", "the theory meets half of the variances within a factor of"),
            ("predicted_alike", "with all directions as warm it is"),
            ("from_memory", "with the measured memory"),
        ):
            factors = [f"{whole[model, name]['factor']:.2g} ({name})" for name in warm]
            reasons.append(f"{text} {', '.join(factors)}")
    if len(noisy) == len(warm) and len(met) == len(warm):
        word = REPRODUCED
    else:
        word = PARTLY if noisy else NOT
    return Verdict(NOISE, word, "; ".join(reasons))


def _meets(whole: dict[tuple[str, str], Row], analysis: str) -> bool:
    own, alike = (whole.get((model, analysis)) for model in ("predicted", "predicted_alike"))
    if own is None or alike is None:
        return False
    near = own["factor_high"] <= WITHIN and own["factor_high"] < alike["factor_low"]
    return bool(near and own["rho_low"] >= MIN_RHO)


def annealing_figures(annealing: pd.DataFrame) -> list[Row]:
    """Return what noise and landscape did on the way: a row a source and figure.

    Figures: `peak_step`, at which the temperature is highest; `temperature_left` and
    `sharpness_left` at the last look, as shares of those at that step; `rho_sharpness` and
    `rho_flatness` of the temperature over all looks, `rho_flatness_after` over those from the
    peak on; `sharpness_at_equal_loss`, `flatness_at_equal_loss` and `temperature_at_equal_loss`:
    training's, as a multiple of the quiet control's.
    """
    rows = []
    for source, part in annealing.groupby("source", sort=False):
        seeds = [of_seed.sort_values("step") for _, of_seed in part.groupby("seed", sort=True)]
        peaks = [int(of_seed["temperature"].to_numpy().argmax()) for of_seed in seeds]
        both = list(zip(seeds, peaks, strict=True))
        figures: dict[str, Row] = {
            "peak_step": _mean("", [s["step"].iloc[p] for s, p in both]),
            "temperature_left": _geometric("", [_left(s["temperature"], p) for s, p in both]),
            "sharpness_left": _geometric("", [_left(s["sharpness"], p) for s, p in both]),
            "rho_sharpness": _mean("", [_rank(s, "sharpness") for s in seeds]),
            "rho_flatness": _mean("", [_rank(s, "flatness_sharpest") for s in seeds]),
            "rho_flatness_after": _mean("", [_rank(s[p:], "flatness_sharpest") for s, p in both]),
        }
        rows += [{"source": str(source), "figure": k, **v} for k, v in figures.items()]
    if set(annealing["source"]) == {"sgd", "quiet"}:
        columns = ("sharpness", "flatness_sharpest", "temperature")
        for column in columns:
            name = f"{column.removesuffix('_sharpest')}_at_equal_loss"
            gaps = [_gap(of_seed, column) for _, of_seed in annealing.groupby("seed", sort=True)]
            rows.append({"source": "sgd", "figure": name, **_geometric("", gaps)})
    return rows


def annealing_verdict(figures: Sequence[Row]) -> Verdict:
    """Return whether SGD anneals itself.

    Reproduced where noise is stronger at sharper places all along and has fallen in the end, as
    sharpness has; where it is weaker at places of larger F, too, which is relative to the loss;
    and where at equal loss training is at flatter places than its control with a tenth of the
    noise, so that noise is what finds them. Partly where the first two hold.
    """
    found = {(row["source"], row["figure"]): row for row in figures}
    if ("sgd", "rho_sharpness") not in found:
        return Verdict(ANNEALING, UNDECIDED, "training was not looked at")
    along, cooled, flatter = (
        found["sgd", "rho_sharpness"],
        found["sgd", "temperature_left"],
        found["sgd", "sharpness_left"],
    )
    if along["seeds"] < MIN_SEEDS:
        return Verdict(ANNEALING, TOO_FEW, f"fewer than {MIN_SEEDS} seeds")
    goes_with = along["low"] >= MIN_RHO
    falls = cooled["high"] < 1 and flatter["high"] < 1
    reasons = [
        f"noise goes with sharpness along the training (rho {along['mean']:.2f})"
        if goes_with
        else f"noise does not go with sharpness (rho {along['mean']:.2f})",
        f"at the end {cooled['mean']:.2g} of the highest noise and {flatter['mean']:.2g} of the "
        "sharpness then are left",
    ]
    equal = found.get(("sgd", "sharpness_at_equal_loss"))
    if equal is None:
        reasons.append("the quiet control was not run")
        return Verdict(ANNEALING, UNDECIDED, "; ".join(reasons))
    reasons.append(
        f"at equal loss it is {equal['mean']:.2f} [{equal['low']:.2f}, {equal['high']:.2f}] "
        "times as sharp as with a tenth of the noise"
    )
    relative, after = found["sgd", "rho_flatness"], found["sgd", "rho_flatness_after"]
    by_flatness = relative["high"] <= -MIN_RHO and after["high"] < 0
    if not by_flatness:
        later = f"{after['mean']:.2f}" if after["seeds"] else "of too few looks"
        reasons.append(
            f"F, which is relative to the loss, goes with noise by rho {relative['mean']:.2f}, "
            f"{later} from the highest noise on"
        )
    word = NOT
    if goes_with and falls:
        word = REPRODUCED if by_flatness and equal["high"] < 1 else PARTLY
    return Verdict(ANNEALING, word, "; ".join(reasons))


def _left(values: pd.Series[float], peak: int) -> float:
    return math.log(values.iloc[-1] / values.iloc[peak])


def _rank(of_seed: pd.DataFrame, column: str) -> float:
    return float(spearman(of_seed[column].to_numpy(float), of_seed["temperature"].to_numpy(float)))


def _gap(of_seed: pd.DataFrame, column: str) -> float:
    """Return the mean of ln(training / control) at losses that both have been at."""
    own, quiet = (_at_losses(of_seed[of_seed["source"] == name]) for name in ("sgd", "quiet"))
    low = max(own(None).min(), quiet(None).min())
    high = min(own(None).max(), quiet(None).max())
    # The last step down from the untrained network's loss is left out: nothing is learnt there.
    levels = np.linspace(low, high + math.log(0.9), LEVELS)
    return float(np.mean(own(column, levels) - quiet(column, levels)))


def _at_losses(rows: pd.DataFrame) -> Callable[..., Values]:
    """Return what gives ln of a column at ln losses, interpolated; all ln losses for None."""
    rows = rows.sort_values("loss")
    log_loss = np.log(rows["loss"].to_numpy(float))

    def at(column: str | None, levels: Values | None = None) -> Values:
        if column is None or levels is None:
            return log_loss
        return np.interp(levels, log_loss, np.log(rows[column].to_numpy(float)))

    return at


def _mean(name: str, values: Sequence[Any]) -> Row:
    """Return a mean over the seeds that have the figure, with its interval, as columns of a row."""
    known = np.array(values, dtype=float)
    found = mean_interval(known[~np.isnan(known)])
    if not name:
        return {"mean": found.mean, "low": found.low, "high": found.high, "seeds": found.count}
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _geometric(name: str, logarithms: Sequence[Any]) -> Row:
    """Return a geometric mean over seeds with its interval, from logarithms."""
    found = _mean(name, logarithms)
    return {k: v if k == "seeds" else math.exp(v) for k, v in found.items()}
