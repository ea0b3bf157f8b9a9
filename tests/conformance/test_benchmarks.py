"""`check --benchmark` passes what keeps its promises and names the fault of what does not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cl_bench.cli import main
from cl_bench.config import BenchmarkConfig
from cl_bench.conformance import benchmarks as checks
from cl_bench.conformance.promises import Broken
from cl_bench.planning import bringing
from tests.planning.test_bringing import FAMILY
from tests.support import forget_what_was_brought

EVENS = '''

class Evens(SameClasses):
    """All images, in tasks of them all."""

    default_dataset = "digits"
    title = "all of them"
    source = "an example"

    def transform(self, images, seed, task):
        return images ^ np.uint8(task)

    def definition(self, seed, task):
        return bytes([task])

    def describe(self, seed):
        return [{"task": task} for task in range(self.n_tasks)]
'''
HEAD = (
    "import numpy as np\nfrom cl_bench.benchmarks import Examples\n"
    "from cl_bench.benchmarks.same_classes import SameClasses\n"
)


@pytest.fixture(autouse=True)
def nothing_brought(monkeypatch, tmp_path):
    forget_what_was_brought(monkeypatch)
    monkeypatch.chdir(tmp_path)


def held(path, text):
    path.write_text(text)
    name = bringing.resolve(str(path))
    return checks.Held(bringing.as_given(name), BenchmarkConfig(name=name, tasks=2))


def test_a_sound_file_passes_every_check_in_every_scenario(tmp_path, capsys):
    (tmp_path / "dimmed.py").write_text(FAMILY)
    assert main(["check", "--benchmark", "./dimmed.py", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["benchmark"] for row in rows} == {"dimmed-digits"}
    assert {row["scenario"] for row in rows} == {"domain", "task", "class"}
    assert {row["outcome"] for row in rows} == {"passed"}
    assert len(rows) == 3 * len(checks.CHECKS)


@pytest.mark.parametrize(
    ("check", "more", "told"),
    [
        (
            "sizes",
            "def task_rows(self, seed, task, labels):\n"
            "    return np.flatnonzero(labels < 0) if task else None",
            "seed 0, task 1, train: no images",
        ),
        (
            "sizes",
            "def transform(self, images, seed, task):\n    return images / 0",
            "task 0, train: images of type float64",
        ),
        (
            "sizes",
            "def transform(self, images, seed, task):\n"
            "    return (images / np.float32(0)).astype('f4')",
            "task 0, train: NaN or infinite values",
        ),
        (
            "labels",
            "def output_of(self, labels, seed, task):\n    return labels + 1",
            "seed 0, task 0, train: labels from 1 to 10, of 10 outputs",
        ),
        (
            "labels",
            "def _outputs(self):\n    return 10, np.eye(2, 10, dtype=bool)",
            r"outputs \[2, 3, .* belong to no task",
        ),
        (
            "apart",
            "def examples(self, seed, task, split):\n"
            "    return super().examples(seed, task, 'train')",
            "task 0, test: 1437 of 1437 images stand in the training data, the first, row 0,",
        ),
        (
            "repeats",
            "def transform(self, images, seed, task):\n"
            "    return np.random.permutation(images.T).T.copy()",
            "other images or labels than before",
        ),
        (
            "repeats",
            "kept = {}\n\n"
            "def examples(self, *key):\n"
            "    return self.kept.setdefault(key, super().examples(*key))",
            "other images or labels than before",
        ),
        (
            "ids",
            "def describe(self, seed):\n    return [{'x': np.zeros(2)}] * 2",
            "describe gives what JSON has not",
        ),
        ("ids", "def stream_id(self, seed):\n    return 'same'", "stream_id is 'same', not 16"),
        (
            "processes",
            "def definition(self, seed, task):\n    return str(hash('a' * task)).encode()",
            "stream_id of seed 0 is .* in a fresh process",
        ),
    ],
)
def test_a_broken_promise_is_named(tmp_path, check, more, told):
    body = "".join(f"    {line}\n" if line else "\n" for line in more.splitlines())
    sick = held(tmp_path / "sick.py", f"{HEAD}{EVENS}\n{body}")
    with np.errstate(all="ignore"), pytest.raises(Broken, match=told):
        getattr(checks, check)(sick)


def test_a_fault_is_a_row_and_exit_code_1(tmp_path, capsys):
    (tmp_path / "leaks.py").write_text(
        "from sklearn.datasets import load_digits\nfrom cl_bench.benchmarks import Tasks\n"
        "x, y = load_digits(return_X_y=True)\n"
        "benchmark = Tasks.from_arrays([(x[:900], y[:900], x[899:], y[899:])])\n"
    )
    words = ["check", "--benchmark", "./leaks.py", "--scenario", "class", "--format", "json"]
    assert main(words) == 1
    rows = json.loads(capsys.readouterr().out)
    failed = {row["check"]: row["why"] for row in rows if row["outcome"] == "failed"}
    assert failed == {
        "apart": "seed 0, task 0, test: 1 of 898 images stand in the training data, the first,"
        " row 0, in that of task 0"
    }


@pytest.mark.parametrize(
    "words",
    [
        ["./not_there.py"],
        ["splitt-digits"],
        ["split-digits", "naive"],
        ["two-task-digits", "--scenario", "klass"],
    ],
)
def test_what_cannot_be_checked_is_one_line_and_exit_code_2(words, capsys):
    assert main(["check", "--benchmark", *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
