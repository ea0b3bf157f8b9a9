"""Trade-offs of stored records: their points, curves, tables and pictures."""

import shutil
from typing import Any

import pytest

from cl_bench.errors import UserError
from cl_bench.metrics.frontier import DOMINATED, ON_SET
from cl_bench.report import frontier, frontier_picture, frontier_tables
from cl_bench.report.frontier_curves import curves, scores
from cl_bench.results.store import RunStore
from cl_bench.seeding import numpy_generator
from tests.support import make_record

ERRORS = ("old_error", "new_error")


def two_tasks(strategy, seed, old, new, cost=None, **changes):
    """A run that ends with these errors on the old and the new task."""
    own = numpy_generator("wobble", strategy, str(old), str(new)).permutation(5) - 2
    wobble = (seed * 7 % 5 - 2) / 1000 + int(own[seed % 5]) / 5000
    matrix = [[0.98, 0.5], [1 - old + wobble, 1 - new - wobble / 3]]
    record = make_record(strategy, seed, matrix, **changes)
    changed: Any = {**record.cost, **(cost or {})}
    record.cost = changed
    return record


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """EWC and L2 at three strengths each, five seeds; EWC is better throughout."""
    folder = tmp_path_factory.mktemp("runs")
    store = RunStore(folder)
    for seed in range(5):
        for strength, old, new in ((1, 0.3, 0.02), (10, 0.1, 0.05), (100, 0.05, 0.3)):
            given = {"strength": float(strength), "form": "implicit"}
            store.write(two_tasks("ewc", seed, old, new, settings=given))
            store.write(two_tasks("l2", seed, old + 0.1, new + 0.1, settings=given))
        free = {"bytes_kept": 0}
        store.write(two_tasks("naive", seed, 0.6, 0.01, free))
        store.write(two_tasks("joint", seed, 0.01, 0.01, free))
    return folder


@pytest.fixture
def more(stored, tmp_path):
    """The same, to add to."""
    return shutil.copytree(stored, tmp_path / "more")


def errors(folder, along=None, **choice):
    front = frontier.front(frontier.read(folder, **choice), *ERRORS, references={"joint"})
    return front, curves(front.points, along)


def test_points_have_errors_and_the_pareto_set_is_theirs(stored):
    front, _ = errors(stored)
    verdicts = {
        point.label: standing.verdict
        for point, standing in zip(front.points, front.standings, strict=True)
    }
    assert verdicts.pop("naive") == ON_SET
    assert {verdicts[f"ewc (strength={k})"] for k in (1, 10, 100)} == {ON_SET}
    assert {verdicts[f"l2 (strength={k})"] for k in (1, 10, 100)} == {DOMINATED}
    weakest = next(point for point in front.points if point.label == "ewc (strength=1)")
    assert weakest.x.mean == pytest.approx(0.3)
    assert weakest.x.low < 0.3 < weakest.x.high


def test_a_reference_is_shown_but_does_not_compete(stored):
    front, _ = errors(stored)
    assert [point.label for point in front.references] == ["joint"]
    rows = frontier_tables.configurations(front)
    assert {row["label"]: row["verdict"] for row in rows}["joint"] == "reference"
    alone = frontier.front(frontier.read(stored), *ERRORS)
    on = [p for p, s in zip(alone.points, alone.standings, strict=True) if s.verdict == ON_SET]
    assert "joint" in [point.label for point in on]
    assert "ewc (strength=10)" not in [point.label for point in on]


def test_a_curve_runs_along_the_setting_that_varies(stored):
    _, found = errors(stored)
    by_label = {curve.label: curve for curve in found}
    assert list(by_label) == ["ewc", "l2", "naive"]
    assert by_label["ewc"].along == "strength"
    assert [point.settings["strength"] for point in by_label["ewc"].points] == [1, 10, 100]
    assert by_label["naive"].along is None


