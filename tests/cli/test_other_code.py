"""`run` after a strategy of the suite was edited."""

import shutil
import subprocess
import sys

import pytest

import cl_bench
from cl_bench.planning import finding
from cl_bench.results.store import REPLACED, RunStore


def installed(folder):
    """Return a copy of the suite, its strategies and configs within as a wheel has them."""
    package = folder / "cl_bench"
    shutil.copytree(cl_bench.__path__[0], package, ignore=shutil.ignore_patterns("__pycache__"))
    for kind in ("strategies", "configs"):
        shutil.copytree(finding.folder(kind), package / kind, dirs_exist_ok=True)
    return package


@pytest.mark.slow
def test_a_strategy_whose_hook_was_edited_is_trained_again(tmp_path):
    out, source = tmp_path / "runs", installed(tmp_path)

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
