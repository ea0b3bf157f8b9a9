"""Verdicts of noise and annealing on tables whose answer is known, and on a small study."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cl_bench.landscape.annealing_claim import annealing_figures, annealing_verdict
from cl_bench.landscape.claims import (
    noise_relations,
    noise_verdict,
    theory_fit,
)

SEEDS = 5


def noise_table(*, warmth=-2.0, off=1.2, seeds=SEEDS, count=40):
    """Temperature goes as F^warmth; the theory misses the variance by a factor of about `off`."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for analysis in ("raw", "detrended"):
            flatness = np.geomspace(0.5, 8, count) * rng.lognormal(0, 0.05, count)
            temperature = flatness**warmth * rng.lognormal(0, 0.1, count)
            variance = flatness**-3 * rng.lognormal(0, 0.1, count)
            rows.append(
                pd.DataFrame(
                    {
                        "seed": seed,
                        "analysis": analysis,
                        "index": range(count),
                        "variance": variance,
                        "flatness": flatness,
                        "curvature": 8 / flatness**2,
                        "temperature": temperature,
                        "correlation_time": flatness**-1.0,
                        "from_memory": temperature / flatness,
                        "predicted": variance * off * rng.lognormal(0, 0.1, count),
                        "simulated": variance * off * rng.lognormal(0, 0.2, count),
                        "predicted_alike": np.full(count, variance.mean()),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def shown(psi, seeds=SEEDS):
    sign = 1 if psi > 0 else -1
    return {
        "psi": psi,
        "psi_low": psi - 0.1,
        "psi_high": psi + 0.1,
        "rho": -0.9 * sign,
        "rho_low": -0.9 * sign - 0.05,
        "rho_high": -0.9 * sign + 0.05,
        "seeds": seeds,
        "directions": 40,
    }


def walks(psi=4.0):
    where = {"source": "walk", "range": "all"}
    return [{**where, "analysis": a, **shown(psi)} for a in ("raw", "detrended")]


def quadratics(**psi):
    where = {
        "quantity": "variance",
        "sampling": "without",
        "basis": "hessian",
        "range": "all",
    }
    found = {"measured": 2.0, "turned": -1.0, "dealt": -1.0, "white": -1.0, **psi}
    return [{**where, "source": source, **shown(value)} for source, value in found.items()]


def noise_word(table, walked=None, quadratic=()):
    walked = walks() if walked is None else walked
    return noise_verdict(noise_relations(table), theory_fit(table), walked, quadratic)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("walked", "quadratic", "word"),
    [
        (walks(), quadratics(), "reproduced"),
        (walks(-1.0), quadratics(), "not reproduced"),
        (walks(), quadratics(measured=-1.0), "not reproduced"),
        (walks(), quadratics(white=2.0), "not reproduced"),
        (walks(), quadratics(turned=2.0), "not reproduced"),
        ([], quadratics(), "undecided"),
    ],
    ids=["all", "no walk's", "not by its own noise", "by white noise", "by turned noise", "none"],
)
def test_noise_must_suffice_and_only_noise_that_knows_the_landscape(walked, quadratic, word):
    assert noise_word(noise_table(), walked, quadratic).verdict == word


def test_exponents_and_factors_are_those_that_were_put_in():
    table = noise_table(off=3.0)
    relations = pd.DataFrame(noise_relations(table)).query("analysis == 'raw' and range == 'all'")
    psi = relations[~relations["control"]].set_index("quantity")["psi"]
    assert psi["temperature"] == pytest.approx(2, abs=0.05)
    assert psi["curvature"] == pytest.approx(2, abs=1e-6)
    assert psi["from_memory"] == pytest.approx(3, abs=0.05)
    shuffled = relations[relations["control"]].iloc[0]
    assert shuffled["psi_low"] < 0 < shuffled["psi_high"]
    fit = pd.DataFrame(theory_fit(table)).query("analysis == 'raw' and range == 'all'")
    own = fit.set_index("model").loc["predicted"]
    assert own["factor"] == pytest.approx(3, rel=0.03)
    assert own["bias"] == pytest.approx(3, rel=0.03)
    assert own["bias_low"] < own["bias"] < own["bias_high"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "reproduced"),
        ({"off": 4.0}, "partly"),
        ({"warmth": 0.0}, "not reproduced"),
        ({"seeds": 4}, "too few seeds"),
    ],
    ids=str,
)
def test_noise_is_reproduced_where_it_falls_with_flatness_and_the_theory_meets_the_variance(
    changes, word
):
    assert noise_word(noise_table(**changes)).verdict == word


def test_an_optimiser_that_the_theory_is_not_of_can_only_show_the_noise():
    table = noise_table()
    table[["predicted", "predicted_alike", "simulated"]] = np.nan
    found = noise_word(table)
    assert found.verdict == "partly"
    assert "not of this optimiser" in found.reason
    assert noise_verdict([], []).verdict == "undecided"


def annealing_table(*, flatter=1.0, relative=1.0, seeds=SEEDS, quiet=True):
    """Sharpness rises and falls, and temperature with it; F falls, or goes as 1 / sharpness."""
    rng = np.random.default_rng(0)
    loss = np.geomspace(2.3, 0.001, 20)
    rows = []
    for seed in range(seeds):
        for source in ("sgd", "quiet")[: 1 + quiet]:
            scale = flatter if source == "sgd" else 1.0
            sharpness = np.exp(-((np.log(loss) + 1) ** 2)) * scale * rng.lognormal(0, 0.02, 20)
            own = 1 / sharpness
            rows.append(
                pd.DataFrame(
                    {
                        "seed": seed,
                        "source": source,
                        "step": range(20),
                        "loss": loss * rng.lognormal(0, 0.01, 20),
                        "temperature": 0.01 * sharpness,
                        "sharpness": sharpness,
                        "flatness_sharpest": own**relative * loss ** (1 - relative),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"flatter": 0.7}, "reproduced"),
        ({}, "partly"),
        ({"flatter": 0.7, "relative": 0.0}, "partly"),
        ({"flatter": 0.7, "quiet": False}, "undecided"),
        ({"seeds": 4}, "too few seeds"),
    ],
    ids=str,
)
def test_annealing_needs_flatter_places_than_without_noise(changes, word):
    assert annealing_verdict(annealing_figures(annealing_table(**changes))).verdict == word


def test_noise_that_does_not_go_with_sharpness_is_no_annealing():
    table = annealing_table(flatter=0.7)
    table["temperature"] = 1 / table["sharpness"]
    assert annealing_verdict(annealing_figures(table)).verdict == "not reproduced"


def test_figures_say_what_is_left_and_what_differs_at_equal_loss():
    rows = pd.DataFrame(annealing_figures(annealing_table(flatter=0.7)))
    figures = rows[rows["source"] == "sgd"].set_index("figure")["mean"]
    assert figures["sharpness_at_equal_loss"] == pytest.approx(0.7, rel=0.05)
    assert figures["rho_sharpness"] == pytest.approx(1)
    expected = np.exp(-((np.log(0.001) + 1) ** 2))
    assert figures["sharpness_left"] == pytest.approx(expected, rel=0.2)
