"""What a tracker is told of a run: values by hand, names that sort, one x axis a row."""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import numpy as np
import pytest

from cl_bench.metrics import METRICS
from cl_bench.results.figures import compute
from cl_bench.tracking.replay import AXES, SAMPLES_SEEN, TASKS_SEEN, replay
from tests.support import landscape_frame, make_record

MATRIX = [[0.9, 0.1, np.nan], [0.8, 0.95, 0.2], [0.7, 0.9, 0.96]]


def task_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if TASKS_SEEN in row]


def test_rows_over_tasks_are_the_matrix_below_its_diagonal():
    rows = task_rows(replay(make_record(matrix=MATRIX)).rows)
    assert [row[TASKS_SEEN] for row in rows] == [1, 2, 3]
    assert [row["average_accuracy"] for row in rows] == pytest.approx([0.9, 0.875, 2.56 / 3])
    assert "forgetting" not in rows[0]
    assert [row["forgetting"] for row in rows[1:]] == pytest.approx([0.1, 0.125])
    for after, row in enumerate(rows):
        seen = [row.get(f"accuracy/task_{task:02d}") for task in range(3)]
        assert seen == MATRIX[after][: after + 1] + [None] * (2 - after)


def test_rows_over_samples_are_the_curve_and_come_before_the_end_of_their_task():
    curve = [(0, 5, 0, 0.5), (1, 5, 0, 0.6), (1, 5, 1, 0.4), (1, 9, 0, 0.7), (1, 9, 1, 0.8)]
    rows = replay(make_record(matrix=[[0.9], [0.8, 0.95]], curve=curve)).rows
    assert [row.get(SAMPLES_SEEN) for row in rows] == [5 * 64, None, 60_320, 60_576, None]
    assert rows[0] == {SAMPLES_SEEN: 320, "curve/task_00": 0.5, "curve/loss_task_00": 0.5}
    assert (rows[3]["curve/task_00"], rows[3]["curve/task_01"]) == (0.7, 0.8)


def test_the_landscape_goes_with_the_task_after_which_it_was_measured():
    record = make_record(matrix=MATRIX)
    record.landscape = landscape_frame(tasks=3)
    table = record.landscape.set_index(["after_task", "task"])
    rows = task_rows(replay(record).rows)
    assert rows[2]["landscape/quadratic/task_01"] == table.loc[(2, 1), "quadratic"]
    assert "landscape/sharpness/task_01" not in rows[2]
    assert rows[2]["landscape/sharpness/task_02"] == table.loc[(2, 2), "sharpness"]
    told = [name for row in rows for name in row if name.startswith("landscape/")]
    assert len(told) == table.notna().sum().sum()
    assert all(fnmatch.fnmatch(name, "landscape/*") for name in told)
    assert AXES["landscape/*"] == TASKS_SEEN


def test_every_value_has_the_x_axis_of_its_row():
    agnostic = [[0.9, 0.1, np.nan], [0.4, 0.9, 0.1], [0.3, 0.2, 0.9]]
    rows = replay(make_record(matrix=MATRIX, agnostic=agnostic)).rows
    assert task_rows(rows)[1]["accuracy_agnostic/task_00"] == 0.4
    for row in rows:
        (axis,) = {TASKS_SEEN, SAMPLES_SEEN} & set(row)
        for name in set(row) - {axis}:
            assert [a for glob, a in AXES.items() if fnmatch.fnmatch(name, glob)] == [axis]


def test_task_agnostic_accuracy_is_left_out_where_it_is_the_same():
    assert not [k for row in replay(make_record()).rows for k in row if "agnostic" in k]


@pytest.mark.parametrize("tasks, last", [(3, "task_02"), (12, "task_11"), (101, "task_100")])
def test_task_names_sort_like_the_tasks(tasks: int, last: str):
    row = replay(make_record(matrix=np.full((tasks, tasks), 0.5))).rows[-1]
    names = [name for name in row if name.startswith("accuracy/")]
    assert names == sorted(names)
    assert names[-1] == f"accuracy/{last}"


def test_summary_is_every_metric_and_the_cost_without_what_is_nan():
    record = make_record(matrix=MATRIX)
    summary = replay(record).summary
    figures = {name: value for name, value in compute(record).items() if not np.isnan(value)}
    assert figures.items() <= summary.items()
    assert "intransigence" not in summary  # there is no joint run to compare with
    assert summary["cost/seconds/train"] == record.cost["seconds"]["train"]
    assert summary["accuracy/task_00"] == 0.7


def test_a_diverged_run_is_flagged_and_has_no_metric():
    assert replay(make_record()).summary["diverged"] is False
    record = make_record()
    record.weights["layers.0.bias"][0] = np.nan
    told = replay(record)
    assert told.summary["diverged"] is True
    assert not {*METRICS} & {*told.summary, *(name for row in told.rows for name in row)}


def test_seeds_share_a_group_and_settings_do_not():
    one, other = replay(make_record(seed=0)), replay(make_record(seed=1))
    stronger = replay(make_record(seed=0, settings={"strength": 2.0}))
    assert one.group == other.group != stronger.group
    assert len({one.run_id, other.run_id, stronger.run_id}) == 3
    assert one.tags == ("permuted-mnist", "domain-incremental")


def test_config_holds_settings_and_provenance_and_all_is_json():
    record = make_record(settings={"strength": 2.0})
    told = replay(record)
    assert told.config["strategy"]["settings"] == {"strength": 2.0}
    assert told.config["provenance"] == record.provenance
    json.dumps([told.config, told.summary, told.rows], allow_nan=False)
