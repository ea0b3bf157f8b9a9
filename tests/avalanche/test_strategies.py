"""Avalanche's strategies on our streams: the same method trains to the same weights."""

import csv
import importlib
import inspect
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cl_bench import benchmarks
from cl_bench.avalanche import crossvalidation
from cl_bench.avalanche.choice import named
from cl_bench.avalanche.foreign import ForeignStrategy
from cl_bench.avalanche.pairs import PAIRS
from cl_bench.avalanche.training import train as train_theirs
from cl_bench.cli.crossvalidate import crossvalidate
from cl_bench.cli.output import Format
from cl_bench.config import Scenario
from cl_bench.errors import UserError
from cl_bench.planning import finding, reading
from cl_bench.planning.resolving import runs_of
from cl_bench.results.figures import compute
from cl_bench.results.store import RunStore
from tests import support
from tests.training import config, train

pytestmark = pytest.mark.slow

NAMES = finding.foreign_names()
SMALL = {"train_samples": 300, "test_samples": 200}
PLAIN = {"exploration_steps": 0, "average_weights": False}
EXPLICIT = {**PLAIN, "form": "explicit"}
ONE_BY_ONE = {"training": {"batch_size": 1}, "optimizer": {"learning_rate": 0.005}}
SPLIT = {"name": "split-mnist", "tasks": 5}


def run(name, seed=0, settings=None, **changes):
    """Train one small run, ours or Avalanche's."""
    changes["benchmark"] = {**SMALL, **changes.get("benchmark", {})}
    chosen = config(name, seed, settings=settings or {}, **changes)
    trainer = train_theirs if name.startswith("avalanche:") else train
    return trainer([chosen])[0]


def needs(name):
    """Skip what needs a package that is not installed."""
    strategy: Any = finding.load(name)
    assert issubclass(strategy, ForeignStrategy)
    package = strategy.needs
    if package:
        pytest.importorskip(package)


def weights(record):
    return np.concatenate([value.ravel() for value in record.weights.values()])


def apart(a, b):
    return np.linalg.norm(weights(a) - weights(b)) / np.linalg.norm(weights(a))


def matrix(record):
    return record.accuracy.set_index(["after_task", "task"])["accuracy"]


# --- names ----------------------------------------------------------------------------------


def test_names_and_summaries_come_without_importing_avalanche_or_torch():
    code = (
        "import sys; from cl_bench.planning import finding;"
        "found = [finding.summary(n) for n in finding.foreign_names()];"
        "assert len(found) > 10 and all(s.title and s.source and s.doc for s in found);"
        "assert not {'torch', 'avalanche'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="avalanche:EWC"):
        finding.resolve("avalanche:EWCC")


def test_they_are_not_among_the_strategies_of_the_engine():
    assert not set(NAMES) & set(finding.strategy_names())


def test_the_engine_refuses_to_train_them():
    with pytest.raises(TypeError, match="not trained by the engine"):
        kind: Any = finding.load("avalanche:EWC")
        kind(None, {})


def test_another_version_of_avalanche_gives_other_runs(monkeypatch):
    before = finding.code_hash("avalanche:EWC")
    assert before is not None
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    assert finding.code_hash("avalanche:EWC") != before


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_the_constructors_own(name):
    strategy: Any = finding.load(name)
    assert issubclass(strategy, ForeignStrategy)
    module, _, made_by = strategy.made_by.partition(":")
    known = inspect.signature(getattr(importlib.import_module(module), made_by)).parameters
    settings = strategy.Settings().model_dump()
    given = strategy.arguments(settings)
    assert set(given) <= set(known)
    assert set(settings) - {"copies"} <= set(known)


# --- the run --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_trains_where_it_says(name, tmp_path):
    needs(name)
    for scenario in finding.load(name).scenarios:
        benchmark = {"tasks": 2} if scenario is Scenario.DOMAIN else {**SPLIT, "tasks": 2}
        record = run(
            name,
            benchmark={**benchmark, "scenario": scenario},
            training={"outputs": "all", "batch_size": 16},
        )
        assert np.isfinite(weights(record)).all()
        assert len(record.accuracy) == 2 + 2 + 2  # before, after each of two tasks
        assert record.cost["gradient_passes"] > 0
        store = RunStore(tmp_path)
        back = store.read(store.write(record))
        assert back.weights_sha256 == record.weights_sha256
        assert compute(back)["average_accuracy"] == compute(record)["average_accuracy"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"benchmark": {**SPLIT, "scenario": "task"}},
        {"benchmark": {**SPLIT, "scenario": "class"}},
        {"benchmark": {**SPLIT, "scenario": "class"}, "training": {"outputs": "all"}},
        {"optimizer": {"name": "adam", "learning_rate": 0.001}},
        {"optimizer": {"name": "momentum", "learning_rate": 0.01, "reset": False}},
        {"optimizer": {"weight_decay": 0.01}},
        {"training": {"epochs": 2.5}},
        {"training": {"iterations": 7}},
        {"training": {"epochs": 2, "last_batch": "short"}},
        {"network": {"name": "convnet", "hidden": (20,)}},
    ],
    ids=str,
)
def test_naive_trains_to_the_weights_that_ours_ends_with(changes):
    ours, theirs = run("naive", **changes), run("avalanche:Naive", **changes)
    assert list(ours.weights) == list(theirs.weights)
    assert apart(ours, theirs) < 1e-4
    assert (matrix(ours) - matrix(theirs)).abs().max() <= 0.01
    assert ours.stream_id == theirs.stream_id
    assert ours.cost["samples_seen"] == theirs.cost["samples_seen"]
    assert ours.cost["gradient_passes"] == theirs.cost["gradient_passes"]


