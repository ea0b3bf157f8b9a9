"""A run that diverged, as a user meets it: said, and never ranked or averaged."""

import csv
import json
import math

import pytest

import cl_bench
from cl_bench.cli import main

WORDS = [
    "run",
    "--strategy=naive,der",
    "--set=der.alpha=1e6",
    "--benchmark=permuted-mnist-5k",
    "--tasks=2",
    "--seeds=5",
    "--wandb=off",
    "--workers=1",
    "--set=benchmark.train_samples=512",
    "--set=benchmark.test_samples=50",
    "--set=network.hidden=[32,32]",
]
SAID = "der diverged (its losses or weights are not finite) at seed 0, 1, 2, 3, 4: not ranked"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Plain training, and DER at a strength that no training survives."""
    out = tmp_path_factory.mktemp("runs")
    assert main([*WORDS, f"--out={out}"]) == 0
    return out


def printed(words, out, capsys):
    capsys.readouterr()
    assert main([*words, f"--out={out}"]) == 0
    return capsys.readouterr()


def test_der_did_diverge(trained):
    table = cl_bench.load(trained, "metrics")
    assert dict(table.groupby("strategy").diverged.all()) == {"der": True, "naive": False}
    assert not cl_bench.load(trained)["loss"].map(math.isfinite).all()


def test_run_says_so_and_has_no_figures_for_it(trained, capsys):
    shown = printed([*WORDS, "--format=json"], trained, capsys)
    assert SAID in shown.err
    rows = {row["strategy"]: row for row in json.loads(shown.out)["results"]}
    assert (rows["der"]["seeds"], rows["der"]["diverged"]) == (0, 5)
    assert (rows["naive"]["seeds"], rows["naive"]["diverged"]) == (5, 0)
    der = [rows["der"][key] for key in ("average_accuracy", "forgetting", "task_1", "task_2")]
    assert der == [None] * 4
    assert rows["naive"]["average_accuracy"] > 0.1


@pytest.mark.parametrize("metric", ["average_accuracy", "forgetting"])
def test_compare_names_it_no_winner(trained, capsys, metric):
    shown = printed(["compare", f"--metric={metric}", "--format=json"], trained, capsys)
    assert SAID in shown.err
    (pair,) = json.loads(shown.out)[f"paired differences in {metric.replace('_', ' ')}"]
    assert (pair["seeds"], pair["better"]) == (0, None)


def test_show_says_it_of_all_runs_and_of_one(trained, capsys):
    shown = printed(["show", "--format=csv"], trained, capsys)
    assert SAID in shown.err
    rows = list(csv.DictReader(shown.out.splitlines()))
    assert {(row["strategy"], row["diverged"]) for row in rows} == {
        ("der", "True"),
        ("naive", "False"),
    }
    assert SAID in printed(["show", "der"], trained, capsys).err


def test_it_is_no_point_of_a_trade_off_of_whatever_axes(trained, capsys):
    for axes in ([], ["--x=bytes", "--y=passes"]):
        shown = printed(["frontier", "--format=json", *axes], trained, capsys)
        assert SAID in shown.err
        assert "der" not in shown.out


def test_the_picture_is_of_the_others(trained, capsys, tmp_path):
    path = tmp_path / "curves.svg"
    printed(["compare", f"--picture={path}"], trained, capsys)
    assert "naive" in path.read_text()
    assert ">der" not in path.read_text().replace("<!-- ", ">")
    alone = [word.replace("naive,der", "der") for word in WORDS]
    assert "no picture: all of these runs diverged" in printed(alone, trained, capsys).err
