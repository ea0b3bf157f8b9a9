"""Statistics across seeds against values by hand, and the promises a verdict makes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from cl_bench.metrics import statistics
from cl_bench.metrics.statistics import Interval, holm, mean_interval
from cl_bench.seeding import numpy_generator


def test_holm_by_hand():
    # sorted .005, .01, .03, .04 times 4, 3, 2, 1 is .02, .03, .06, .04; never falling: .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []


def test_holm_does_not_count_what_is_undefined():
    corrected = holm([0.02, np.nan, 0.03])
    assert corrected[[0, 2]] == pytest.approx([0.04, 0.04])
    assert np.isnan(corrected[1])


def test_intervals_are_the_same_each_time_and_lie_around_the_mean():
    values = [0.91, 0.93, 0.90, 0.95, 0.92]
    interval = mean_interval(values)
    assert interval == mean_interval(values)
    assert interval.mean == pytest.approx(0.922)
    assert 0.90 < interval.low < 0.922 < interval.high < 0.95


@pytest.mark.filterwarnings("error")
def test_of_values_that_are_not_finite_no_interval_is_sought():
    for values in ([np.nan] * 5, [1.0, 2.0, np.nan], [1.0, np.inf]):
        found = mean_interval(values)
        assert np.isnan([found.low, found.high]).all()
        assert found.count == len(values)


def test_the_interval_of_a_long_sample_agrees_with_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    half = 1.96 * values.std(ddof=1) / 20
    interval = mean_interval(values)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.01)


def test_degenerate_intervals():
    assert mean_interval([0.9, 0.9, 0.9]) == Interval(0.9, 0.9, 0.9, 3)
    for few in ([], [0.9]):
        interval = mean_interval(few)
        assert np.isnan([interval.low, interval.high]).all()
        assert interval.count == len(few)
    assert np.isnan(mean_interval([]).mean)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_an_interval_is_finite_and_within_the_data(values):
    interval = mean_interval(values)
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9


def test_paired_tests_by_hand():
    # all five differences are positive: two of the 32 sign patterns are as extreme
    a, b = [0.92, 0.95, 0.93, 0.97, 0.91], [0.90, 0.92, 0.92, 0.93, 0.90]
    found = statistics.paired_difference(a, b)
    assert found.interval.mean == pytest.approx(0.022)
    assert found.p_sign_flip == pytest.approx(2 / 32)
    # differences .02 .03 .01 .04 .01: t = .022 / (.0130384 / sqrt 5) = 3.77297, 4 degrees
    assert found.p == pytest.approx(0.0195542, abs=1e-6)


def test_a_difference_has_its_median_and_both_intervals():
    # differences .02 .03 .01 .04 .01: s = .0130384, t(.975, 4) = 2.776445, half = .0161894
    found = statistics.paired_difference(
        [0.92, 0.95, 0.93, 0.97, 0.91], [0.90, 0.92, 0.92, 0.93, 0.90]
    )
    assert found.median == pytest.approx(0.02)
    assert found.deviation == pytest.approx(0.0130384, abs=1e-7)
    assert found.student.low == pytest.approx(0.022 - 0.0161894, abs=1e-6)
    assert found.student.high == pytest.approx(0.022 + 0.0161894, abs=1e-6)
    assert found.student.low < found.interval.low < found.interval.high < found.student.high


def test_intervals_of_five_seeds_cover_what_the_documentation_says():
    """Of normal values: BCa about 85 %, Student's 95 %; of 200 samples within 3 deviations."""
    draws = numpy_generator("coverage").normal(size=(200, 5))
    found = [statistics.paired_difference(sample, np.zeros(5)) for sample in draws]

    def covered(intervals):
        return np.mean([interval.low <= 0 <= interval.high for interval in intervals])

    assert 0.77 < covered(each.interval for each in found) < 0.92
    assert covered(each.student for each in found) > 0.91


