"""Which code a checkpoint belongs to: all that a run's bits depend on, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import cl_bench
from cl_bench.engine import sources

PACKAGE = Path(cl_bench.__file__).parent


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """Return a copy of the suite that can be edited."""
    root = tmp_path_factory.mktemp("suite")
    left_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, root / "cl_bench", ignore=left_out)
    shutil.copytree(PACKAGE.parent / "strategies", root / "strategies", ignore=left_out)
    return root


def versions():
    """Return the code versions of training and of the landscape study, read again."""
    sources.code_version.cache_clear()
    return sources.code_version(), sources.code_version("landscape")


@pytest.mark.parametrize(
    ("file", "training", "study"),
    [
        ("cl_bench/seeding.py", True, True),
        ("cl_bench/config.py", True, True),
        ("cl_bench/data/dataset.py", True, True),
        ("cl_bench/benchmarks/class_split.py", True, True),
        ("cl_bench/engine/stack.py", True, True),
        ("cl_bench/methods/replay.py", True, True),
        ("cl_bench/instruments/probe.py", True, True),
        ("strategies/ewc.py", True, True),
        ("cl_bench/landscape/study.py", False, True),
        ("cl_bench/report/curves.py", False, False),
        ("cl_bench/cli/run.py", False, False),
        ("cl_bench/metrics/definitions.py", False, False),
    ],
)
def test_what_training_depends_on_and_nothing_else_changes_the_version(
    copied, file, training, study, monkeypatch
):
    monkeypatch.setattr(sources, "_PACKAGE", copied / "cl_bench")
    path = copied / file
    before, source = versions(), path.read_text()
    path.write_text(source + "\n# edited\n")
    after = versions()
    path.write_text(source)
    sources.code_version.cache_clear()
    assert [a != b for a, b in zip(before, after, strict=True)] == [training, study]
