"""Benchmarks and data from files: found by path, named, sent to workers, refused in a line."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cl_bench import benchmarks, data
from cl_bench.benchmarks import registry
from cl_bench.cli import main
from cl_bench.config import BenchmarkConfig
from cl_bench.errors import UserError
from cl_bench.planning import bringing, finding
from cl_bench.planning.reading import read
from cl_bench.planning.resolving import runs_of
from cl_bench.results.store import RunStore
from tests.support import forget_what_was_brought

ARRAYS = """
import numpy as np
from sklearn.datasets import load_digits

from cl_bench.benchmarks import Tasks

x, y = load_digits(return_X_y=True)


def task(*classes):
    rows = np.flatnonzero(np.isin(y, classes))
    test, train = rows[::4], np.delete(rows, np.s_[::4])
    return x[train] / 16, y[train], x[test] / 16, y[test]


benchmark = Tasks.from_arrays([task(0, 1, 2), task(3, 4)])
"""

FAMILY = '''
import numpy as np

from cl_bench.benchmarks.same_classes import SameClasses


class Dimmed(SameClasses):
    """Each task shows the images darker, by a factor drawn by seed and task."""

    default_dataset = "digits"
    title = "darker"
    source = "an example"

    def factor(self, seed, task):
        return float(self._stream("factor", seed, task).uniform(0.2, 1))

    def transform(self, images, seed, task):
        return (images * self.factor(seed, task)).astype(np.uint8)

    def definition(self, seed, task):
        return self.factor(seed, task).hex().encode()

    def describe(self, seed):
        return [{"task": t, "factor": self.factor(seed, t)} for t in range(self.n_tasks)]
'''


@pytest.fixture(autouse=True)
def nothing_brought(monkeypatch, tmp_path):
    forget_what_was_brought(monkeypatch)
    monkeypatch.chdir(tmp_path)


def benchmark_of(name, **settings):
    return benchmarks.get(BenchmarkConfig.model_validate({"name": name, **settings}))


def test_a_file_of_arrays_is_a_benchmark_that_goes_by_its_name(tmp_path):
    (tmp_path / "my_tasks.py").write_text(ARRAYS)
    protocol = read(options={"benchmark.name": "./my_tasks.py"})[0]
    assert protocol.benchmark.name == "my-tasks"
    made = benchmark_of("my-tasks")
    assert (made.n_tasks, made.n_outputs, made.input_shape) == (2, 5, (1, 1, 64))
    assert "my-tasks" in benchmarks.names()
    assert list(bringing.brought().values()) == [str(tmp_path / "my_tasks.py")]
    assert not bringing.known_here_alone("my-tasks")


def test_a_function_makes_the_benchmark(tmp_path):
    text = ARRAYS.replace("benchmark = Tasks", "def benchmark():\n    return Tasks")
    (tmp_path / "made.py").write_text(text)
    (tmp_path / "same.py").write_text(ARRAYS)
    made, same = (benchmark_of(bringing.resolve(f"./{name}.py")) for name in ("made", "same"))
    assert made.config.content == same.config.content, "the arrays are the same"


def test_a_file_with_a_family_is_one_on_any_dataset(tmp_path):
    (tmp_path / "dimmed.py").write_text(FAMILY)
    assert bringing.resolve("./dimmed.py") == "dimmed-digits"
    assert bringing.resolve("./dimmed.py:mnist-5k") == "dimmed-mnist-5k"
    before = benchmark_of("dimmed-digits", tasks=2)
    assert before.config.content
    assert before.n_tasks == 2
    (tmp_path / "dimmed.py").write_text(FAMILY.replace("0.2", "0.3"))
    bringing.resolve("./dimmed.py")
    assert benchmark_of("dimmed-digits", tasks=2).config.content != before.config.content
    with pytest.raises(UserError, match="'dimmed-digits' has changed"):
        benchmarks.get(before.config)


def test_the_suites_own_benchmarks_have_no_content_in_their_ids():
    config = benchmark_of("split-digits").config
    assert config.content is None
    assert "content" not in config.model_dump()


def test_data_in_a_file_serve_every_family(tmp_path):
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8)
    texts = np.array([f"digit {each}" for each in y])
    np.savez(
        tmp_path / "pets.npz",
        x_train=x[:1200],
        y_train=texts[:1200],
        x_test=x[1200:],
        y_test=texts[1200:],
    )
    assert bringing.resolve("split-./pets.npz") == "split-pets"
    made = benchmark_of("split-pets", scenario="class")
    assert made.input_shape == (1, 8, 8)
    assert made.examples(0, 0, "train").images.dtype == np.float32
    assert made.config.content
    assert bringing.resolve("permuted-./pets.npz") == "permuted-pets"
    assert benchmark_of("permuted-pets").n_outputs == 10
    data.add(data.from_arrays("pets", x, texts, x, texts))
    with pytest.raises(UserError, match="'split-pets' has changed"):
        benchmarks.get(made.config)


def test_workers_bring_it_too_and_the_bits_are_those_of_one_process(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(ARRAYS)
    few = ["--strategy", "naive,er", "--seeds", "1", "--wandb", "off", "--no-picture"]
    for out, workers in (("pool", "2"), ("here", "1")):
        words = ["run", "--benchmark", "./mine.py", *few, "--out", out, "--workers", workers]
        assert main(words) == 0
    protocol = read(strategies=["naive", "er"], options={"benchmark.name": "./mine.py", "seeds": 1})
    runs = runs_of(protocol[0], benchmark_of("mine"))
    stores = [RunStore(tmp_path / out) for out in ("pool", "here")]
    for config in runs:
        one, other = (s.open(s.directory(config)).content["weights_sha256"] for s in stores)
        assert one == other


def test_an_entry_point_is_a_benchmark(tmp_path, monkeypatch):
    (tmp_path / "bring_tasks.py").write_text(ARRAYS)
    meta = tmp_path / "bring_tasks-1.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: bring-tasks\nVersion: 1\n")
    (meta / "entry_points.txt").write_text(
        "[cl_bench.benchmarks]\nowned = bring_tasks:benchmark\nbroken = not_there:benchmark\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entry_points.cache_clear()
    try:
        assert benchmark_of("owned").n_outputs == 5
        assert "owned" in benchmarks.names()
        with pytest.raises(UserError, match=r"'broken' .* No module named 'not_there'"):
            benchmark_of("broken")
        assert benchmark_of("split-digits").n_tasks == 5, "others do not care"
    finally:
        registry._entry_points.cache_clear()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\n", r"must define `benchmark` .* found neither"),
        ("benchmark = 3\n", "int is no benchmark"),
        ("def benchmark():\n    return None\n", "benchmark is no benchmark"),
        (FAMILY + "\n\nclass Other(Dimmed): ...\n", "found Dimmed, Other"),
        (FAMILY.replace("def definition", "def other"), "Dimmed does not define definition"),
        (FAMILY.replace("default_dataset", 'family = "split"\n    _x'), "'split' is one of the"),
        ("1 / 0\n", r"bad\.py:1: ZeroDivisionError: division by zero"),
        ("def broken(:\n", r"does not import: \S+bad\.py:1: invalid syntax"),
        (ARRAYS.replace("x[train] / 16,", "x[train] / 0,", 1), "NaN or infinite"),
        (ARRAYS.replace("task(3, 4)", "task()"), "task 1's train_x is empty"),
        (ARRAYS.replace("y[train],", "y[train][1:],"), r"labels for the \d+ images"),
    ],
)
def test_a_file_that_is_no_benchmark_is_one_line_and_exit_code_2(tmp_path, capsys, text, told):
    (tmp_path / "bad.py").write_text(text)
    with np.errstate(all="ignore"):
        code = main(["run", "--benchmark", "./bad.py", "--strategy", "naive", "--wandb", "off"])
    assert code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in lines if "Warning" not in line and not line.startswith("  ")]
    assert len(lines) == 1
    with pytest.raises(UserError, match=told), np.errstate(all="ignore"):
        bringing.resolve("./bad.py")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("./not_there.py", "there is no benchmark file ./not_there.py"),
        ("./thing.txt", "is no benchmark file, which ends in .py, nor a family and its data"),
        ("split-./not_there.npz", "there is no data file or folder"),
        ("split-./bad.npz", "bad.npz is no file of arrays"),
        ("split-./other.npz", "holds a, b; it needs x_train, y_train, x_test, y_test"),
        ("split-./digits.npz", "the name 'digits' is taken by another dataset"),
        ("split-./empty", "empty/train holds no images"),
    ],
)
def test_data_that_are_not_there_are_told(tmp_path, given, told):
    (tmp_path / "bad.npz").write_bytes(b"no arrays")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "other.npz", a=1, b=2)
    x, y = np.zeros((4, 3), np.uint8), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "digits.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(UserError, match=told):
        bringing.resolve(given)


def test_a_strategy_may_not_be_taken_for_a_benchmark():
    own_file = finding.folder("strategies") / "naive.py"
    with pytest.raises(UserError, match="must define `benchmark`"):
        bringing.resolve(str(own_file))