def test_the_share_of_seeds_at_which_a_is_above_by_hand():
    # all of 5 above: Clopper and Pearson's lower bound is (.025)^(1/5)
    share = statistics.share_above([0.1, 0.2, 0.3, 0.1, 0.2])
    assert (share.share, share.high) == (1.0, 1.0)
    assert share.low == pytest.approx(0.025**0.2)
    # 2 above, 1 tie, 1 below: bounds of 2 of 4 and of 3 of 4 (tables: .0676 and .9937)
    share = statistics.share_above([0.1, 0.2, 1e-17, -0.3])
    assert share.share == 0.625
    assert share.low == pytest.approx(0.0676, abs=1e-4)
    assert share.high == pytest.approx(0.9937, abs=1e-4)
    assert np.isnan(statistics.share_above([]).share)


def test_pairing_removes_what_the_seeds_share():
    # the seeds differ by 0.03 each, the strategies by 0.01: only pairing shows it
    a = np.array([0.1, 0.4, 0.7, 0.2, 0.9])
    b = a - np.array([0.010, 0.011, 0.009, 0.012, 0.010])
    found = statistics.paired_difference(a, b)
    assert found.interval.low > 0.008
    assert found.p < 0.001


def test_equal_and_shifted_values():
    same = statistics.paired_difference([0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert (same.p, same.p_sign_flip) == (1.0, 1.0)
    assert (same.interval.low, same.interval.high) == (0.0, 0.0)
    with pytest.raises(ValueError, match="cannot be paired"):
        statistics.paired_difference([1.0, 2.0], [1.0])


def test_an_interval_that_leaves_out_zero_is_not_enough():
    interval = Interval(0.01, 0.001, 0.02, 5)
    assert statistics.verdict(interval, 0.2) == "no difference shown"
    assert statistics.verdict(interval, 0.01) == "A higher"
    assert statistics.verdict(Interval(0.01, -0.001, 0.02, 5), 0.01) == "no difference shown"


@pytest.mark.parametrize("seeds", [5, 6, 10])
@pytest.mark.parametrize("images", [None, 50, 10_000])
def test_equal_differences_show_no_more_than_the_number_of_seeds_allows(seeds, images):
    """Equal but for the order of sums, or all but one by the least that so many images can."""
    a = np.linspace(0.5, 0.9, seeds)
    b = a - 0.02
    if images is not None:
        b[2] -= 1 / images
    found = statistics.paired_difference(a, b)
    assert found.p == found.p_sign_flip == pytest.approx(2 / 2**seeds)
    assert (statistics.verdict(found.interval, found.p) == "A higher") == (seeds >= 6)
    assert found.p == pytest.approx(statistics.least_sign_flip_p(seeds))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=2, max_size=9), st.integers(1, 9))
def test_a_spread_of_one_step_is_that_of_rounding(steps, mean):
    delta = (mean + np.array(steps)) / 1000
    assert statistics.paired_difference(delta, np.zeros(len(delta))).p >= 2 / 2 ** len(delta)


def test_a_spread_of_several_steps_is_tested_by_students_t():
    delta = np.array([19, 20, 22, 24, 21]) / 1000
    found = statistics.paired_difference(delta, np.zeros(5))
    assert found.p == pytest.approx(ttest_1samp(delta, 0).pvalue)
    assert found.p < 0.001
    assert found.p_sign_flip == 0.0625


def test_sign_flips_that_tie_are_counted_whatever_the_rounding_of_their_sums():
    """Differences -1, 1, 1 steps and none: every flip is as extreme as what was seen."""
    a = np.array([0.0, 0.0, 0.1 + 0.2, 0.7 + 0.1, 0.9]) + 1e-4 * np.array([0, 0, -1, 1, 1])
    found = statistics.paired_difference(a, np.array([0.0, 0.0, 0.3, 0.8, 0.9]))
    assert (found.p_sign_flip, found.p) == (1.0, 1.0)
