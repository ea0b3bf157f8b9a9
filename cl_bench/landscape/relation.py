"""Does weight variance fall with flatness? A robust exponent, its interval, and a plain verdict.

psi is minus the slope of ln sigma_i^2 on ln F_i (sigma_i^2 ~ F_i^-psi, Feng & Tu, arXiv
2001.01678, our reading), by the median of the slopes of all pairs of directions (Theil 1950; Sen
1968, JASA 63). A null must fail to show what is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cl_bench.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd

Values = NDArray[np.float64]
Pairs = Sequence[tuple[Values, Values]]
"""For each seed, ln F and ln sigma^2 of its directions."""

MIN_SEEDS = 5
"""Seeds below which there is no verdict."""
MIN_RHO = 0.5
"""A weaker rank correlation than this does not count as the relation."""
LEVEL = 0.95
RESAMPLES = 400
RANGES: dict[str, tuple[int, int]] = {
    "all": (0, 1_000_000),
    "leading": (0, 20),
    "tail": (20, 1_000_000),
}
"""Ranges of directions, first and end: the leading ones are where drift gathers."""

REPRODUCED = "reproduced"
PARTLY = "partly"
NOT = "not reproduced"
TOO_FEW = "too few seeds"
UNDECIDED = "undecided"
CLAIM = "variance falls with flatness"


@dataclass(frozen=True)
class Relation:
    """The relation over some directions; NaN where it is not defined."""

    psi: float
    """Mean over the seeds of minus the slope."""
    psi_low: float
    psi_high: float
    rho: float
    """Mean over the seeds of Spearman's rank correlation of F and sigma^2."""
    rho_low: float
    rho_high: float
    seeds: int
    directions: int
    """Directions of the seed that has the fewest."""

    @property
    def shown(self) -> bool:
        """Whether variance falls with flatness beyond doubt: intervals clear of 0, rho large."""
        return self.psi_low > 0 and self.rho_high < 0 and self.rho <= -MIN_RHO

    @property
    def reversed(self) -> bool:
        """Whether the contrary is shown: variance grows with flatness."""
        return self.psi_high < 0 and self.rho_low > 0 and self.rho >= MIN_RHO


def of_row(row: Mapping[Any, Any]) -> Relation:
    """Return the relation of a table's row."""
    return Relation(**{name: row[name] for name in Relation.__dataclass_fields__})


@dataclass(frozen=True)
class Verdict:
    """What was found of a claim."""

    claim: str
    verdict: str
    """A word, the same for all claims: `REPRODUCED`, `PARTLY`, `NOT`, `TOO_FEW`, `UNDECIDED`."""
    reason: str


UNDEFINED = Relation(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, 0, 0)


