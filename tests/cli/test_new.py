"""Files to begin with: they pass the checks as they are, and nothing is written over."""

import subprocess
import sys

import pytest

import cl_bench
from cl_bench import benchmarks
from cl_bench.cli import main
from cl_bench.planning import bringing, finding


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "_added", {})
    monkeypatch.chdir(tmp_path)


def test_a_new_strategy_passes_the_checks(capsys):
    assert main(["new", "strategy", "Slow-pull"]) == 0
    told = capsys.readouterr()
    assert told.out == "slow_pull.py\n"
    assert "check ./slow_pull.py" in told.err
    assert main(["check", "./slow_pull.py", "--scenario", "domain"]) == 0
    assert finding.load("./slow_pull.py").__name__ == "SlowPull"
    words = ["ruff", "check", "--isolated", "--select=E,F", "--line-length=100", "."]
    subprocess.run([sys.executable, "-m", *words], check=True)


def test_a_new_benchmark_is_trained_on_as_it_is(tmp_path, capsys):
    assert main(["new", "benchmark", "pairs"]) == 0
    name = bringing.resolve("./pairs.py")
    made = benchmarks.get(benchmarks.get(cl_bench.config.BenchmarkConfig(name=name)).config)
    assert (made.n_tasks, made.n_outputs) == (5, 10)
    assert main(["describe", "./pairs.py"]) == 0
    assert "pairs: tasks from arrays (benchmark)" in capsys.readouterr().out
    runs = cl_bench.run("naive", "./pairs.py", seeds=1, workers=1, wandb="off", out=tmp_path)
    assert set(runs.frame["benchmark"]) == {"pairs"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["strategy", "ewc"], "there is a strategy 'ewc' already; give another name"),
        (["benchmark", "split-mnist"], "there is a benchmark 'split-mnist' already"),
        (["strategy", "2fast"], "'2fast' cannot be a name"),
        (["strategy", "class"], "'class' cannot be a name"),
        (["stratgy", "mine"], "unknown kind 'stratgy'; did you mean strategy"),
        (["strategy", "mine", "--in", "nowhere"], "cannot write nowhere/mine.py"),
    ],
)
def test_a_name_that_cannot_be_is_refused(words, said, capsys, tmp_path):
    assert main(["new", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_left_as_it_is(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("precious")
    assert main(["new", "strategy", "mine"]) == 2
    assert "mine.py is there already; it is left as it is" in capsys.readouterr().err
    assert (tmp_path / "mine.py").read_text() == "precious"
