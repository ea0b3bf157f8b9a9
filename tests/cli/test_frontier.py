"""`cl_bench frontier` on runs that were trained for it, and its refusals."""

import csv
import json

import pytest

from cl_bench.cli import main
from cl_bench.results.store import RunStore
from tests.support import make_record

TRAINED = [
    *["run", "--benchmark=two-task-mnist-5k", "--strategy=ewc,naive,joint", "--seeds=2"],
    *["--set=ewc.strength=[1,1000]", "--set=ewc.exploration_steps=4", "--workers=1"],
    *["--set=benchmark.train_samples=200", "--set=benchmark.test_samples=50", "--wandb=off"],
    *["--set=network.hidden=[8]", "--no-picture"],
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert main([*TRAINED, "--out", str(folder)]) == 0
    return folder


def test_errors_of_old_and_new_task(trained, tmp_path, capsys):
    picture = tmp_path / "errors.svg"
    words = ["frontier", "--kind=errors", "--out", str(trained), "--picture", str(picture)]
    assert main([*words, "--format=json"]) == 0
    printed = capsys.readouterr()
    tables = json.loads(printed.out)
    rows = tables["error on the new task against error on old tasks"]
    assert [(row["curve"], row["value"]) for row in rows] == [
        ("ewc", 1),
        ("ewc", 1000),
        ("naive", None),
        ("joint", None),
    ]
    assert rows[-1]["verdict"] == "reference"
    assert "on the set" in [row["verdict"] for row in rows]
    assert all(0 <= row["old_error_low"] <= row["old_error"] <= 1 for row in rows)
    assert {row["strategy"] for row in tables["curves"]} == {"ewc", "naive"}
    for name in ("least sum of errors", "area dominated within 1, 1"):
        (pair,) = tables[f"paired differences in {name}"]
        assert (pair["seeds"], pair["verdict"]) == (2, "too few seeds")
    assert "different numbers" not in printed.err
    assert picture.read_text().startswith("<?xml")


def test_a_metric_against_each_cost_as_a_table_and_as_csv(trained, capsys):
    for cost in ("bytes", "network", "seconds", "passes", "samples", "forgetting"):
        words = ["frontier", "--out", str(trained), f"--x={cost}", "--y=learning_accuracy"]
        assert main([*words, "--format=csv"]) == 0
        printed = capsys.readouterr()
        rows = list(csv.DictReader(printed.out.splitlines()))
        assert len(rows) == 4
        assert all(row[cost] and row["learning_accuracy"] for row in rows)
        assert ("not of one machine and stack: stack_size" in printed.err) == (cost == "seconds")
    assert main(["frontier", "--out", str(trained), "--strategy=ewc,naive"]) == 0
    printed = capsys.readouterr()
    assert "average accuracy against bytes kept" in printed.out
    assert "joint" not in printed.out


def test_the_paper_s_trade_off_has_a_curve_for_the_layers_that_are_held(tmp_path, capsys):
    small = ["benchmark.train_samples=200", "benchmark.test_samples=50", "training.epochs=1"]
    small += ["ldc.strength=[1,1000]", "ldc.exploration_steps=12", "ldc.directions=2"]
    words = ["run", "--config=ldc-two-task", "--benchmark=two-task-mnist-5k", "--seeds=1"]
    words += ["--strategy=ldc,naive", "--workers=1", "--wandb=off", "--no-picture"]
    words += [f"--set={each}" for each in small]
    assert main([*words, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    curves = tmp_path / "curves.png"
    words = ["frontier", "--kind=errors", "--along=strength", "--out", str(tmp_path)]
    assert main([*words, "--picture", str(curves), "--format=csv"]) == 0
    points = capsys.readouterr().out.split("\n\n")[0]
    rows = list(csv.DictReader(points.splitlines()))
    assert [(row["curve"], row["value"]) for row in rows] == [
        ("ldc", "1.0"),
        ("ldc", "1000.0"),
        ("ldc (layers=hidden)", "1.0"),
        ("ldc (layers=hidden)", "1000.0"),
        ("naive", ""),
    ]
    assert curves.read_bytes().startswith(b"\x89PNG")


MISTAKES = [
    (["--x=byte"], "unknown figure 'byte'; did you mean bytes"),
    (["--y=forgeting"], "did you mean forgetting"),
    (["--kind=errors", "--x=bytes"], "--x bytes: this is an option of --kind cost"),
    (["--along=strength"], "--along strength: this is an option of --kind errors"),
    (["--kind=errors", "--along=strenth"], "did you mean strength"),
    (["--kind=errors", "--reference=2,1"], "--reference 2,1: give two errors"),
    (["--kind=errors", "--reference=half"], "--reference half: give two errors"),
    (["--picture=x.pdf"], "a picture ends in .svg or .png or .html"),
    (["--strategy=ewk"], "did you mean ewc"),
    (["--protocol=none"], "unknown protocol"),
    (["--across=training.epoch"], "did you mean training.epochs"),
    (["--kind=error"], "is not one of"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_line_and_exit_code_2(words, message, trained, capsys):
    assert main(["frontier", "--out", str(trained), *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_where_a_protocol_is_to_be_chosen_all_are_named_in_words(tmp_path, capsys):
    store = RunStore(tmp_path)
    for tasks, strategy in ((3, "ewc"), (3, "naive"), (2, "ewc"), (2, "naive")):
        matrix = [[0.9, 0.8], [0.7, 0.9]] if tasks == 2 else None
        store.write(make_record(strategy, 0, matrix))
    words = ["frontier", "--out", str(tmp_path)]
    assert main(words) == 2
    error, *choices = capsys.readouterr().err.splitlines()
    assert "these are 2 that differ in benchmark.tasks; choose one with --protocol" in error
    told = " ".join(" ".join(choices).split())
    assert "permuted-mnist, 2 tasks, domain-incremental, mlp 100-100, sgd 0.1, 1 epoch" in told
    assert all(len(line) <= 80 for line in choices)
    for chosen in ("permuted-mnist, 2", choices[0].split()[0]):
        assert main([*words, f"--protocol={chosen}", "--format=csv"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3
    config = tmp_path / "mine.yaml"
    config.write_text("benchmark: {name: permuted-mnist, tasks: 2}")
    assert main([*words, f"--protocol={config}", "--format=csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main([*words, "--protocol=permuted-mnist-10"]) == 2  # a config none of these is of
    assert "unknown protocol 'permuted-mnist-10'" in capsys.readouterr().err
