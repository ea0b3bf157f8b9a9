"""The relation on made-up points: a known exponent, its interval, and when a verdict is given."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, theilslopes

from cl_bench.landscape import relation


def table(source="sgd", psi=4.0, seeds=5, count=60, noise=0.3):
    """A `directions` table in which ln sigma^2 = -psi ln F + noise, in both analyses."""
    rng = np.random.default_rng(len(source))
    rows = []
    for analysis in ("raw", "detrended"):
        for seed in range(seeds):
            x = rng.uniform(-1, 2, count)
            y = -psi * x + noise * rng.normal(size=count)
            order = np.argsort(-y)
            rows += [
                {
                    "seed": seed,
                    "source": source,
                    "analysis": analysis,
                    "index": index,
                    "variance": np.exp(y[i]),
                    "flatness": np.exp(x[i]),
                    "error": 0.01,
                }
                for index, i in enumerate(order)
            ]
    return pd.DataFrame(rows)


def test_slope_and_rank_correlation_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 20, 50).astype(float), rng.normal(size=50)
    assert relation.theil_sen(x, y) == pytest.approx(theilslopes(y, x).slope)
    assert relation.spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    rows = np.stack([x, x[::-1]])
    both = relation.theil_sen(rows, np.stack([y, y]))
    assert both[1] == pytest.approx(theilslopes(y, x[::-1]).slope)


def test_without_spread_there_is_neither():
    assert np.isnan(relation.theil_sen(np.ones(4), np.arange(4.0)))
    assert np.isnan(relation.spearman(np.ones(4), np.arange(4.0)))


def test_an_outlier_does_not_move_the_exponent():
    x = np.linspace(0, 1, 40)
    y = -4 * x
    y[0] = 50
    assert relation.theil_sen(x, y) == pytest.approx(-4)


@pytest.mark.parametrize("psi", [4.0, 0.0, -2.0])
def test_the_exponent_is_found_and_lies_in_its_interval(psi):
    found = relation.relation(relation.pairs_of(table(psi=psi).query("analysis == 'raw'")))
    assert found.psi == pytest.approx(psi, abs=0.2)
    assert found.psi_low < psi < found.psi_high
    assert found.psi_high - found.psi_low < 1
    assert found.shown == (psi > 0)


def test_the_interval_grows_with_the_differences_between_seeds():
    x = np.linspace(0, 1, 30)
    alike = [(x, -4 * x)] * 5
    apart = [(x, -(4 + d) * x) for d in (-2, -1, 0, 1, 2)]
    assert relation.relation(alike).psi_high == pytest.approx(4)
    found = relation.relation(apart)
    # Student's interval of the five exponents themselves.
    half = 2.776 * np.std([-2, -1, 0, 1, 2], ddof=1) / np.sqrt(5)
    assert found.psi_high - found.psi == pytest.approx(half, rel=0.05)


def test_shuffled_pairs_show_nothing():
    found = relation.shuffled(relation.pairs_of(table().query("analysis == 'raw'")))
    assert found.psi_low < 0 < found.psi_high
    assert found.rho_low < 0 < found.rho_high
    assert not found.shown


def test_a_range_takes_its_directions_only_and_walls_are_needed():
    rows = table(count=30).query("analysis == 'raw'").copy()
    rows.loc[rows["index"] == 3, "error"] = np.inf
    sizes = [len(x) for x, _ in relation.pairs_of(rows, (0, 20))]
    assert sizes == [19] * 5


def verdict_of(*tables):
    return relation.verdict(relation.relations(pd.concat(tables)))


def nulls(psi=0.0):
    return table("permuted", psi=psi), table("random", psi=0.0), table("isotropic", psi=-2.0)


def test_reproduced_where_no_null_shows_it():
    assert verdict_of(table(), *nulls()).verdict == relation.REPRODUCED


def test_a_walk_with_trainings_own_noise_is_no_null():
    found = verdict_of(table(), table("walk"), *nulls())
    assert found.verdict == relation.REPRODUCED
    assert "walk" not in found.reason


def test_what_a_null_shows_does_not_count():
    found = verdict_of(table(), *nulls(psi=4.0))
    assert found.verdict == relation.UNDECIDED
    assert "permuted (raw, all)" in found.reason


def test_partly_where_only_some_range_shows_it():
    own = table(count=40)
    # The leading directions the other way round, and far.
    leading = own["index"] < 20
    own.loc[leading, "flatness"] = own.loc[leading, "flatness"] ** -1 * 1e4
    found = verdict_of(own, *nulls())
    assert found.verdict == relation.PARTLY


def test_not_where_nothing_shows_it():
    found = verdict_of(table(psi=-2.0), *nulls())
    assert found.verdict == relation.NOT
    assert "the opposite by raw, all" in found.reason


def test_no_verdict_without_the_nulls():
    assert verdict_of(table()).verdict == relation.UNDECIDED


def test_no_verdict_on_few_seeds():
    assert verdict_of(table(seeds=4)).verdict == relation.TOO_FEW


def test_the_same_table_gives_the_same_intervals():
    pairs = relation.pairs_of(table())
    assert asdict(relation.relation(pairs)) == asdict(relation.relation(pairs))
