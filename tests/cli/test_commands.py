"""The command line as a user meets it: what is printed where, and the exit codes."""

import csv
import json
import subprocess
import sys

import pytest

import cl_bench
from cl_bench.cli import main
from cl_bench.planning import finding
from cl_bench.planning.settings import settings_of
from cl_bench.results.frames import load
from cl_bench.results.store import RunStore
from tests.support import make_record

SMALL = [
    "--benchmark=permuted-mnist-5k",
    "--tasks=2",
    "--wandb=off",
    "--set=benchmark.train_samples=200",
    "--set=benchmark.test_samples=50",
    "--set=network.hidden=[8]",
]


@pytest.fixture
def stored(tmp_path):
    """A folder with five seeds of two strategies."""
    store = RunStore(tmp_path)
    for seed in range(5):
        for strategy, gain in (("ewc", 0.0), ("flatness", 0.04)):
            last = [0.88 + gain + seed / 500, 0.9 + gain - seed / 500 + gain * seed / 9, 0.93]
            matrix = [[0.95, 0.1, float("nan")], [0.92, 0.94, 0.1], last]
            store.write(make_record(strategy, seed, matrix))
    return tmp_path


def test_help_and_lists_need_none_of_the_heavy_libraries():
    heavy = "{'torch', 'pandas', 'matplotlib', 'avalanche', 'wandb', 'scipy', 'torchvision'}"
    for words in (["--help"], ["run", "--help"], ["frontier", "--help"], ["list"]):
        code = (
            f"import sys; from cl_bench.cli import main; main({words!r});"
            f"found = {heavy} & set(sys.modules); assert not found, found"
        )
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("kind", ["strategies", "benchmarks", "metrics", "configs"])
def test_everything_is_listed_in_every_format(kind, capsys):
    assert main(["list", kind, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert main(["list", kind, "--format", "csv"]) == 0
    as_csv = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["name"] for row in rows] == [row["name"] for row in as_csv]
    assert main(["list", kind]) == 0
    table = capsys.readouterr().out
    assert all(row["name"] in table for row in rows)


def test_a_list_of_everything_is_one_json_object(capsys):
    assert main(["list", "--format=json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        "strategies",
        "benchmarks",
        "metrics",
        "configs",
        "settings",
    }


def test_the_settings_of_a_strategy_are_listed_with_default_range_and_meaning(capsys):
    assert main(["list", "strategies", "ewc", "--format=json"]) == 0
    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)}
    fields = finding.load("ewc").Settings.model_fields
    assert list(rows) == list(fields)
    assert all(rows[name]["default"] == field.default for name, field in fields.items())
    assert all(rows[name]["meaning"] == field.description for name, field in fields.items())
    assert rows["strength"]["values"] == "0 to 1e+12"
    assert rows["strength"]["tuned_over"].endswith(", log")
    assert rows["form"]["values"] == "implicit | explicit"

    assert main(["list", "strategies", "ewc,avalanche:GDumb", "naive", "--format=json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert list(tables) == ["ewc", "avalanche:GDumb", "naive"]
    assert [row["setting"] for row in tables["avalanche:GDumb"]] == ["mem_size", "train_epochs"]
    assert tables["naive"] == []

    assert main(["list", "strategies", "si"]) == 0
    assert "settings of si" in capsys.readouterr().out


@pytest.mark.parametrize("name", [*finding.strategy_names(), *finding.foreign_names()])
def test_every_setting_says_what_it_means_and_what_is_allowed(name):
    for each in settings_of(name):
        assert each.meaning, each
        assert each.values, each


def test_a_run_is_trained_once_and_shown_each_time(tmp_path, capsys):
    words = ["run", "--strategy=naive,joint", "--seeds=2", "--workers=1", *SMALL]
    words += ["--out", str(tmp_path), "--format=json"]
    assert main(words) == 0
    first = capsys.readouterr()
    tables = json.loads(first.out)
    assert {row["strategy"] for row in tables["results"]} == {"naive", "joint"}
    row = tables["results"][0]
    assert row["seeds"] == 2
    assert 0 <= row["task_1"] <= 1
    assert row["average_accuracy_low"] <= row["average_accuracy"] <= row["average_accuracy_high"]
    assert len(tables["paired differences in average accuracy"]) == 1
    assert "training 4 runs in 2 stacks on 1 cpu worker" in first.err
    assert f"next: python -m cl_bench compare --out {tmp_path}" in first.err
    assert (
        "trained on: permuted-mnist-5k, domain scenario, 2 tasks; mlp 8; sgd at 0.1, 1 epoch a "
        "task, batches of 64; seeds 0, 1\n"
    ) in first.err
    assert (tmp_path / "forgetting.svg").read_text().startswith("<?xml")

    assert main([*words, "--no-picture"]) == 0
    second = capsys.readouterr()
    assert json.loads(second.out) == tables
    assert "nothing to train: 4 runs in" in second.err


def test_the_variance_is_that_of_the_stored_grid(tmp_path, capsys):
    words = ["variance", "--strategy=naive", "--streams=2", "--inits=3", "--workers=1", *SMALL]
    words.remove("--wandb=off")
    words += ["--out", str(tmp_path), "--metric=average_accuracy"]
    assert main([*words, "--format=json"]) == 0
    printed = capsys.readouterr()
    assert "training 6 runs in 1 stack" in printed.err
    rows = {row["effect"]: row for row in json.loads(printed.out)}
    assert list(rows) == ["stream", "initialisation", "interaction", "both"]
    assert (rows["stream"]["streams"], rows["stream"]["inits"]) == (2, 3)

    final = load(tmp_path).query("after_task == 1").groupby(["run_id", "seed"])["accuracy"].mean()
    assert rows["both"]["mean"] == pytest.approx(final.mean())
    assert final.nunique() > 2
    assert sorted(final.reset_index()["seed"]) == [0, 0, 0, 1, 1, 1]

    assert main(words) == 0
    printed = capsys.readouterr()
    assert "nothing to train" in printed.err
    assert "2 streams from 3 initialisations each" in printed.out
    next(tmp_path.glob("naive-s0-*/record.json")).write_text("{")
    assert main(words) == 0
    assert "training 1 run in" in capsys.readouterr().err


def test_a_single_strategy_leads_on_to_a_comparison_with_the_same_options(tmp_path, capsys):
    words = ["run", "--strategy", "naive", "--seeds=1", *SMALL, "--out", str(tmp_path)]
    overridden = ["--seeds", "3", "--out=elsewhere", "--picture", "--set=training.epochs=1"]
    words += ["--no-picture", "--set=training.epochs=1"]
    assert main([words[0], *overridden, *words[1:]]) == 0
    following = capsys.readouterr().err.rpartition("next: ")[2].strip()
    rest = " ".join(words[3:]).replace("--set=network.hidden=[8]", "'--set=network.hidden=[8]'")
    assert following == f"python -m cl_bench run {rest} --strategy naive,ewc,flatness"


def test_a_failed_run_is_exit_code_1_and_the_others_are_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "failing.py"
    path.write_text(
        '"""Fails."""\n'
        "from cl_bench.engine.strategy import Strategy\n\n\n"
        "class Failing(Strategy):\n"
        "    def end_task(self, task):\n"
        '        raise RuntimeError("no end")\n'
    )
    words = ["run", f"--strategy={path},naive", "--seeds=1", "--workers=1", *SMALL]
    assert main([*words, "--out", str(tmp_path / "out"), "--no-picture"]) == 1
    printed = capsys.readouterr()
    assert "failed: failing (seed 0): RuntimeError: no end" in printed.err
    assert "1 run failed; resume with:" in printed.err
    assert "naive" in printed.out


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_strategy_prints_is_no_output(workers, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / f"talking_{workers}.py"
    path.write_text(
        "from cl_bench.engine.strategy import Strategy\n\nprint('imported')\n\n\n"
        "class Talking(Strategy):\n"
        "    def end_task(self, task):\n"
        "        print('hook')\n"
    )
    words = ["run", f"--strategy={path}", "--seeds=2", f"--workers={workers}", *SMALL]
    assert main([*words, "--out", str(tmp_path / "out"), "--no-picture", "--format=json"]) == 0
    printed = capfd.readouterr()
    assert len(json.loads(printed.out)["results"]) == 1
    assert {"imported", "hook"} <= set(printed.err.split())


def test_compare_pairs_the_stored_runs_and_draws_a_picture(stored, tmp_path, capsys):
    picture = tmp_path / "curves.png"
    words = ["compare", "--out", str(stored), "--format=json", "--picture", str(picture)]
    assert main(words) == 0
    tables = json.loads(capsys.readouterr().out)
    (pair,) = tables["paired differences in average accuracy"]
    assert (pair["a"], pair["b"], pair["seeds"]) == ("flatness", "ewc", 5)
    assert pair["low"] > 0
    assert pair["better"] == "flatness"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["compare", "--out", str(stored), "--strategy=ewc", "--metric=min_acc"]) == 0
    printed = capsys.readouterr()
    assert "nothing to pair" in printed.err
    assert "flatness" not in printed.out


def test_compare_says_what_the_seeds_can_show(stored, capsys):
    words = ["compare", "--out", str(stored), "--power=0.01"]
    assert main([*words, "--format=json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["paired differences in average accuracy"]
    assert pair["detectable"] == pair["detectable_holm"]  # one pair, nothing to correct for
    assert pair["seeds_needed"] == 5
    assert pair["detectable"] < 0.01
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "seeds for 0.01" in printed
    assert "P(A better)" in printed
    RunStore(stored).write(make_record("naive", 0))
    assert main([*words, "--format=json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["paired differences in average accuracy"]
    assert sorted(pair["seeds"] for pair in pairs) == [1, 1, 5]
    for pair in pairs:
        assert (pair["seeds_needed"] is None) == (pair["seeds"] == 1)
        assert pair["seeds"] == 1 or pair["detectable"] < pair["detectable_holm"]


def test_a_picture_is_of_one_protocol(stored, tmp_path, capsys):
    RunStore(stored).write(make_record("ewc", optimizer={"learning_rate": 0.123}))
    words = ["compare", "--out", str(stored), "--picture", str(tmp_path / "x.svg")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "choose one with --protocol" in error
    chosen = make_record("flatness").config.protocol_id
    assert main([*words, "--protocol", chosen[:8]]) == 0


def test_show_gives_all_runs_a_run_or_a_configuration(stored, capsys):
    assert main(["show", "--out", str(stored), "--format=csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 10

    assert main(["show", rows[0]["run_id"][:8], "--out", str(stored), "--format=json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["accuracy"][1] == {"after": "task 1", "task 1": 0.95, "task 2": 0.1, "task 3": None}
    record = {row["key"]: row["value"] for row in one["record"]}
    assert record["provenance.device"] == "cpu"

    for name in ("flatness", rows[-1]["group_id"]):
        assert main(["show", name, "--out", str(stored)]) == 0
        printed = capsys.readouterr().out
        assert "mean of 5 seeds" in printed
        assert "0.9240" in printed  # the mean of .92, .922, …, .928


@pytest.mark.slow
def test_the_landscape_is_measured_shown_and_asked_what_it_predicts(tmp_path, capsys):
    words = ["run", "--strategy=naive,joint", "--seeds=2", *SMALL, "--workers=1", "--tasks=3"]
    words += ["--set=evaluation.landscape=100", "--out", str(tmp_path), "--format=json"]
    assert main(words) == 0
    capsys.readouterr()
    assert len(cl_bench.load(tmp_path, "landscape")) == 4 * 6

    assert main(["show", "naive", "--out", str(tmp_path), "--format=json"]) == 0
    shown = json.loads(capsys.readouterr().out)["loss landscape"]
    assert [row["task"] for row in shown] == [1, 2, 3]
    assert [row["distance_at_end"] is None for row in shown] == [False, False, True]
    assert all(row["sharpness"] > 0 for row in shown)

    assert main(["predict", "--out", str(tmp_path), "--format=csv"]) == 0
    printed = capsys.readouterr()
    rows = list(csv.DictReader(printed.out.splitlines()))
    assert {row["verdict"] for row in rows} == {"too few seeds"}
    assert {row["strategies"] for row in rows} == {"1"}
    assert "left out: joint is given all data so far" in printed.err
    assert main(["predict", "--out", str(tmp_path), "--strategy=naive,joint"]) == 0
    printed = capsys.readouterr().out
    assert "forgetting, within strategy" in printed
    assert "2 seeds, 2 strategies" in printed


def test_there_is_nothing_to_predict_from_where_no_landscape_was_measured(stored, capsys):
    assert main(["predict", "--out", str(stored)]) == 2
    assert "run with --set evaluation.landscape=500" in capsys.readouterr().err


MISTAKES = [
    (["run", "--strategy=flatnes"], "unknown strategy 'flatnes'; did you mean flatness"),
    (["run", "--seeds=0"], "seeds = 0: give their number (1 to 10000), or a list such as"),
    (["run", "--seeds=many"], "seeds = 'many': give their number"),
    (["run", "--seeds=5.5"], "seeds = 5.5: give their number"),
    (["run", "--seeds=5,x"], "seeds = [5, 'x']: give their number"),
    (["run", "--tasks=two"], "--tasks = 'two': should be a valid integer"),
    (["run", "--workers=0"], "--workers = '0': should be greater than or equal to 1"),
    (["run", "--format=xml"], "--format: 'xml' is not one of 'table', 'json', 'csv'"),
    (["run", "--strategy", ""], "--strategy is empty"),
    (["run", "--strategy="], "--strategy is empty"),
    (["run", "--strategy=naive,,ewc"], "--strategy naive,,ewc: a name is empty"),
    (["run", "--strategy=naive,naive"], "strategy 'naive' is given twice"),
    (["run", "--out="], "--out is empty"),
    (["run", "--data-dir", " "], "--data-dir is empty"),
    (["run", "--config="], "--config is empty"),
    (["run", "--set=flatness.strength="], "--set flatness.strength=: give it as key=value"),
    (["run", "--set=flatness.strength=[]"], "flatness.strength = []: a grid needs at least one"),
    (["list", ""], "an argument is empty"),
    (["list", "strategies", "ewcc"], "unknown strategy 'ewcc'; did you mean ewc"),
    (["list", "metrics", "ewc"], "ewc: only strategies have settings to list"),
    (["check", "naive,"], "a name is empty"),
    (["compare", "--strategy", ""], "--strategy is empty"),
    (["compare", "--strategy=,"], "--strategy ,: a name is empty"),
    (["leaderboard", "build", "--config", "", "--out=x"], "--config is empty"),
    (["run", "--scenario=klass"], "should be 'task', 'domain' or 'class'"),
    (["run", "--benchmark=permuted-mnis"], "did you mean permuted-mnist"),
    (["run", "--set=flatness.strenth=1"], "did you mean flatness.strength"),
    (["run", "--set=flatness.strength=-1"], "flatness.strength = -1: should be greater than or"),
    (["run", "--data-dir=/not/there"], "--data-dir /not/there: there is no such folder"),
    (["run", "--out=/dev/null/runs"], "cannot write runs to /dev/null/runs"),
    (["run", "--config=not-there.yaml"], "there is no config file not-there.yaml"),
    (["run", "--wandb=of"], "unknown W&B mode 'of'; did you mean off"),
    (["rum"], "Did you mean 'run'?"),
    (["run", "--sedes=3"], "No such option"),
    (
        ["run", "--set=evaluation.landscape=5"],
        "landscape = 5: should be greater than or equal",
    ),
    (["list", "strategy"], "is not one of"),
    (["compare", "--out=/not/there"], "no folder of runs at /not/there"),
    (["compare", "--metric=forgeting"], "did you mean forgetting"),
    (["compare", "--picture=x.pdf"], "ends in .svg or .png"),
    (["compare", "--power=0"], "--power 0: give a difference above 0"),
    (["variance", "--strategy=naive", "--set=init_seed=3"], "init_seed = 3: --inits sets it"),
    (["variance", "--set=training.batch_size=[1,2]"], "these are 2 protocols"),
    (["variance", "--inits=1"], "--inits = '1': should be greater than or equal to 2"),
    (["show", "--out=/not/there"], "no folder of runs at /not/there"),
    (["predict", "--out=/not/there"], "no folder of runs at /not/there"),
    (["show", f"--out={'x' * 300}"], "xxx…: a file's name this long cannot be"),
    (["run", f"--data-dir={'x' * 300}"], "xxx…: a file's name this long cannot be"),
    (["run", f"--strategy=./{'x' * 300}.py"], "xxx…: a file's name this long cannot be"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(
    words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["leaderboard"]])
def test_a_command_without_its_word_shows_its_help(words, capsys):
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: cl_bench")
    assert "error:" not in shown
    assert all(len(line) <= 100 for line in shown.splitlines())


def test_a_device_that_is_not_there_is_a_mistake(tmp_path, monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["run", "--device=cuda", "--out", str(tmp_path / "out")]) == 2
    assert "--device cuda: no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_process_ends_with_the_same_exit_code():
    found = subprocess.run(
        [sys.executable, "-m", "cl_bench", "list", "nothing"], capture_output=True, text=True
    )
    assert found.returncode == 2
    assert found.stdout == ""
    assert "Traceback" not in found.stderr