def test_several_settings_that_vary_are_named_and_one_can_be_chosen(more):
    for seed in range(5):
        given = {"strength": 10.0, "form": "implicit", "every": 5}
        RunStore(more).write(two_tasks("ewc", seed, 0.2, 0.2, settings=given))
        given = {"strength": 1.0, "form": "implicit", "every": 1}
        RunStore(more).write(two_tasks("ewc", seed, 0.2, 0.3, settings=given))
    # a setting that the older runs do not have is not a number of all
    front, older = errors(more, strategies=["ewc"])
    assert sorted(curve.label for curve in older) == ["ewc", "ewc (every=1)", "ewc (every=5)"]
    newer = [point for point in front.points if "every" in point.settings]
    with pytest.raises(UserError, match=r"ewc differs in strength, every: .*--along"):
        curves(newer)
    for seed in range(5):
        given = {"strength": 10.0, "form": "implicit", "every": 1}
        RunStore(more).write(two_tasks("ewc", seed, 0.1, 0.4, settings=given))
    front, _ = errors(more, "strength", strategies=["ewc"])
    newer = [point for point in front.points if "every" in point.settings]
    found = {curve.label: curve for curve in curves(newer, "strength")}
    assert list(found) == ["ewc (every=1)", "ewc (every=5)"]
    assert [point.settings["strength"] for point in found["ewc (every=1)"].points] == [1, 10]
    assert found["ewc (every=5)"].along is None  # a single configuration
    with pytest.raises(UserError, match=r"--along.*did you mean strength"):
        curves(newer, "strenth")


def test_curves_are_scored_and_paired_by_seed(stored):
    _, found = errors(stored)
    scored = scores(found, (1.0, 1.0))
    assert [score.curve.label for score in scored] == ["ewc", "l2", "naive"]
    ewc, l2, _ = frontier_tables.score_rows(scored)
    assert ewc["least_sum"] == pytest.approx(0.15)
    assert ewc["at"] == "strength=10"
    # .05-.1 at .3, .1-.3 at .05, .3-1 at .02: .05 * .7 + .2 * .95 + .7 * .98
    assert ewc["area"] == pytest.approx(0.911, abs=1e-3)
    assert l2["area"] is not None
    assert ewc["area"] is not None
    assert l2["area"] < ewc["area"]
    rows = frontier_tables.score_differences(
        scored, lambda score: score.least_sum, higher_is_better=False
    )
    first = rows[0]
    assert (first["a"], first["b"], first["seeds"], first["better"]) == ("ewc", "l2", 5, "ewc")
    assert first["difference"] == pytest.approx(-0.2)
    rows = frontier_tables.score_differences(
        scored, lambda score: score.area, higher_is_better=True
    )
    assert rows[0]["better"] == "ewc"


def test_a_curve_is_scored_on_the_seeds_that_all_its_points_have(more):
    given = {"strength": 1000.0, "form": "implicit"}
    for seed in range(2):
        RunStore(more).write(two_tasks("ewc", seed, 0.04, 0.6, settings=given))
    score = scores(errors(more, strategies=["ewc"])[1], (1.0, 1.0))[0]
    assert len(score.area) == 2
    given["strength"] = 5.0
    RunStore(more).write(two_tasks("ewc", 9, 0.04, 0.6, settings=given))
    assert scores(errors(more, strategies=["ewc"])[1], (1.0, 1.0)) == []


def test_a_metric_against_a_cost_takes_each_in_its_direction(stored):
    front = frontier.front(frontier.read(stored), "bytes", "average_accuracy", {"joint"})
    rows = frontier_tables.configurations(front)
    assert [row["label"] for row in rows[:2]] == ["joint", "naive"]  # the cheapest first
    on = [row["label"] for row in rows if row["verdict"] == ON_SET]
    assert on == ["naive", "ewc (strength=10)"]
    assert {row["by"] for row in rows if row["verdict"] == DOMINATED} == {"ewc (strength=10)"}
    people = frontier_tables.configurations(front, people=True)
    assert people[1]["bytes kept"] == "0"
    assert people[2]["bytes kept"] == "716,880"