@pytest.mark.parametrize(("name", "seen"), [("Replay", 2 * 100), ("JointTraining", 100 + 200)])
def test_own_minibatches_take_in_an_epochs_last_images_where_asked_for(name, seen):
    sizes = {"train_samples": 100, "test_samples": 50}
    records = {
        last: run(f"avalanche:{name}", benchmark=sizes, training={"last_batch": last})
        for last in ("carry", "short")
    }
    assert records["short"].cost["samples_seen"] == seen
    assert records["carry"].cost["samples_seen"] == seen // 64 * 64 - 64 * (name == "Replay")


def test_evaluations_during_training_come_at_the_same_steps():
    schedule = {"evaluation": {"every": 2, "switch_every": 1, "switch_steps": 3}}
    ours, theirs = (run(name, **schedule).curve for name in ("naive", "avalanche:Naive"))
    where = ["training_task", "step", "samples_seen", "task"]
    assert ours[where].equals(theirs[where])
    assert (ours["accuracy"] - theirs["accuracy"]).abs().max() <= 0.01


@pytest.mark.parametrize("name", ["AGEM", "Replay", "GDumb", "JointTraining"])
def test_a_run_has_the_same_bits_again_and_in_any_company(name):
    name = f"avalanche:{name}"
    small = {"benchmark": {**SMALL, "tasks": 2}}
    torch.manual_seed(5)
    alone = train_theirs([config(name, 1, **small)])[0]
    torch.manual_seed(6)
    beside = train_theirs([config(name, seed, **small) for seed in (0, 1)])[1]
    assert alone.weights_sha256 == beside.weights_sha256


def test_the_process_draws_on_as_if_nothing_had_happened():
    torch.manual_seed(3)
    np.random.seed(3)
    wanted = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    run("avalanche:Naive")
    assert (torch.rand(1).item(), np.random.rand()) == wanted