def theil_sen(x: Values, y: Values) -> Values:
    """Return the median of the slopes of all pairs of points, over the last axis [..., n].

    Pairs at the same x have no slope; NaN where no pair has one.
    """
    first, second = np.triu_indices(x.shape[-1], 1)
    run, rise = x[..., second] - x[..., first], y[..., second] - y[..., first]
    real = run != 0
    # What is not real sorts last, and the middle is counted without it.
    slopes = np.sort(np.where(real, rise / np.where(real, run, 1.0), np.inf), axis=-1)
    count = real.sum(-1, keepdims=True)
    low = np.take_along_axis(slopes, np.maximum(count - 1, 0) // 2, -1)
    high = np.take_along_axis(slopes, np.minimum(count // 2, slopes.shape[-1] - 1), -1)
    return np.where(count > 0, (low + high) / 2, np.nan)[..., 0]


def spearman(x: Values, y: Values) -> Values:
    """Return Spearman's rank correlation over the last axis [..., n], ties at their mean rank.

    NaN for constant values.
    """
    from scipy.stats import rankdata

    a, b = rankdata(x, axis=-1), rankdata(y, axis=-1)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    size = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.where(size > 0, (a * b).sum(-1) / np.where(size > 0, size, 1.0), np.nan)


def relation(pairs: Pairs) -> Relation:
    """Return the exponent and rank correlation with bootstrap intervals.

    Seeds are drawn with replacement, and within each the directions. The interval is the mean ±
    the bootstrap's standard error, times Student's quantile for the number of seeds (normal for
    one seed, whose directions alone vary): percentiles of so few seeds would be too narrow.
    """
    usable = [(x, y) for x, y in pairs if len(x) >= 3]
    if not usable:
        return UNDEFINED
    psi, psi_error = _bootstrapped(usable, lambda x, y: -theil_sen(x, y))
    rho, rho_error = _bootstrapped(usable, spearman)
    return Relation(
        psi=psi,
        psi_low=psi - psi_error,
        psi_high=psi + psi_error,
        rho=rho,
        rho_low=max(rho - rho_error, -1.0),
        rho_high=min(rho + rho_error, 1.0),
        seeds=len(usable),
        directions=min(len(x) for x, _ in usable),
    )


def _bootstrapped(
    pairs: Pairs, statistic: Callable[[Values, Values], Values]
) -> tuple[float, float]:
    """Return the mean over seeds of a statistic, and half the width of its interval."""
    from scipy.stats import norm, t

    generator = numpy_generator("landscape", "bootstrap")
    mean = float(np.mean([statistic(x, y) for x, y in pairs]))
    # The directions are resampled seed by seed; means of any such seeds are then cheap.
    each = []
    for x, y in pairs:
        rows = generator.integers(len(x), size=(RESAMPLES, len(x)))
        each.append(statistic(x[rows], y[rows]))
    seeds = len(pairs)
    chosen = generator.integers(seeds, size=(seeds, 20 * RESAMPLES))
    draws = generator.integers(RESAMPLES, size=chosen.shape)
    # The bootstrap's variance is short by (n - 1) / n.
    scale = math.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1.0
    quantile = t.ppf((1 + LEVEL) / 2, seeds - 1) if seeds > 1 else norm.ppf((1 + LEVEL) / 2)
    means = np.array(each)[chosen, draws].mean(0)
    error = means[~np.isnan(means)].std() if not np.isnan(means).all() else math.nan
    return mean, float(error * scale * quantile)


def shuffled(pairs: Pairs) -> Relation:
    """Return what is found where each seed's flatnesses are dealt out among its variances.

    The intervals are those that hold 95 % of the means over the seeds.
    """
    generator = numpy_generator("landscape", "shuffled pairs")
    usable = [(x, y) for x, y in pairs if len(x) >= 3]
    if not usable:
        return UNDEFINED
    psi, rho = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for x, y in usable:
        dealt = generator.permuted(np.tile(x, (RESAMPLES, 1)), axis=1)
        level = np.broadcast_to(y, dealt.shape)
        psi -= theil_sen(dealt, level) / len(usable)
        rho += spearman(dealt, level) / len(usable)
    edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    psi_low, psi_high = np.quantile(psi, edges)
    rho_low, rho_high = np.quantile(rho, edges)
    return Relation(
        psi=float(psi.mean()),
        psi_low=float(psi_low),
        psi_high=float(psi_high),
        rho=float(rho.mean()),
        rho_low=float(rho_low),
        rho_high=float(rho_high),
        seeds=len(usable),
        directions=min(len(x) for x, _ in usable),
    )


def pairs_of(
    directions: pd.DataFrame,
    span: tuple[int, int] = RANGES["all"],
    x: str = "flatness",
    y: str = "variance",
) -> list[Any]:
    """Return ln F and ln sigma^2, or of other columns, of each seed in rows of one analysis.

    Directions where either is not a positive number, or that have no wall on one side, are left
    out.
    """
    values = directions[[x, y]]
    real = ((values > 0) & np.isfinite(values)).all(axis=1)
    if "error" in directions:
        real &= np.isfinite(directions["error"])
    rows = directions[directions["index"].between(span[0], span[1] - 1) & real]
    return [
        (np.log(of_seed[x].to_numpy(float)), np.log(of_seed[y].to_numpy(float)))
        for _, of_seed in rows.groupby("seed", sort=True)
    ]


def relations(directions: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row for each source, analysis and range of directions of a `directions` table."""
    rows = []
    for (source, analysis), part in directions.groupby(["source", "analysis"], sort=False):
        for name, span in RANGES.items():
            pairs = pairs_of(part, span)
            where = {"source": str(source), "analysis": str(analysis), "range": name}
            rows.append({**where, **asdict(relation(pairs))})
            if source == "sgd":
                rows.append({**where, "source": "shuffled", **asdict(shuffled(pairs))})
    return rows


def verdict(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """Return whether variance falls with flatness, by `RULE`."""
    found = {(row["source"], row["analysis"], row["range"]): of_row(row) for row in rows}
    own = {key[1:]: value for key, value in found.items() if key[0] == "sgd"}
    nulls = {key: value for key, value in found.items() if key[0] in NULLS}
    if not own or min(value.seeds for value in own.values()) < MIN_SEEDS:
        return Verdict(CLAIM, TOO_FEW, f"fewer than {MIN_SEEDS} seeds")
    if not {"permuted", "random"} <= {key[0] for key in nulls}:
        return Verdict(CLAIM, UNDECIDED, "the nulls were not run")
    shown = [where for where, value in own.items() if value.shown]
    also = {key[1:]: key[0] for key, value in nulls.items() if value.shown and key[1:] in shown}
    counted = [where for where in shown if where not in also]
    reasons = [f"shown by {_named(shown) or 'nothing'}"]
    if against := [where for where, value in own.items() if value.reversed]:
        reasons.append(f"the opposite by {_named(against)}")
    if also:
        nulled = "; ".join(f"{also[where]} ({', '.join(where)})" for where in also)
        reasons.append(f"but nulls show it, too: {nulled}")
    word = PARTLY if counted else UNDECIDED if shown else NOT
    if all((analysis, "all") in counted for analysis, _ in own):
        word = REPRODUCED
    return Verdict(CLAIM, word, "; ".join(reasons))


def _named(where: Sequence[tuple[str, str]]) -> str:
    return "; ".join(", ".join(each) for each in where)


NULLS = ("permuted", "isotropic", "random", "shuffled")
"""Sources of a `directions` table, or of its relations, that must not show the relation."""
RULE = (
    "Reproduced if training shows it over all directions, raw and with the drift removed; partly "
    "if over some range of directions. What a null shows over the same range does not count, and "
    "where nothing else is shown the claim is undecided. To show it is to have an interval of psi "
    "above 0, an interval of rho below 0, and rho of -.5 or less."
)
"""What `verdict` goes by."""
