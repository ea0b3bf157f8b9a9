"""Configurations side by side: who is named the winner of what, and when nobody is."""

import json

import numpy as np
import pandas as pd
import pytest

from cl_bench.errors import UserError
from cl_bench.metrics.comparison import compare, summarise
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


def test_improvement_is_in_the_direction_of_the_metric():
    runs = frame(higher=0.2, seeds=6)
    [row] = compare(runs, "average_accuracy")
    assert (row["a"], row["improvement"], row["improvement_high"]) == ("naive", 1.0, 1.0)
    [row] = compare(runs, "forgetting")  # ewc, which forgets less, is A
    assert (row["a"], row["improvement"], row["improvement_high"]) == ("ewc", 1.0, 1.0)
    assert row["improvement_low"] is not None
    assert 0.5 < row["improvement_low"] < 0.6


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


def test_equal_differences_of_five_seeds_make_no_winner_and_of_ten_do():
    runs = frame(names=("ewc", "naive"), seeds=5, higher=0.0, noise=0.0)
    runs.loc[runs.strategy == "naive", "average_accuracy"] += 0.02
    [row] = compare(runs, "average_accuracy")
    assert (row["p"], row["p_holm"], row["p_sign_flip"]) == (0.0625, 0.0625, 0.0625)
    assert row["low"] is not None
    assert (row["low"] > 0, row["verdict"], row["better"]) == (True, "no difference shown", None)
    runs = frame(names=("ewc", "naive"), seeds=10, noise=0.0)
    runs.loc[runs.strategy == "naive", "average_accuracy"] += 0.02
    [row] = compare(runs, "average_accuracy")
    assert (row["p_holm"], row["better"]) == (pytest.approx(2 / 1024), "naive")