def test_progress_is_told_to_the_end():
    told = []
    train_theirs(
        [config("avalanche:Naive", seed, benchmark=SMALL) for seed in (0, 1)],
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (16, 16)  # 2 runs of 2 tasks of 4 steps


def planned(name, *changes):
    (asked,) = reading.read(strategies=[name], assignments=["seeds=1", *changes])
    return runs_of(asked, benchmarks.get(asked.benchmark))


@pytest.mark.parametrize("name", ["avalanche:DER", "avalanche:ER_ACE"])
def test_strategies_with_own_losses_want_all_outputs(name):
    of_classes = ("benchmark.name=split-mnist-5k", "benchmark.scenario=class")
    with pytest.raises(UserError, match=f"'{name}' .*nearest .* --set training.outputs=all"):
        planned(name, *of_classes)
    assert len(planned(name, *of_classes, "training.outputs=all")) == 1
    assert len(planned(name, "benchmark.name=permuted-mnist-5k")) == 1


def test_a_missing_package_is_told_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(finding.load("avalanche:GEM"), "needs", "not-there")
    with pytest.raises(UserError, match=r"'avalanche:GEM' .* pip install not-there"):
        planned("avalanche:GEM", "benchmark.name=permuted-mnist-5k")


def test_bytes_kept_are_what_the_method_needs():
    size = weights(run("avalanche:Naive")).nbytes
    assert run("avalanche:Naive").cost["bytes_kept"] == 0
    assert run("avalanche:EWC").cost["bytes_kept"] == 4 * size  # two tasks: anchor and importance
    assert run("avalanche:LwF").cost["bytes_kept"] == size
    kept = run("avalanche:Replay", settings={"mem_size": 50}).cost["bytes_kept"]
    assert 50 * 784 <= kept < 50 * 800


# --- the same method ------------------------------------------------------------------------


def test_ewc_is_ours_with_the_empirical_fisher_and_half_the_strength():
    ours = {**EXPLICIT, "fisher": "empirical", "fisher_samples": 300, "strength": 20.0}
    a = run("ewc", settings=ours, **ONE_BY_ONE)
    b = run("avalanche:EWC", settings={"ewc_lambda": 10.0}, **ONE_BY_ONE)
    assert apart(a, b) < 1e-4 < apart(a, run("naive", **ONE_BY_ONE))


def test_mas_is_ours_an_image_at_a_time():
    ours = {**EXPLICIT, "samples": 300, "strength": 1.0}
    a = run("mas", settings=ours, **ONE_BY_ONE)
    b = run("avalanche:MAS", settings={"lambda_reg": 0.5}, **ONE_BY_ONE)
    assert apart(a, b) < 1e-4 < apart(a, run("naive", **ONE_BY_ONE))


def test_si_does_nothing_on_the_cpu_as_avalanche_has_it():
    changed = {"si_lambda": 1e4, "eps": 1e-3}
    naive = run("avalanche:Naive")
    assert run("avalanche:SynapticIntelligence", settings=changed).weights_sha256 == (
        naive.weights_sha256
    )


def test_si_is_ours_once_its_copies_are_made_and_no_importance_is_clipped():
    often = {"training": {"batch_size": 5}}
    theirs = {"si_lambda": 1e5, "eps": 1e3, "copies": True}
    a = run("si", settings={**EXPLICIT, "strength": 1e5, "damping": 1e3}, **often)
    b = run("avalanche:SynapticIntelligence", settings=theirs, **often)
    assert apart(a, b) < 1e-4 < apart(a, run("naive", **often))


# --- the comparison -------------------------------------------------------------------------


def compared(low, high, seeds=5):
    pair = PAIRS[0]
    return crossvalidation.Finding(pair, seeds, 0.5, 0.6, 0.6, (low + high) / 2, low, high, 0.1)


def test_a_pair_agrees_where_the_interval_holds_nought():
    assert compared(-0.01, 0.02).verdict == crossvalidation.AGREES
    assert compared(0.0, 0.0).verdict == crossvalidation.AGREES
    assert compared(0.01, 0.02).verdict == crossvalidation.DIFFERS
    assert compared(math.nan, math.nan, seeds=1).verdict == crossvalidation.TOO_FEW


def test_runs_are_paired_by_seed_whatever_their_order():
    pair = PAIRS[0]
    names = ("naive", pair.theirs[0])
    records = [support.make_record(name, seed) for name in names for seed in (2, 0, 1)]
    found = crossvalidation.find(pair, [*records, support.make_record("naive", 7)])
    assert found is not None
    by = {(r.config.strategy.name, r.config.seed): compute(r)["average_accuracy"] for r in records}
    wanted = np.mean([by["naive", seed] - by[names[1], seed] for seed in range(3)])
    assert found.seeds == 3
    assert found.difference == pytest.approx(wanted)
    assert crossvalidation.find(pair, records[:3]) is None


def test_every_pair_can_be_planned():
    for pair in PAIRS:
        protocol = pair.as_protocol(2, quick=True)
        assert len(runs_of(protocol, benchmarks.get(protocol.benchmark))) in (4, 6)


def test_the_page_in_docs_is_of_these_pairs_and_explains_every_difference():
    with (Path(__file__).parents[2] / "docs" / "cross-validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    pairs = {pair.name: pair for pair in PAIRS}
    assert [row["pair"] for row in rows] == list(pairs)
    for row in rows:
        pair = pairs[row["pair"]]
        assert (row["ours"], row["theirs"]) == (
            crossvalidation.describe(*pair.ours),
            crossvalidation.describe(*pair.theirs),
        )
        assert row["verdict"] == crossvalidation.AGREES or ".py:" in pair.why


def test_the_command_trains_compares_and_writes(tmp_path, capsys):
    page = tmp_path / "page.md"
    given = {
        "pair": ["naive", "si"],
        "seeds": 2,
        "quick": True,
        "out": tmp_path / "runs",
        "write": page,
        "data_dir": None,
        "workers": 1,
        "format": Format.JSON,
    }
    crossvalidate(**given)
    rows = json.loads(capsys.readouterr().out)
    assert [row["pair"] for row in rows] == ["naive", "si"]
    assert rows[0]["weights apart"] < 1e-4
    assert rows[1]["their accuracy"] == rows[1]["naive"]  # without its copies it is naive
    text = page.read_text()
    assert "| naive | permuted | 2 |" in text
    assert "synaptic_intelligence.py" in text
    assert page.with_suffix(".csv").read_text().startswith("pair,")
    crossvalidate(**given)
    assert "training 0 runs" in capsys.readouterr().err  # all are there already
    assert page.read_text() == text


def test_the_command_knows_its_pairs(tmp_path):
    with pytest.raises(UserError, match="unknown pair 'nayve'") as caught:
        crossvalidate(pair=["nayve"], seeds=2, quick=True, out=tmp_path)
    assert caught.value.choices == tuple(
        pair.name for pair in PAIRS
    )  # one a line: some have commas


def test_a_pair_is_named_by_a_part_that_is_its_alone():
    assert [pair.name for pair in named(["copies", "Gdumb"])] == ["si, copies made", "gdumb"]
    assert [pair.name for pair in named(["ewc"])] == ["ewc"]  # a whole name, and a part of others
    assert named([]) == list(PAIRS)
    with pytest.raises(UserError, match="'nothing clipped' is a part of several") as caught:
        named(["nothing clipped"])
    assert caught.value.choices == ("si, nothing clipped, 2 tasks", "si, nothing clipped")


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (0.108, 0.112, crossvalidation.NOT_LEARNT),
        (0.14, 0.10, crossvalidation.NOT_LEARNT),
        (0.80, 0.10, crossvalidation.DIFFERS),
        (0.80, 0.80, crossvalidation.AGREES),
    ],
)
def test_where_neither_has_learnt_there_is_no_verdict(ours, theirs, verdict):
    """Ten classes: guessing is right in a tenth of the cases."""
    pair = PAIRS[0]
    records = []
    for seed in range(5):
        values = {"naive": ours, pair.theirs[0]: theirs}
        for name, value in values.items():
            wobble = (seed * (3 if name == "naive" else 2)) % 5 / 1000
            records.append(support.make_record(name, seed, [[value], [value + wobble] * 2]))
    found = crossvalidation.find(pair, records)
    assert found is not None
    assert found.verdict == verdict


def test_guessing_is_among_the_classes_that_compete():
    for scenario, expected in (("task", 1 / 2), ("domain", 1 / 2), ("class", 1 / 6)):
        record = support.make_record(benchmark={"scenario": scenario})
        table = record.predictions
        record.predictions = table[table["label"] // 2 == table["task"]]
        assert crossvalidation.chance(record) == pytest.approx(expected)
