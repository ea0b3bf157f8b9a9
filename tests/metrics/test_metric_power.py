"""Power of the paired comparison against published tables and simulated tests."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from cl_bench.metrics.power import detectable, power, seeds_needed
from cl_bench.seeding import numpy_generator


@pytest.mark.parametrize(
    ("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10), (1.5, 6), (3.0, 5)]
)
def test_seeds_needed_are_those_of_published_tables(effect, seeds):
    """Cohen 1988 and G*Power: paired t-test, two-sided, .05, power .8; ours are never under 5."""
    assert seeds_needed(effect * 0.01, 0.01) == seeds
    assert seeds_needed(-effect * 0.01, 0.01) == seeds


def test_power_is_the_share_of_simulated_tests_that_show_the_difference():
    draws = numpy_generator("power").normal(0.02, 0.02, size=(20_000, 8))
    shown = float((ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean())
    assert power(0.02, 0.02, 8) == pytest.approx(shown, abs=0.01)


@pytest.mark.parametrize("seeds", [5, 10, 200])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 435])
def test_what_can_be_detected_is_shown_with_80_percent_power(seeds, alpha):
    smallest = detectable(0.01, seeds, alpha)
    assert power(smallest, 0.01, seeds, alpha) == pytest.approx(0.8)
    assert seeds_needed(smallest * 1.000001, 0.01, alpha) == seeds


def test_power_rises_to_1_and_starts_at_the_error_rate():
    values = [power(d, 1.0, 5, 0.01) for d in (0, 0.5, 1, 2, 5, 10, 100, 1e9)]
    assert values[0] == pytest.approx(0.01)
    assert values == sorted(values)
    assert values[-1] == 1.0


def test_what_is_not_defined():
    assert np.isnan(power(0.1, 0.1, 1))
    assert np.isnan(power(0.1, float("nan"), 5))
    assert np.isnan(detectable(0.1, 4))  # no winner is named under five seeds
    assert seeds_needed(1e-6, 1.0) is None
    assert seeds_needed(0.1, float("nan")) is None


def test_differences_that_do_not_vary_are_shown_from_six_seeds_on():
    """Of two configurations; the sign-flip test of five seeds cannot fall below .0625."""
    assert [power(0.1, 0.0, seeds) for seeds in (5, 6)] == [0, 1]
    assert power(0.0, 0.0, 6) == 0
    assert seeds_needed(0.1, 0.0) == 6
    assert seeds_needed(0.1, 0.0, 0.05 / 36) == 11
    assert np.isnan(detectable(0.0, 5))
    assert detectable(0.0, 6) == 0
