"""Statistics across seeds against values by hand, and the promises a verdict makes."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_bench.errors import UserError
from cl_bench.metrics import statistics
from cl_bench.metrics.statistics import Interval, compare, holm, mean_interval, summarise
from cl_bench.seeding import numpy_generator


def frame(higher=0.0, seeds=6, protocol="p", names=("ewc", "naive"), noise=0.01):
    """Runs of several strategies; each is better than the one before it by `higher`."""
    rows = []
    for place, name in enumerate(names):
        draws = numpy_generator("values", name).normal(scale=noise, size=seeds)
        for seed in range(seeds):
            rows.append(
                {
                    "run_id": f"{protocol}{name}{seed}",
                    "group_id": f"{protocol}{name}",
                    "protocol_id": protocol,
                    "strategy": name,
                    "label": name,
                    "benchmark": "permuted-mnist",
                    "scenario": "domain",
                    "seed": seed,
                    "stream_id": f"stream {seed}",
                    "average_accuracy": 0.5 + 0.03 * seed + place * higher + draws[seed],
                    "forgetting": 0.5 + place * higher + draws[seed],
                }
            )
    return pd.DataFrame(rows)


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


def test_improvement_is_in_the_direction_of_the_metric():
    runs = frame(higher=0.2, seeds=6)
    [row] = compare(runs, "average_accuracy")
    assert (row["a"], row["improvement"], row["improvement_high"]) == ("naive", 1.0, 1.0)
    [row] = compare(runs, "forgetting")  # ewc, which forgets less, is A
    assert (row["a"], row["improvement"], row["improvement_high"]) == ("ewc", 1.0, 1.0)
    assert 0.5 < row["improvement_low"] < 0.6


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


def test_a_winner_is_named_in_the_direction_of_the_metric():
    runs = frame(higher=0.2)
    [row] = compare(runs, "average_accuracy")
    assert (row["a"], row["b"], row["verdict"], row["better"]) == (
        "naive",
        "ewc",
        "A higher",
        "naive",
    )
    [row] = compare(runs, "forgetting")  # more forgetting is worse
    assert (row["a"], row["verdict"], row["better"]) == ("ewc", "B higher", "ewc")


def test_no_winner_is_named_under_five_common_seeds():
    runs = frame(higher=0.2, seeds=5)
    assert compare(runs, "average_accuracy")[0]["verdict"] == "A higher"
    fewer = runs[~((runs.strategy == "ewc") & (runs.seed == 3))]
    [row] = compare(fewer, "average_accuracy")
    assert (row["seeds"], row["verdict"], row["better"]) == (4, "too few seeds", None)


def test_an_interval_that_leaves_out_zero_is_not_enough():
    interval = Interval(0.01, 0.001, 0.02, 5)
    assert statistics.verdict(interval, 0.2) == "no difference shown"
    assert statistics.verdict(interval, 0.01) == "A higher"
    assert statistics.verdict(Interval(0.01, -0.001, 0.02, 5), 0.01) == "no difference shown"


def test_equal_strategies_rarely_make_a_winner():
    named = 0
    for trial in range(20):
        names = tuple(f"{trial}-{k}" for k in range(4))
        rows = compare(frame(names=names, seeds=5), "forgetting")
        named += any(row["better"] for row in rows)
    assert named <= 3  # the intervals alone name one in about 11 of 20


def test_runs_on_different_streams_are_not_paired():
    runs = frame(higher=0.2)
    runs.loc[(runs.strategy == "ewc") & (runs.seed < 2), "stream_id"] = "another"
    assert compare(runs, "average_accuracy")[0]["seeds"] == 4


def test_only_configurations_of_one_protocol_are_compared():
    runs = pd.concat([frame(), frame(protocol="q", names=("ewc", "naive", "si"))])
    rows = compare(runs, "average_accuracy")
    assert [row["protocol_id"] for row in rows] == ["p", "q", "q", "q"]
    alone = compare(frame(), "average_accuracy")
    assert rows[0] == alone[0]  # Holm's correction counts the protocol's own pairs


def test_summaries_rank_the_best_first_and_count_defined_values_only():
    runs = frame(higher=0.2)
    assert [row["label"] for row in summarise(runs, "average_accuracy")] == ["naive", "ewc"]
    assert [row["label"] for row in summarise(runs, "forgetting")] == ["ewc", "naive"]
    runs.loc[runs.strategy == "ewc", "forgetting"] = np.nan
    last = summarise(runs, "forgetting")[-1]
    assert (last["label"], last["seeds"], last["mean"], last["low"]) == ("ewc", 0, None, None)
    [pair] = compare(runs, "forgetting")
    assert (pair["seeds"], pair["verdict"], pair["p_holm"]) == (0, "too few seeds", None)


def test_a_run_that_is_listed_twice_counts_once():
    runs = frame()
    assert summarise(pd.concat([runs, runs]), "forgetting") == summarise(runs, "forgetting")


def test_rows_are_plain_values_and_unknown_metrics_are_refused():
    json.dumps([*summarise(frame(), "forgetting"), *compare(frame(), "forgetting")])
    for function in (summarise, compare):
        assert function(frame().iloc[:0], "forgetting") == []
        with pytest.raises(UserError, match="unknown metric"):
            function(frame(), "loudness")
