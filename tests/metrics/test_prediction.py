"""Prediction of forgetting: what is there is found at its level, what is not is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from cl_bench.metrics import prediction
from cl_bench.metrics.prediction import BETWEEN, PREDICTORS, TARGETS, WITHIN, balanced, predict

STRATEGIES, SEEDS, TASKS = 7, 6, 4


def frame(values, protocol="p"):
    """Return observations of values [G, S, J] by column; columns that are not given are noise."""
    shape = next(iter(values.values())).shape
    rng = np.random.default_rng(0)
    columns = {
        name: values.get(name, rng.normal(size=shape)).ravel() for name in (*PREDICTORS, *TARGETS)
    }
    group, seed, task = (index.ravel() for index in np.indices(shape))
    names = [f"s{g}" for g in group]
    same = {"protocol_id": protocol, "benchmark": "b", "scenario": "domain"}
    ids = {"group_id": names, "strategy": names, "label": names, "seed": seed, "task": task}
    runs = [f"{protocol}-{g}-{s}" for g, s in zip(group, seed, strict=True)]
    return pd.DataFrame({**columns, **ids, "run_id": runs}).assign(**same)


def effects(*axes, scale=1.0, seed=1):
    """Return normal numbers [G, S, J] that vary along these axes alone."""
    shape = [n if axis in axes else 1 for axis, n in enumerate((STRATEGIES, SEEDS, TASKS))]
    drawn = np.random.default_rng([seed, *axes]).normal(size=shape) * scale
    return np.broadcast_to(drawn, (STRATEGIES, SEEDS, TASKS)).copy()


def noise(seed):
    return effects(0, 1, 2, scale=0.05, seed=seed)


def found(rows, predictor, level, target="forgetting"):
    (row,) = [
        r for r in rows if (r["predictor"], r["level"], r["target"]) == (predictor, level, target)
    ]
    return row


@pytest.fixture(scope="module", autouse=True)
def _fewer_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction, "RESAMPLES", 300)
        yield


@pytest.fixture(scope="module")
def rows():
    strategy, seed, position = effects(0), effects(1), effects(2, scale=5)
    return predict(
        frame(
            {
                "forgetting": strategy + 0.5 * seed + position + noise(1),
                "flatness": -strategy + noise(2),
                "sharpness": seed + noise(3),
                "variance": position + noise(4),
                "trace": np.zeros((STRATEGIES, SEEDS, TASKS)),
            }
        )
    )


def test_what_differs_between_strategies_predicts_between_them_alone(rows):
    between = found(rows, "flatness", BETWEEN)
    assert (between["verdict"], between["correlation"] < -0.9) == ("predicts", True)
    assert between["low"] <= between["correlation"] <= between["high"] < 0
    assert found(rows, "flatness", WITHIN)["verdict"] == "does not"


def test_what_differs_between_seeds_predicts_within_strategies_alone(rows):
    within = found(rows, "sharpness", WITHIN)
    assert (within["verdict"], within["correlation"] > 0.8) == ("predicts", True)
    assert found(rows, "sharpness", BETWEEN)["verdict"] == "does not"


def test_what_goes_with_the_tasks_position_alone_predicts_nothing(rows):
    pooled = found(rows, "variance", prediction.POOLED)
    assert pooled["correlation"] > 0.8
    assert pooled["low"] > 0
    assert [found(rows, "variance", level)["verdict"] for level in prediction.LEVELS] == [
        "does not"
    ] * 3


def test_a_predictor_that_does_not_vary_has_no_correlation(rows):
    row = found(rows, "trace", WITHIN)
    assert np.isnan([row["correlation"], row["low"], row["p"], row["p_holm"]]).all()
    assert row["verdict"] == "does not"


def test_every_predictor_target_and_level_has_a_row(rows):
    names = {(row["target"], row["level"], row["predictor"]) for row in rows}
    assert len(names) == len(rows) == len(TARGETS) * len(prediction.LEVELS) * len(PREDICTORS)
    assert {(row["strategies"], row["seeds"]) for row in rows} == {(STRATEGIES, SEEDS)}


def test_correlations_are_spearmans():
    x, y = effects(0, 1, 2, seed=5), effects(0, 1, 2, seed=6)
    rows = predict(frame({"loss": x, "growth": y}))
    means = x.mean(1), y.mean(1)
    by_hand = {
        prediction.POOLED: spearmanr(x.ravel(), y.ravel())[0],
        BETWEEN: np.mean([spearmanr(means[0][:, j], means[1][:, j])[0] for j in range(TASKS)]),
        WITHIN: np.mean(
            [spearmanr(x[g, :, j], y[g, :, j])[0] for g in range(STRATEGIES) for j in range(TASKS)]
        ),
    }
    for level, expected in by_hand.items():
        assert found(rows, "loss", level, "growth")["correlation"] == pytest.approx(expected)


def test_what_a_seed_does_to_all_strategies_alike_is_no_evidence():
    """168 observations, yet six seeds: shuffling each alone would find something nearly always."""
    p_values, verdicts = [], []
    for trial in range(4):
        values = {
            name: effects(1, seed=100 * trial + number) + noise(number)
            for number, name in enumerate((*PREDICTORS, "forgetting"))
        }
        rows = [row for row in predict(frame(values)) if row["level"] == WITHIN]
        rows = [row for row in rows if row["target"] == "forgetting"]
        p_values += [row["p"] for row in rows]
        verdicts += [row["verdict"] for row in rows]
    assert np.mean(np.array(p_values) < 0.05) < 0.2
    assert set(verdicts) == {"does not"}


@pytest.mark.parametrize(
    ("strategies", "seeds", "expected"),
    [
        (7, 4, {"too few seeds"}),
        (7, 5, {"does not", "too few seeds"}),
        (3, 6, {"does not", "too few strategies"}),
    ],
)
def test_too_few_to_show_anything_is_said_so(strategies, seeds, expected):
    rows = predict(frame({"loss": effects(0, 1, 2)[:strategies, :seeds]}))
    assert {row["verdict"] for row in rows} == expected


def test_only_seeds_that_all_configurations_have_are_compared():
    values = effects(0, 1, 2)
    values[1, 2, 0] = np.nan  # one run diverged
    values[5] = np.inf  # a configuration that always does
    whole = frame({"loss": values})
    missing = whole[whole["run_id"] != "p-3-4"]
    other = frame({"loss": effects(0, 1, 2)}, protocol="q")
    kept = balanced(pd.concat([missing, other]))
    of_p = kept[kept["protocol_id"] == "p"]
    assert set(of_p["group_id"]) == {"s0", "s1", "s2", "s3", "s4", "s6"}
    assert set(of_p["seed"]) == {0, 1, 3, 5}
    assert len(of_p) == 6 * 4 * TASKS
    assert len(kept) - len(of_p) == len(other)


def test_observations_are_taken_right_after_a_task_and_after_the_last():
    names = ("protocol_id", "benchmark", "scenario", "group_id", "strategy", "label", "run_id")
    run = dict.fromkeys(names, "r") | {"seed": 0}
    accuracy = [(0, 0, 0.9), (0, 1, 0.1), (1, 0, 0.8), (1, 1, 0.7), (2, 0, 0.6), (2, 1, 0.65)]
    accuracy += [(2, 2, 0.95), (-1, 0, 0.1)]
    own = {"sharpness": 3.0, "trace": 5.0, "flatness": 7.0, "flatness_sharpest": 8.0}
    own["variance"] = 9.0
    past = {"distance": 2.0, "quadratic": 0.3}
    landscape = [
        {"after_task": after, "task": task, "loss": loss, **(own if after == task else past)}
        for after, task, loss in [
            *[(0, 0, 0.1), (1, 0, 0.4), (1, 1, 0.2)],
            *[(2, 0, 0.9), (2, 1, 0.25), (2, 2, 0.3)],
        ]
    ]
    found = prediction.observations(
        pd.DataFrame(accuracy, columns=["after_task", "task", "accuracy"]).assign(**run),
        pd.DataFrame(landscape).assign(**run),
    ).set_index("task")
    assert found.index.tolist() == [0, 1]
    assert found["forgetting"].tolist() == pytest.approx([0.3, 0.05])
    assert found["growth"].tolist() == pytest.approx([0.8, 0.05])
    assert found["loss"].tolist() == [0.1, 0.2]
    assert found["bound"].tolist() == [6.0, 6.0]
    assert found.loc[0, [*own, *past]].to_dict() == {**own, **past}
