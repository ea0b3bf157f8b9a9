"""Running from Python: the same runs as the command line's, and one's own strategies among them."""

import subprocess
import sys

import pytest

import cl_bench
from cl_bench import Strategy, UserError, setting
from cl_bench.cli import main
from cl_bench.planning import finding, session
from cl_bench.results.store import RunStore

SMALL = {
    "tasks": 2,
    "wandb": "off",
    "workers": 1,
    "benchmark.train_samples": 200,
    "benchmark.test_samples": 50,
    "network": {"hidden": [8]},
}
WORDS = [
    "--benchmark=permuted-mnist-5k",
    "--tasks=2",
    "--wandb=off",
    "--set=benchmark.train_samples=200",
    "--set=benchmark.test_samples=50",
    "--set=network.hidden=[8]",
]
OWN = '''"""Take smaller steps."""

from cl_bench import Strategy, setting


class {name}(Strategy):
    title = "Slower"
    factor: float = setting(0.1, "gradient scale", low=0, high=1)

    def adjust_gradient(self, gradient, batch):
        gradient *= self.factor
'''


class HalfSteps(Strategy):
    """Take half the step."""

    title = "Half steps"
    factor: float = setting(0.5, "gradient scale", low=0, high=1)

    def adjust_gradient(self, gradient, batch):
        gradient *= scaled(self.factor)


class Broken(Strategy):
    def begin_task(self, task):
        raise ZeroDivisionError("of its own")


def scaled(factor):
    return factor


def halved(factor):
    return factor / 2


def run(strategies, out, **given):
    return cl_bench.run(strategies, "permuted-mnist-5k", out=out, **{**SMALL, **given})


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(finding, "_added", {})
    monkeypatch.setattr(session, "_classes", {})


def test_runs_are_those_of_the_command_line_in_their_ids_and_bits(tmp_path):
    runs = run(["naive", "ewc"], tmp_path / "python", seeds=2, ewc={"strength": [1, 10]})
    typed = ["--strategy=naive,ewc", "--seeds=2", "--set=ewc.strength=[1,10]"]
    assert main(["run", *WORDS, *typed, f"--out={tmp_path / 'typed'}", "--no-picture"]) == 0
    weights = [
        {
            each.name: RunStore(folder).open(each).content["weights_sha256"]
            for each in folder.iterdir()
        }
        for folder in (tmp_path / "python", tmp_path / "typed")
    ]
    assert weights[0] == weights[1]
    assert sorted(runs.ids) == sorted(name[-16:] for name in weights[0])
    assert len(runs) == 6


def test_runs_that_are_there_are_not_run_again(tmp_path, capsys):
    first = run("naive", tmp_path, seeds=[3])
    capsys.readouterr()
    again = run("naive", tmp_path, seeds=[3])
    assert "nothing to train" in capsys.readouterr().err
    assert again.frame.equals(first.frame)


def test_a_table_a_comparison_and_a_picture_come_of_runs(tmp_path):
    runs = run({"naive": {}, "l2": {"strength": 1.0}}, tmp_path, seeds=2)
    assert list(runs.table()["seeds"]) == [2, 2]
    (row,) = runs.compare("average_accuracy").to_dict("records")
    assert row["seeds"] == 2
    assert set(runs.compare()["metric"]) == {"average_accuracy", "forgetting"}
    assert runs.plot(tmp_path / "curves.svg")._repr_png_()[:4] == b"\x89PNG"
    assert (tmp_path / "curves.svg").stat().st_size > 1000
    assert "naive" in runs._repr_html_()
    assert "naive" in repr(runs)
    assert runs.frame.equals(cl_bench.Runs.read(tmp_path).frame)
    assert len(cl_bench.Runs.read(tmp_path, strategies="naive")) == 2
    assert run("naive", tmp_path, seeds=1).compare().empty


def test_a_class_of_the_program_trains_here_while_workers_train_the_others(tmp_path):
    together = run([HalfSteps, "naive"], tmp_path / "pool", seeds=2, workers=2)
    alone = run([HalfSteps, "naive"], tmp_path / "alone", seeds=2)
    assert together.frame.equals(alone.frame)
    assert set(together.metrics["strategy"]) == {"half-steps", "naive"}
    by_half = together.metrics.set_index("strategy")["average_accuracy"]
    assert by_half["half-steps"].mean() != by_half["naive"].mean()


