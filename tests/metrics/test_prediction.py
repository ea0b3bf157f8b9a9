"""Whether the landscape predicts forgetting, on tables where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from cl_bench.metrics.prediction import (
    BETWEEN,
    POOLED,
    PREDICTORS,
    WITHIN,
    balanced,
    observations,
    predict,
)


def runs(*, strategies=7, seeds=6, tasks=4, between=1.0, within=1.0):
    """Accuracy and landscape tables in which sharpness predicts forgetting, by so much each way."""
    rng = np.random.default_rng(0)
    accuracy, landscape = [], []
    for s in range(strategies):
        for seed in range(seeds):
            where = {
                **dict.fromkeys(("protocol_id", "benchmark", "scenario"), "p"),
                "group_id": f"g{s}",
                "strategy": f"s{s}",
                "label": f"s{s}",
                "run_id": f"r{s}-{seed}",
                "seed": seed,
            }
            for task in range(tasks):
                own, common = rng.normal(), float(s)
                sharpness = np.exp(common + own)
                lost = 0.01 * (tasks - task) * (3 + between * common / 7 + within * own / 3)
                lost += rng.normal() * 1e-4
                accuracy.append({**where, "after_task": task, "task": task, "accuracy": 0.9})
                last = {"after_task": tasks - 1, "task": task, "accuracy": 0.9 - lost}
                if task < tasks - 1:
                    accuracy.append({**where, **last})
                at = {name: rng.lognormal() for name in PREDICTORS if name not in ("bound",)}
                at |= {"sharpness": sharpness, "distance": np.nan, "quadratic": np.nan}
                landscape.append({**where, "after_task": task, "task": task, **at})
                if task < tasks - 1:
                    end = {"loss": rng.lognormal(), "distance": 1.0, "quadratic": rng.normal()}
                    landscape.append({**where, "after_task": tasks - 1, "task": task, **end})
    return pd.DataFrame(accuracy), pd.DataFrame(landscape)


def verdicts(**changes):
    rows = pd.DataFrame(predict(balanced(observations(*runs(**changes)))))
    return rows[rows["target"] == "forgetting"].set_index(["level", "predictor"])


def test_a_row_has_what_was_measured_at_the_minimum_and_what_came_of_it():
    accuracy, landscape = runs()
    found = observations(accuracy, landscape)
    row = found[(found["run_id"] == "r2-1") & (found["task"] == 1)].iloc[0]
    own = landscape.query("run_id == 'r2-1' and task == 1 and after_task == 1").iloc[0]
    end = landscape.query("run_id == 'r2-1' and task == 1 and after_task == 3").iloc[0]
    last = accuracy.query("run_id == 'r2-1' and task == 1 and after_task == 3").iloc[0]
    assert row["forgetting"] == pytest.approx(0.9 - last["accuracy"])
    assert row["growth"] == pytest.approx(end["loss"] - own["loss"])
    assert row["bound"] == pytest.approx(own["sharpness"] / 2)
    assert set(found["task"]) == {0, 1, 2}  # nothing can be said of the last


def test_what_predicts_is_found_at_the_level_where_it_does():
    both = verdicts()
    assert both["verdict"][BETWEEN, "sharpness"] == "predicts"
    assert both["verdict"][WITHIN, "sharpness"] == "predicts"
    assert both["verdict"][WITHIN, "trace"] == "does not"
    only_within = verdicts(between=0.0)
    assert only_within["verdict"][WITHIN, "sharpness"] == "predicts"
    assert only_within["verdict"][BETWEEN, "sharpness"] == "does not"
    only_between = verdicts(within=0.0)
    assert only_between["verdict"][BETWEEN, "sharpness"] == "predicts"
    assert only_between["verdict"][WITHIN, "sharpness"] == "does not"


def test_pooled_is_the_plain_rank_correlation():
    found = observations(*runs())
    row = verdicts().loc[POOLED, "sharpness"]
    assert row["correlation"] == pytest.approx(
        spearmanr(found["sharpness"], found["forgetting"]).statistic
    )
    assert row["low"] < row["correlation"] < row["high"]


def test_too_few_are_named_and_get_no_verdict():
    assert (verdicts(seeds=4)["verdict"] == "too few seeds").all()
    few = verdicts(strategies=3)
    assert (few["verdict"].loc[BETWEEN] == "too few strategies").all()
    assert few["verdict"][WITHIN, "sharpness"] in ("predicts", "does not", "too few seeds")


def test_only_seeds_that_all_strategies_have_count_and_runs_that_diverged_do_not():
    accuracy, landscape = runs()
    landscape.loc[landscape["run_id"] == "r3-2", "loss"] = np.inf
    kept = balanced(observations(accuracy[accuracy["run_id"] != "r0-4"], landscape))
    assert set(kept["seed"]) == {0, 1, 3, 5}
    assert kept["group_id"].nunique() == 7
