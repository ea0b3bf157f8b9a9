"""Does what is measured at a task's minimum predict how much of the task is forgotten later?

Rank correlations over stored runs, at three levels that ask different questions, each with an
interval and a null control. Earlier tasks have had longer to be forgotten, and seeds share their
tasks across strategies: both would make correlations out of nothing, so that

- ranks are taken within each task position (but for the pooled level, which is what is usually
  plotted);
- the interval resamples whole seeds (percentile bootstrap);
- the p-value comes from shuffling the predictor by whole strategies (pooled, between) or whole
  seeds (within), which keeps every task in its place. No p can be lower than 2 / n! for n of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from cl_bench.metrics.evaluations import Array
from cl_bench.metrics.statistics import LEVEL, MIN_SEEDS, TOO_FEW, holm
from cl_bench.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd

PREDICTORS = {
    "flatness": "geometric mean of F along the leading directions of the weights' fluctuation",
    "flatness_sharpest": "F along the sharpest direction",
    "sharpness": "largest eigenvalue of the Hessian",
    "trace": "trace of the Hessian",
    "variance": "variance of the weights over the task's last steps, summed over all weights",
    "loss": "training loss right after the task",
    "distance": "how far the weights are from there at the end, |dw|",
    "quadratic": "1/2 dw^T H dw",
    "bound": "1/2 sharpness |dw|^2 (Mirzadeh et al. 2020, NeurIPS, arXiv 2006.06958)",
}
"""What may predict: of each task, at its own end (the last three: at its end and at the run's)."""
TARGETS = {
    "forgetting": "accuracy right after the task less that after the last: a[j, j] - a[T-1, j]",
    "growth": "training loss after the last task less that right after the task, in nats",
}
"""What is to be predicted."""
POOLED, BETWEEN, WITHIN = "pooled", "between strategies", "within strategy"
LEVELS = {
    POOLED: "over all strategies, seeds and tasks",
    BETWEEN: "means over seeds, ranked among strategies at each task position",
    WITHIN: "seeds, ranked within each strategy and task position",
}
"""Over what the ranks are taken."""

PREDICTS, DOES_NOT, TOO_FEW_STRATEGIES = "predicts", "does not", "too few strategies"
RESAMPLES = 2000
PERMUTATIONS = 10_000

_RUN = ["protocol_id", "benchmark", "scenario", "group_id", "strategy", "label", "run_id", "seed"]


def observations(accuracy: pd.DataFrame, landscape: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run and task but the last: every predictor and every target.

    Args:
        accuracy: `cl_bench.load(out)`, or rows of it.
        landscape: `cl_bench.load(out, "landscape")`, or rows of it; runs that are not in both are
            left out.
    """
    key = ["run_id", "task"]
    own, end = _own_and_end(landscape)
    later = ["distance", "quadratic"]
    found = own.drop(columns=later)
    found = found.merge(end[[*key, "loss", *later]], on=key, suffixes=("", "_end"))
    after, last = (part[[*key, "accuracy"]] for part in _own_and_end(accuracy))
    found = found.merge(after.merge(last, on=key, suffixes=("", "_end")), on=key)
    found["bound"] = found["sharpness"] * found["distance"] ** 2 / 2
    found["forgetting"] = found["accuracy"] - found["accuracy_end"]
    found["growth"] = found["loss_end"] - found["loss"]
    return found[[*_RUN, "task", *PREDICTORS, *TARGETS]]


def balanced(found: pd.DataFrame) -> pd.DataFrame:
    """Return the observations of the seeds that all configurations of their protocol have.

    A run with a value that is not finite counts as none; a configuration of such runs alone is
    left out.
    """
    sound = np.isfinite(found[[*PREDICTORS, *TARGETS]].to_numpy()).all(1)
    whole = found[~found["run_id"].isin(found.loc[~sound, "run_id"])]
    runs = whole.drop_duplicates("run_id")
    groups = runs.groupby("protocol_id")["group_id"].transform("nunique")
    holders = runs.groupby(["protocol_id", "seed"])["group_id"].transform("nunique")
    return whole[whole["run_id"].isin(runs.loc[holders == groups, "run_id"])]


class Prediction(TypedDict):
    """How well a predictor tells a target at one level; NaN where it does not vary."""

    protocol_id: str
    benchmark: str
    scenario: str
    target: str
    level: str
    predictor: str
    strategies: int
    seeds: int
    correlation: float
    """Spearman's, of ranks centred within their strata, with its interval."""
    low: float
    high: float
    p: float
    p_holm: float
    """Corrected over the predictors."""
    verdict: str


def predict(found: pd.DataFrame) -> list[Prediction]:
    """Return a row for each protocol, target, level and predictor of `balanced` observations."""
    rows: list[Prediction] = []
    for _, part in found.groupby("protocol_id", sort=True):
        shape = (part["group_id"].nunique(), part["seed"].nunique(), part["task"].nunique())
        ordered = part.sort_values(["group_id", "seed", "task"])
        values = {
            name: ordered[name].to_numpy(dtype=float).reshape(shape)
            for name in (*PREDICTORS, *TARGETS)
        }
        first = part.iloc[0]
        for target in TARGETS:
            for level in LEVELS:
                of_level = _level(values, target, level)
                corrected = holm([each.p for each in of_level])
                rows += [
                    Prediction(
                        protocol_id=str(first["protocol_id"]),
                        benchmark=str(first["benchmark"]),
                        scenario=str(first["scenario"]),
                        target=target,
                        level=level,
                        predictor=each.predictor,
                        strategies=shape[0],
                        seeds=shape[1],
                        correlation=each.correlation,
                        low=each.low,
                        high=each.high,
                        p=each.p,
                        p_holm=float(p_holm),
                        verdict=_verdict(each, level, float(p_holm), shape),
                    )
                    for each, p_holm in zip(of_level, corrected, strict=True)
                ]
    return rows


def centred_ranks(values: Array, level: str) -> Array:
    """Return the ranks of values [..., G, S, J] within the strata of a level, less their mean.

    G configurations, S seeds, J task positions; between strategies the seeds are averaged first,
    so that S is then 1.
    """
    from scipy.stats import rankdata

    if level == POOLED:
        ranks = rankdata(values.reshape(*values.shape[:-3], -1), axis=-1).reshape(values.shape)
        return ranks - ranks.mean((-3, -2, -1), keepdims=True)
    if level == BETWEEN:
        values, axis = values.mean(-2, keepdims=True), -3
    else:
        axis = -2
    ranks = rankdata(values, axis=axis)
    return ranks - ranks.mean(axis, keepdims=True)


def correlation(a: Array, b: Array) -> Array:
    """Return the correlation [...] of centred ranks [..., G, S, J]; NaN where one is constant."""
    axes = (-3, -2, -1)
    power = (a**2).sum(axes) * (b**2).sum(axes)
    return (a * b).sum(axes) / np.sqrt(np.where(power > 0, power, np.nan))


@dataclass(frozen=True)
class _Found:
    """What one predictor tells."""

    predictor: str
    correlation: float
    low: float
    high: float
    p: float


def _level(values: dict[str, Array], target: str, level: str) -> list[_Found]:
    """Return what each predictor tells of one target at one level."""
    wanted = values[target]
    seeds = wanted.shape[1]
    drawn = numpy_generator("prediction", "bootstrap").integers(seeds, size=(RESAMPLES, seeds))

    def resampled(of: Array) -> Array:
        return centred_ranks(np.moveaxis(of[:, drawn], 1, 0), level)

    wanted_ranks, wanted_resampled = centred_ranks(wanted, level), resampled(wanted)
    found = []
    for name in PREDICTORS:
        ranks = centred_ranks(values[name], level)
        spread = correlation(resampled(values[name]), wanted_resampled)
        # A resample of one seed many times has no ranks within a strategy.
        spread = spread[~np.isnan(spread)]
        tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low, high = np.quantile(spread, tails) if len(spread) else (np.nan, np.nan)
        p = _permutation_p(ranks, wanted_ranks, level)
        found.append(
            _Found(name, float(correlation(ranks, wanted_ranks)), float(low), float(high), p)
        )
    return found


def _permutation_p(ranks: Array, wanted: Array, level: str) -> float:
    """Return how often the predictor, shuffled by whole strategies or seeds, does as well.

    Two-sided; exact where there are at most `PERMUTATIONS` orders.
    """
    from scipy.stats import permutation_test

    axis = 1 if level == WITHIN else 0
    count = ranks.shape[axis]
    if count < 2 or np.isnan(correlation(ranks, wanted)):
        return float("nan")
    a, b = (np.moveaxis(each, axis, 0).reshape(count, -1) for each in (ranks, wanted))
    products = b @ a.T  # of the targets of one unit with the predictors of another
    places = np.arange(count)
    return float(
        permutation_test(
            (places,),
            lambda order, axis: products[places, order].sum(axis),
            permutation_type="pairings",
            vectorized=True,
            n_resamples=PERMUTATIONS,
            rng=numpy_generator("prediction", "permutations"),
        ).pvalue
    )


def _verdict(found: _Found, level: str, p_holm: float, shape: tuple[int, ...]) -> str:
    """Return what a predictor shows; too few is what could not show anything, whatever came out."""
    strategies, seeds, _ = shape
    within = level == WITHIN
    blind = 2 * len(PREDICTORS) / factorial(seeds if within else strategies) >= 1 - LEVEL
    if seeds < MIN_SEEDS or (within and blind):
        return TOO_FEW
    if blind:
        return TOO_FEW_STRATEGIES
    sure = p_holm < 1 - LEVEL and (found.low > 0 or found.high < 0)
    return PREDICTS if sure else DOES_NOT


def _own_and_end(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of each task but the last right after it, and after the last task."""
    last = table.groupby("run_id")["after_task"].transform("max")
    earlier = table["task"] < last
    return table[earlier & (table["after_task"] == table["task"])], table[
        earlier & (table["after_task"] == last)
    ]