def test_an_edited_class_or_helper_is_another_strategy(monkeypatch):
    before = session.code_of(HalfSteps)
    assert session.code_of(HalfSteps) == before
    monkeypatch.setitem(globals(), "scaled", halved)
    assert session.code_of(HalfSteps) != before


def test_a_class_of_an_imported_file_goes_to_the_workers_as_the_file_does(tmp_path, monkeypatch):
    (tmp_path / "slower_steps.py").write_text(OWN.format(name="Slower"))
    monkeypatch.syspath_prepend(tmp_path)
    from slower_steps import Slower  # type: ignore[import-not-found]

    by_class = run([Slower], tmp_path / "runs", seeds=1)
    by_path = run(tmp_path / "slower_steps.py", tmp_path / "runs", seeds=1)
    assert by_class.ids == by_path.ids
    assert finding.added_files() == [tmp_path / "slower_steps.py"]
    assert not session.names()


def test_a_file_that_was_edited_is_imported_again(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text(OWN.format(name="Edited"))
    first = finding.load(str(path))
    assert finding.load(str(path)) is first
    path.write_text(OWN.format(name="Edited").replace("0.1", "0.2"))
    assert finding.load(str(path)).Settings().model_dump() == {"factor": 0.2}


def test_a_plain_script_runs_with_workers_and_a_strategy_of_its_own(tmp_path):
    script, given = tmp_path / "script.py", {**SMALL, "workers": 2, "seeds": 1}
    script.write_text(
        f"import cl_bench\n{OWN.format(name='Slower')}\n"
        f"runs = cl_bench.run([Slower, 'naive', 'l2'], 'permuted-mnist-5k', **{given!r})\n"
        "print(len(runs), sorted(set(runs.frame['strategy'])))\n"
    )
    done = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "3 ['l2', 'naive', 'slower']\n"
    assert len([each for each in (tmp_path / "runs").iterdir() if each.is_dir()]) == 3


def test_a_failure_is_an_exception_with_the_runs_that_were_trained(tmp_path):
    with pytest.raises(
        cl_bench.TrainingError, match="1 run failed, the first of broken: Zero"
    ) as found:
        run([Broken, "naive"], tmp_path, seeds=1)
    assert found.value.runs is not None
    assert set(found.value.runs.frame["strategy"]) == {"naive"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strategies": "ewk"}, "unknown strategy 'ewk'; did you mean ewc"),
        ({"strategies": []}, "name at least one"),
        ({"strategies": [int]}, "is no strategy: give a name, a file or a class of Strategy"),
        ({"strategies": [Strategy]}, "what strategies are derived from"),
        ({"benchmark": "split-minst"}, "unknown benchmark 'split-minst'; did you mean split-mnist"),
        ({"scenario": "clas"}, "'task', 'domain' or 'class'"),
        ({"seeds": 0}, "seeds = 0: give their number"),
        ({"training": {"epoch": 1}}, "training.epoch"),
        ({"trainin": {"epochs": 1}}, "unknown key 'trainin.epochs'; did you mean training.epochs"),
        ({"epochs": 1}, "unknown key 'epochs'"),
        ({"config": "permuted-mnist-55"}, "unknown config"),
        ({"data_dir": "nowhere"}, "data_dir nowhere: there is no such folder"),
        ({"device": "gpu"}, "unknown device 'gpu'; did you mean cpu"),
        ({"workers": 0}, "workers = 0: should be at least 1"),
        ({"checkpoint_steps": -1}, "checkpoint_steps = -1: should be 0 or more"),
        ({"wandb": "of"}, "unknown W&B mode 'of'"),
        ({"strategies": ["ewc", "ewc"]}, "is given twice"),
    ],
)
def test_mistakes_are_user_errors_of_one_line(tmp_path, given, said):
    with pytest.raises(UserError) as found:
        cl_bench.run(**{"strategies": "naive", "out": tmp_path / "runs", **given})
    assert said in str(found.value)
    assert "\n" not in str(found.value)
    assert not any((tmp_path / "runs").glob("naive*"))
