"""Does SGD anneal itself? Figures of noise and landscape along a training, and a plain verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cl_bench.landscape.claims import Row, Values, geometric, mean
from cl_bench.landscape.relation import (
    MIN_RHO,
    MIN_SEEDS,
    NOT,
    PARTLY,
    REPRODUCED,
    TOO_FEW,
    UNDECIDED,
    Verdict,
    spearman,
)

if TYPE_CHECKING:
    import pandas as pd

ANNEALING = "noise falls as flat places are found"
LEVELS = 12
"""Losses at which training and its control are compared."""
RULE = (
    "Partly if noise goes with sharpness along the whole training (rho's interval above .5) and "
    "both have fallen at its end. Reproduced if, too, noise falls as F grows, along the whole "
    "training and from the highest noise on, and at equal loss training is at flatter places than "
    "with a tenth of the noise. Otherwise not reproduced."
)
"""What `annealing_verdict` goes by."""


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
            "peak_step": mean("", [s["step"].iloc[p] for s, p in both]),
            "temperature_left": geometric("", [_left(s["temperature"], p) for s, p in both]),
            "sharpness_left": geometric("", [_left(s["sharpness"], p) for s, p in both]),
            "rho_sharpness": mean("", [_rank(s, "sharpness") for s in seeds]),
            "rho_flatness": mean("", [_rank(s, "flatness_sharpest") for s in seeds]),
            "rho_flatness_after": mean("", [_rank(s[p:], "flatness_sharpest") for s, p in both]),
        }
        rows += [{"source": str(source), "figure": k, **v} for k, v in figures.items()]
    if set(annealing["source"]) == {"sgd", "quiet"}:
        columns = ("sharpness", "flatness_sharpest", "temperature")
        for column in columns:
            name = f"{column.removesuffix('_sharpest')}_at_equal_loss"
            gaps = [_gap(of_seed, column) for _, of_seed in annealing.groupby("seed", sort=True)]
            rows.append({"source": "sgd", "figure": name, **geometric("", gaps)})
    return rows


def annealing_verdict(figures: Sequence[Row]) -> Verdict:
    """Return whether SGD anneals itself, by `RULE`."""
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
