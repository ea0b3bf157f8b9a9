"""Every metric against values computed by hand; each test names the definition it checks."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cl_bench import metrics
from cl_bench.errors import UserError
from cl_bench.results.figures import compute
from tests.support import make_record

TRIANGLE = [[0.95], [0.97, 0.94], [0.98, 0.90, 0.93]]
FULL = [[0.90, 0.20], [0.80, 0.85, 0.30], [0.70, 0.75, 0.95]]
AGNOSTIC = [[0.90, 0.0], [0.60, 0.85, 0.0], [0.30, 0.45, 0.90]]
INITIAL = [0.10, 0.12, 0.08]
# (training_task, step, task, accuracy): task 0 dips to .50 in task 1, task 1 to .40 in task 2
DIPS = [
    (0, 1, 0, 0.30),
    (1, 1, 0, 0.50),
    (1, 9, 0, 0.79),
    (1, 1, 1, 0.20),
    (2, 1, 0, 0.66),
    (2, 1, 1, 0.40),
    (2, 1, 2, 0.10),
]


def full(**changes):
    values = {"matrix": FULL, "initial": INITIAL, "agnostic": AGNOSTIC, "curve": DIPS}
    return compute(make_record(**{**values, **changes}))


def approx(value):
    return pytest.approx(value, abs=1e-12)


def test_average_accuracy_is_the_mean_of_the_last_row():
    assert full()["average_accuracy"] == approx((0.70 + 0.75 + 0.95) / 3)


def test_average_accuracy_agnostic_is_the_same_with_all_outputs_competing():
    assert full()["average_accuracy_agnostic"] == approx((0.30 + 0.45 + 0.90) / 3)


def test_average_incremental_accuracy_averages_over_the_tasks_seen_at_each_time():
    expected = (0.90 + (0.80 + 0.85) / 2 + (0.70 + 0.75 + 0.95) / 3) / 3
    assert full()["average_incremental_accuracy"] == approx(expected)


def test_forgetting_is_chaudhrys_best_earlier_row_less_the_last():
    # task 0: .97 - .98 = -.01; task 1: .94 - .90 = .04; the last task is left out
    record = make_record(matrix=TRIANGLE)
    run = metrics.evaluations(record.accuracy)
    assert metrics.forgetting_by_task(run) == approx(np.array([-0.01, 0.04]))
    assert compute(record)["forgetting"] == approx(0.015)


def test_forgetting_counts_from_the_task_itself_on_as_chaudhrys_code_does():
    # task 1 did best before it was learnt (.70): nothing that could be forgotten
    matrix = [[0.9, 0.7], [0.9, 0.6, 0.1], [0.9, 0.5, 0.8]]
    assert full(matrix=matrix)["forgetting"] == approx((0.0 + (0.6 - 0.5)) / 2)


def test_forgetting_by_task_on_four_tasks_by_hand():
    matrix = [
        [0.90, 0.99, 0.10, 0.10],
        [0.95, 0.80, 0.99, 0.10],
        [0.85, 0.82, 0.70, 0.99],
        [0.80, 0.60, 0.75, 0.90],
    ]
    run = metrics.evaluations(make_record(matrix=matrix).accuracy)
    # task 0: max(.90, .95, .85) - .80; task 1: max(.80, .82) - .60; task 2: .70 - .75
    assert metrics.forgetting_by_task(run) == approx(np.array([0.15, 0.22, -0.05]))
    assert metrics.METRICS["forgetting"].function(run) == approx((0.15 + 0.22 - 0.05) / 3)


def test_forgetting_of_two_tasks_is_the_diagonal_less_the_last():
    assert full(matrix=[[0.9, 0.95], [0.7, 0.8]], initial=[0.1, 0.1], agnostic=None, curve=[])[
        "forgetting"
    ] == approx(0.2)


def test_forgetting_does_not_count_the_untrained_network():
    assert full(initial=[1.0, 1.0, 1.0])["forgetting"] == full()["forgetting"]


def test_backward_transfer_is_lopez_paz_last_row_less_diagonal():
    assert full()["backward_transfer"] == approx(((0.70 - 0.90) + (0.75 - 0.85)) / 2)


def test_forward_transfer_is_lopez_paz_superdiagonal_less_the_untrained_network():
    assert full()["forward_transfer"] == approx(((0.20 - 0.12) + (0.30 - 0.08)) / 2)


def test_learning_accuracy_is_riemers_mean_of_the_diagonal():
    assert full()["learning_accuracy"] == approx((0.90 + 0.85 + 0.95) / 3)


def test_intransigence_is_chaudhrys_joint_reference_less_the_diagonal():
    joint = make_record("joint", matrix=[[0.92], [0.9, 0.91], [0.9, 0.9, 0.94]])
    record = make_record(matrix=FULL)
    assert compute(record, joint)["intransigence"] == approx((0.02 + 0.06 - 0.01) / 3)
    run = metrics.evaluations(record.accuracy, reference=np.array([0.92, 0.91, 0.94]))
    assert metrics.intransigence_by_task(run) == approx(np.array([0.02, 0.06, -0.01]))


def test_intransigence_is_undefined_without_a_joint_run_and_refuses_a_foreign_one():
    assert np.isnan(full()["intransigence"])
    with pytest.raises(ValueError, match="another protocol or seed"):
        compute(make_record(seed=0), make_record("joint", seed=1))


def test_min_acc_is_de_langes_mean_of_the_lowest_accuracy_after_learning():
    assert full()["min_acc"] == approx((0.50 + 0.40) / 2)


def test_min_acc_counts_the_evaluations_at_the_ends_of_tasks():
    shallow = [(t, s, j, max(v, 0.9) if t > j else v) for t, s, j, v in DIPS]
    assert full(curve=shallow)["min_acc"] == approx((0.70 + 0.75) / 2)


def test_min_acc_does_not_count_the_task_while_it_is_learnt():
    improving = [[0.5], [0.8, 0.9]]
    curve = [(0, 1, 0, 0.1), (1, 1, 0, 0.7)]
    values = compute(make_record(matrix=improving, curve=curve))
    assert values["min_acc"] == approx(0.7)


def test_wc_acc_is_de_langes_mix_of_the_last_task_and_min_acc():
    assert full()["wc_acc"] == approx(0.95 / 3 + (1 - 1 / 3) * 0.45)


def test_the_stability_gap_is_undefined_where_nothing_was_evaluated_during_training():
    only_task_0 = [row for row in DIPS if row[2] == 0]
    for curve in ([], only_task_0):
        assert np.isnan(full(curve=curve)["min_acc"])
        assert np.isnan(full(curve=curve)["wc_acc"])


def test_a_single_task_has_accuracies_but_no_forgetting_and_no_transfer():
    values = compute(make_record(matrix=[[0.9]]))
    defined = {name for name, value in values.items() if not np.isnan(value)}
    assert defined == {
        "average_accuracy",
        "average_accuracy_agnostic",
        "average_incremental_accuracy",
        "learning_accuracy",
        "wc_acc",
    }
    assert all(values[name] == 0.9 for name in defined)


def test_matrix_leaves_nan_where_nothing_was_evaluated():
    record = make_record(matrix=FULL, initial=INITIAL)
    a, initial = metrics.matrix(record.accuracy)
    assert initial.tolist() == INITIAL
    assert np.isnan(a[0, 2])
    assert a[1].tolist() == FULL[1]
    again, _ = metrics.matrix(record.accuracy.sample(frac=1, random_state=0))
    np.testing.assert_array_equal(a, again)


def test_the_table_describes_every_metric_that_is_computed():
    assert list(full()) == metrics.names() == list(metrics.METRICS)
    for name, metric in metrics.METRICS.items():
        assert metric.name == name
        assert metric.title and metric.definition and metric.source and metric.unit
    assert {m.name for m in metrics.METRICS.values() if not m.higher_is_better} == {
        "forgetting",
        "intransigence",
    }
    with pytest.raises(UserError, match="did you mean forgetting"):
        metrics.lookup("forgeting")


def test_listing_metrics_imports_neither_pandas_nor_torch():
    code = "import sys, cl_bench.metrics as m; m.names(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "pydantic", "scipy", "torch"} & set(done.stdout.split())


@given(arrays(float, (4, 4), elements=st.floats(0, 1)))
def test_relations_that_hold_for_every_matrix(matrix):
    record = make_record(matrix=matrix)
    values = compute(record)
    # the best earlier row is at least the diagonal, so forgetting is at least -BWT
    assert values["forgetting"] >= -values["backward_transfer"] - 1e-9
    # average accuracy = learning accuracy + (T-1)/T BWT
    mixed = values["learning_accuracy"] + 0.75 * values["backward_transfer"]
    assert values["average_accuracy"] == pytest.approx(mixed, abs=1e-9)
    assert values["wc_acc"] <= values["average_accuracy"] + 1e-9
