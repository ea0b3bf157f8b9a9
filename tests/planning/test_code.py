"""Whether a strategy's code has changed: what it does counts, how it is written down does not."""

import shutil
import subprocess
import sys

import pytest

import cl_bench
from cl_bench.planning import code, finding
from cl_bench.results.store import REPLACED, RunStore

MINE = '''"""A method."""

from cl_bench.engine.strategy import Strategy
from cl_bench.methods.replay import Buffer


class Mine(Strategy):
    """Mine."""

    title = "Mine"

    def after_step(self, batch) -> None:
        """Act."""
        self.kept = Buffer
'''


@pytest.fixture
def source(tmp_path):
    """The suite's sources, to be edited."""
    package = tmp_path / "cl_bench"
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(code._PACKAGE, package, ignore=leave)
    for folder in ("strategies", "configs"):
        shutil.copytree(finding.folder(folder), package / folder, ignore=leave, dirs_exist_ok=True)
    return package


@pytest.fixture
def mine(tmp_path, source, monkeypatch):
    monkeypatch.setattr(code, "_PACKAGE", source)
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    finding.add_file(path)
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A method."""', '"""The method,\n\nin other words."""  # and a comment'),
        ('        """Act."""\n', ""),
        ("(self) -> None:", "(\n        self,\n    ) -> None:"),
        ("self.kept = Buffer", "self.kept = (Buffer)\n"),
        ('"Mine"\n', "'Mine'\n"),
    ],
)
def test_comments_docs_and_layout_are_no_code(mine, old, new):
    before = code.code_of("mine")
    assert old in MINE
    mine.write_text(MINE.replace(old, new))
    assert code.code_of("mine") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("self.kept = Buffer", "self.kept = 2"), ("after_step", "end_task"), ("self.kept", "self.k")],
)
def test_what_a_hook_does_is(mine, old, new):
    before = code.code_of("mine")
    mine.write_text(MINE.replace(old, new))
    assert code.code_of("mine") not in (before, None)


def test_so_is_what_it_shares_with_others_and_nothing_else_of_the_suite(mine, source):
    before = code.code_of("mine")
    for other in ("methods/fisher.py", "engine/strategy.py", "report/tables.py"):
        (source / other).write_text("nothing = 1\n")
    assert code.code_of("mine") == before
    shared = source / "methods" / "replay.py"
    shared.write_text(shared.read_text() + "\nmore = 1\n")
    after = code.code_of("mine")
    assert after != before
    shared.write_text("from cl_bench.methods import fisher\n")
    by_way_of = code.code_of("mine")
    (source / "methods" / "fisher.py").write_text("nothing = 2\n")
    assert code.code_of("mine") not in (by_way_of, after, before)


def test_every_strategy_of_the_suite_has_a_code_and_another_librarys_has_not():
    found = {name: code.code_of(name) for name in finding.strategy_names()}
    assert None not in found.values()
    assert len(set(found.values())) == len(found)
    assert code.code_of("avalanche:EWC") is None


def test_a_strategy_whose_hook_was_edited_is_trained_again(source, tmp_path):
    out = tmp_path / "runs"

    def run():
        words = f"run --strategy naive,joint --seeds=1 --tasks=2 --wandb=off --out={out}".split()
        words += ["--benchmark=permuted-mnist-5k", "--no-picture", "--set=network.hidden=[8]"]
        words += ["--set=benchmark.train_samples=128", "--set=benchmark.test_samples=50"]
        done = subprocess.run(
            [sys.executable, "-m", "cl_bench", *words, "--workers=1"],
            cwd=source.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    naive = source / "strategies" / "naive.py"
    assert "training 2 runs" in run()
    naive.write_text(naive.read_text() + "\n# in other words\n")
    assert "nothing to train" in run()
    before = cl_bench.load(out, "runs").set_index("strategy")
    naive.write_text(
        naive.read_text()
        + "\n    def adjust_gradient(self, gradient, batch):\n        gradient.mul_(0.5)\n"
    )
    said = run()
    assert "the code of naive has changed: 1 run trained before that will be trained again" in said
    assert "training 1 run" in said
    after = cl_bench.load(out, "runs").set_index("strategy")
    assert after.weights_sha256["joint"] == before.weights_sha256["joint"]
    assert after.weights_sha256["naive"] != before.weights_sha256["naive"]
    kept = RunStore(out / REPLACED / before["provenance.code"]["naive"][:16])
    assert (
        kept.open(after.run_id["naive"]).content["weights_sha256"] == before.weights_sha256["naive"]
    )
    assert "nothing to train" in run()