def test_seconds_of_one_stack_show_nothing_and_machines_are_told(more):
    record = two_tasks("si", 0, 0.3, 0.3, {"stack_size": 1})
    record.provenance["device"] = "cuda: a card"
    RunStore(more).write(record)
    records = frontier.read(more)
    assert records.machines() == ["device: cpu, cuda: a card", "stack_size: 1, 5"]
    for seed in range(5):
        slow = {"seconds": {"train": 9.0, "consolidate": 1.0, "evaluate": 1.0}}
        RunStore(more).write(two_tasks("mas", seed, 0.7, 0.7, slow))
    front = frontier.front(frontier.read(more), "seconds", "average_accuracy")
    rows = {row["label"]: row for row in frontier_tables.configurations(front)}
    assert rows["mas"]["seconds"] == 10
    assert rows["mas"]["verdict"] == "too few measurements"
    assert rows["l2 (strength=10)"]["verdict"] == DOMINATED  # the very same seconds


def test_protocols_are_not_mixed_but_where_they_may_be(more):
    for seed in range(5):
        given = {"strength": 10.0, "form": "implicit"}
        longer = two_tasks("ewc", seed, 0.08, 0.04, settings=given, training={"epochs": 2})
        longer.stream_id = two_tasks("ewc", seed, 0, 0).stream_id
        RunStore(more).write(longer)
    with pytest.raises(UserError, match=r"differ in training.epochs; choose one with --protocol"):
        frontier.read(more)
    chosen = frontier.read(more, protocol=longer.config.protocol_id[:8])
    assert len(chosen.runs.stored) == 5
    both = frontier.read(more, across=["training.epochs"])
    front = frontier.front(both, *ERRORS)
    labels = [point.label for point in front.points if point.strategy == "ewc"]
    assert "ewc (strength=10, training.epochs=2)" in labels
    [along] = [c for c in curves(front.points, "training.epochs") if c.along]
    assert (along.label, len(along.points)) == ("ewc (strength=10)", 2)
    with pytest.raises(UserError, match=r"did you mean training.epochs"):
        frontier.read(more, across=["training.epoch"])
    with pytest.raises(UserError, match=r"unknown key for --across 'benchmark.tasks'"):
        frontier.read(more, across=["benchmark.tasks"])


def test_what_is_not_there_is_told(stored, tmp_path):
    with pytest.raises(UserError, match="unknown figure 'byte'; did you mean bytes"):
        frontier.axis("byte")
    with pytest.raises(UserError, match="unknown protocol"):
        frontier.read(stored, protocol="ffff")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="there are no runs in"):
        frontier.read(empty)
    RunStore(empty).write(make_record("ewc", matrix=[[0.9]]))
    with pytest.raises(UserError, match="no run has both old_error and new_error"):
        frontier.front(frontier.read(empty), *ERRORS)


def test_a_picture_names_strategies_and_settings_and_is_reproducible(stored, tmp_path):
    front, found = errors(stored)
    bounds = curves(front.references)
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    for path in (first, second):
        frontier_picture.draw(front, [*found, *bounds], path, "a heading")
    text = first.read_text()
    assert text == second.read_text()
    words = ("ewc", "l2", "naive", "joint (all tasks' data)", "a heading", "error on old tasks")
    assert all(word in text for word in words)
    page = tmp_path / "a.html"
    frontier_picture.draw(front, [*found, *bounds], page, "a heading")
    assert page.read_text().startswith("<!doctype html>")
    assert "<svg" in page.read_text()


def test_many_strategies_are_named_in_the_picture_itself(tmp_path):
    store = RunStore(tmp_path / "runs")
    for number in range(14):
        kept = {"bytes_kept": 10**6 * (number % 7)}
        store.write(two_tasks(f"method-{number}", 0, 0.2 + number / 50, 0.1, kept))
    front = frontier.front(frontier.read(tmp_path / "runs"), "bytes", "average_accuracy")
    frontier_picture.draw(front, [], tmp_path / "many.svg", "many")
    text = (tmp_path / "many.svg").read_text()
    assert all(f"method-{number}<" in text for number in range(14))
    frontier_picture.draw(front, [], tmp_path / "many.png", "many")
    assert (tmp_path / "many.png").read_bytes().startswith(b"\x89PNG")
