"""Tunings with real training: equal terms, validation data kept apart, nothing trained twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cl_bench import benchmarks
from cl_bench.config import FIRST_TUNING_SEED
from cl_bench.errors import UserError
from cl_bench.planning import finding, reading
from cl_bench.planning.packing import make_plan
from cl_bench.results.store import RunStore
from cl_bench.tuning import record
from cl_bench.tuning.search import LENGTHS
from cl_bench.tuning.study import Study, drive
from cl_bench.tuning.tuned import configs
from tests.tuning.support import HOLD, request, train, tuned


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two strategies and one with nothing to tune, under the same terms."""
    wanted = request(
        "l2.exploration_steps=0", "mas.exploration_steps=0", strategies=("l2", "mas", "naive")
    )
    out = tmp_path_factory.mktemp("tuned")
    return wanted, out, tuned(wanted, out)


@pytest.fixture
def hold(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "hold.py"
    path.write_text(HOLD)
    return str(path)


def test_every_strategy_gets_the_same_trials_seeds_and_training(pair):
    _, _, records = pair
    for name in ("l2", "mas"):
        results = records[name].results
        assert [each.number for each in results] == [0, 1, 2, 3]
        assert {each.length for each in results} == {1.0}
        assert all([run.seed for run in each.runs] == [1000, 1001] for each in results)
    assert len({records[name].terms.shared_id for name in records}) == 1
    # mas takes the gradient of each image's outputs beside the training's
    steps = 2 * 600 / 10
    assert records["l2"].budget.gradient_passes == 4 * 2 * steps
    assert records["mas"].budget.gradient_passes > 4 * 2 * steps


def test_a_strategy_with_nothing_to_tune_is_tried_once_and_says_so(pair):
    _, _, records = pair
    naive = records["naive"]
    assert (naive.trials, naive.chosen, naive.terms.space) == (1, 0, ())
    assert naive.budget.trials == 1
    assert naive.sensitivity == ()


def test_validation_data_are_neither_trained_on_nor_test_data(pair):
    _, out, records = pair
    terms = records["l2"].terms
    assert terms.evaluation.split == "valid"
    benchmark = benchmarks.get(terms.benchmark)
    for task in range(benchmark.n_tasks):
        splits = [
            {row.tobytes() for row in benchmark.examples(1000, task, split).images}
            for split in ("train", "valid", "test")
        ]
        assert all(splits)
        assert not splits[0] & splits[1]
        assert not splits[1] & splits[2]
    ids = {run.content["protocol_id"] for run in RunStore(out).scan()[0]}
    assert len(ids) == 1
    assert records["l2"].protocol_id not in ids, "no run of tuning is of the reported protocol"


def test_tuning_seeds_are_told_from_reported_ones(pair):
    wanted, out, _ = pair
    assert all(run.config.seed >= FIRST_TUNING_SEED for run in RunStore(out).scan()[0])
    assert wanted.protocol.first_seed + wanted.protocol.seeds <= FIRST_TUNING_SEED


def test_weights_of_a_seed_of_their_own_are_part_of_the_terms():
    own, given = (
        Study(request(*changes), "l2", benchmarks.get) for changes in ([], ["init_seed=7"])
    )
    assert "init_seed" not in own.terms.model_dump()
    assert given.terms.init_seed == 7
    assert own.terms.shared_id != given.terms.shared_id


def test_trials_do_not_measure_the_landscape_which_no_choice_rests_on():
    study = Study(request("evaluation.landscape=100"), "l2", benchmarks.get)
    assert {asked.evaluation.landscape for asked in study.asked} == {None}
    assert study.terms == Study(request(), "l2", benchmarks.get).terms


@pytest.mark.parametrize(
    ("changes", "terms", "message"),
    [
        ([], {"first_seed": 0}, "tuning seeds start at 1000"),
        (["first_seed=998"], {}, "seed 1000 would be tuned with and reported.* 1003 or more"),
        ([], {"metric": "acuracy"}, "unknown metric"),
        ([], {"validation_fraction": 0.0}, "above 0 and below 1"),
        (
            ["evaluation.split=valid", "benchmark.validation_fraction=0.1"],
            {},
            "as its runs are to be",
        ),
    ],
)
def test_terms_that_cannot_be_are_refused(changes, terms, message):
    with pytest.raises(UserError, match=message):
        request(*changes, **terms).check()


@pytest.mark.parametrize(
    ("changes", "terms", "message"),
    [
        ([], {"metric": "intransigence"}, "measured against joint training"),
        ([], {"metric": "min_acc"}, "needs evaluations during training"),
        (["benchmark.tasks=1"], {"metric": "forgetting"}, "needs more tasks than 1"),
        (["l2.every=40"], {"method": "halving"}, "trials with 11% of the training: l2.every=40"),
        (["l2.strength=[1,2]"], {}, "tune draws its own values"),
    ],
)
def test_what_no_trial_could_be_is_refused_before_any_training(changes, terms, message):
    wanted = request("l2.exploration_steps=0", *changes, **terms)
    with pytest.raises(UserError, match=message):
        Study(wanted, "l2", benchmarks.get)


def test_halving_spends_what_the_trials_in_full_would(tmp_path):
    """The gradients of the Fisher, too, which do not grow fewer with the training."""
    wanted = request(
        "ewc.exploration_steps=0",
        "ewc.fisher_samples=10",
        strategies=("ewc",),
        method="halving",
        trials=6,
        seeds=1,
    )
    found = tuned(wanted, tmp_path)["ewc"]
    assert found.trials > 6
    assert {each.length for each in found.results} == set(LENGTHS)
    assert found.default.length == found.choice.length == 1
    budget = found.budget
    in_full = budget.full_gradient_passes
    assert 0.7 * in_full < budget.gradient_passes <= in_full


def test_what_was_stopped_goes_on_without_training_anything_twice(tmp_path):
    wanted = request("l2.exploration_steps=0", method="tpe", trials=6, seeds=1)
    whole = tuned(wanted, tmp_path / "whole")["l2"]
    store = RunStore(tmp_path / "stopped")
    made: list[Any] = []

    class Stopped(Exception):  # noqa: N818
        pass

    def at_most(rounds):
        def some(asked):
            if len(made) == rounds:
                raise Stopped
            made.append(train(asked, store, max_runs=2))

        return some

    with pytest.raises(Stopped):
        drive([Study(wanted, "l2", benchmarks.get)], store, at_most(2))
    kept = {path.name: path.stat().st_mtime_ns for path in store.paths()}
    assert len(kept) == 4
    study = Study(wanted, "l2", benchmarks.get)
    made.clear()
    drive([study], store, at_most(99))
    assert [len(each.stored) for each in made] == [3, 1, 0, 0]
    assert kept.items() <= {p.name: p.stat().st_mtime_ns for p in store.paths()}.items()
    assert study.record(store, "cpu").results == whole.results


def test_a_bad_default_is_left_for_a_better_strength_also_on_test_data(hold, tmp_path):
    wanted = request(strategies=[hold], trials=8)
    found = tuned(wanted, tmp_path / "tuning")["hold"]
    assert found.choice.mean > found.default.mean + 0.1
    assert found.choice.settings["strength"] < 100
    (text,) = configs(wanted, [found]).values()
    file = tmp_path / "tuned.yaml"
    file.write_text(text)
    store, values = RunStore(tmp_path / "runs"), []
    defaults = reading.read(str(file), assignments=["seeds=2", "hold.strength=1000"])
    for asked in (reading.read(str(file), assignments=["seeds=2"]), defaults):
        made = train(asked, store)
        runs = [store.open(store.directory(config)) for config in made.configs]
        assert [run.config.evaluation.split for run in runs] == ["test", "test"]
        last = [run.table("accuracy").query("after_task == 1").accuracy.mean() for run in runs]
        values.append(np.mean(last))
    assert values[0] > values[1] + 0.1


def test_the_yaml_reports_the_choices_of_all_strategies(pair, tmp_path):
    wanted, _, records = pair
    (text,) = configs(wanted, list(records.values())).values()
    file = tmp_path / "tuned.yaml"
    file.write_text(text)
    asked = reading.read(str(file))
    assert asked[0].evaluation.split == "test"
    made = make_plan(asked, benchmarks.get)
    assert {config.seed for config in made.configs} == set(range(5))
    assert {c.strategy.name: c.group_id for c in made.configs} == {
        name: each.group_id for name, each in records.items()
    }
    assert {config.protocol_id for config in made.configs} == {records["l2"].protocol_id}


def test_each_learning_rate_has_a_yaml_of_its_own(tmp_path):
    wanted = request(
        strategies=("naive",),
        trials=3,
        seeds=1,
        learning_rate=(1e-5, 1e-1),
        metric="average_accuracy",
    )
    (found,) = tuned(wanted, tmp_path).values()
    assert found.trials == 3
    ((name, text),) = configs(wanted, [found]).items()
    assert name == "tuned-naive.yaml"
    file = tmp_path / name
    file.write_text(text)
    (asked,) = reading.read(str(file))
    assert asked.optimizer.learning_rate == found.choice.settings["optimizer.learning_rate"]


def test_a_record_is_read_back_as_it_was_written(pair):
    _, out, records = pair
    found = records["l2"]
    path = record.path_of(out, "mine", found.terms)
    record.write(path, found)
    assert record.read(path) == found
    assert not list(path.parent.glob(".*")), "what was being written is gone"


def test_a_record_whose_choice_was_changed_is_not_believed(pair, tmp_path):
    _, _, records = pair
    path = tmp_path / "x.json"
    record.write(path, records["l2"])
    content = json.loads(path.read_text())
    content["chosen"] = (content["chosen"] + 1) % 4
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="its trials give another choice"):
        record.read(path)
    content["terms"]["trials"] = 400
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="its terms are those of tuning"):
        record.read(path)
    assert not record.exists(Path("nowhere"))
