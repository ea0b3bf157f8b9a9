"""Checkpoints: a stopped stack ends as if it had not been stopped, in the company it finds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from pandas.testing import assert_frame_equal

from cl_bench.engine import checkpoint as module
from cl_bench.engine.checkpoint import FOLDER, Checkpoint, path_for, read_header, unfinished
from cl_bench.results.store import RunStore
from tests.training import config, train

SHORT = {
    "benchmark": {"train_samples": 640, "tasks": 2},
    "network": {"hidden": (20,)},
    "evaluation": {"every": 7},
}


class StopsAfter(Checkpoint):
    """A checkpoint that stops the training once it was written so many times."""

    def __init__(self, path, writes, steps=3):
        super().__init__(path, seconds=None, steps=steps)
        self.left = writes

    def write(self, *args):
        super().write(*args)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def same(a, b):
    assert a.weights_sha256 == b.weights_sha256
    for table in ("accuracy", "curve", "predictions"):
        assert_frame_equal(getattr(a, table), getattr(b, table), check_exact=True)
    for name in ("samples_seen", "gradient_passes", "bytes_kept"):
        assert a.cost[name] == b.cost[name]


def stopped(path, configs, writes, steps=3):
    with pytest.raises(KeyboardInterrupt):
        train(configs, checkpoint=StopsAfter(path, writes, steps))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_optimisers_resume(tmp_path, optimizer):
    rate = {"name": optimizer, "learning_rate": 0.01, "reset": False}
    configs = [config("ewc", seed, optimizer=rate, **SHORT) for seed in (0, 1)]
    whole = train(configs)
    path = tmp_path / "c.safetensors"
    for writes in (2, 4):
        stopped(path, configs, writes)
    for a, b in zip(whole, train(configs, checkpoint=Checkpoint(path)), strict=True):
        same(a, b)


def test_part_of_a_stack_resumes(tmp_path):
    configs = [config("flatness", seed, **SHORT) for seed in (0, 1, 2)]
    whole = train(configs)
    path = tmp_path / "c.safetensors"
    stopped(path, configs, 9)
    seen = []
    rest = train(
        [configs[2], configs[0]],
        checkpoint=Checkpoint(path, seconds=None),
        on_progress=lambda done, total: seen.append(done),
    )
    same(rest[0], whole[2])
    same(rest[1], whole[0])


def test_other_code_or_a_damaged_file_starts_anew(tmp_path, monkeypatch):
    configs = [config("naive", 0, **SHORT)]
    path = path_for(tmp_path, [configs[0].run_id])
    stopped(path, configs, 2)
    assert unfinished(tmp_path) == {path: (configs[0].run_id,)}
    assert Checkpoint(path).read(["another"], torch.device("cpu")) is None
    with monkeypatch.context() as patch:
        patch.setattr(module, "code_version", lambda: "other")
        assert unfinished(tmp_path) == {}
    path.write_bytes(path.read_bytes()[:100])
    assert read_header(path) is None
    whole = train(configs)
    again = train(configs, checkpoint=Checkpoint(path))
    same(whole[0], again[0])


SMALL_FILES = """
import resource, sys
from pathlib import Path
from cl_bench.execution.worker import Work, train_and_store
from cl_bench.planning.packing import Stack
from tests.training import config

runs = [config("naive", seed, benchmark={"train_samples": 640}) for seed in range(6)]
# Twice the weights of a run: its record fits, the stack's checkpoint does not.
resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 90_000, resource.RLIM_INFINITY))
work = Work(Path(sys.argv[1]), checkpoint_seconds=None, checkpoint_steps=2)
train_and_store(work, Stack(tuple(runs), 20), lambda *told: None)
"""


@pytest.mark.skipif(os.name == "nt", reason="file sizes cannot be limited")
def test_a_checkpoint_that_cannot_be_written_is_told_once_and_costs_no_record(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SMALL_FILES, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cannot write {tmp_path / FOLDER}/")
    assert line.endswith("File too large; training goes on, but what is stopped now starts anew")
    assert len(RunStore(tmp_path).paths()) == 6
    assert list((tmp_path / FOLDER).iterdir()) == [], "nothing half written is left"


def test_written_by_time_and_by_steps(tmp_path):
    by_steps = Checkpoint(tmp_path / "a", seconds=None, steps=5)
    assert [step for step in range(1, 12) if by_steps.due(step)] == [5, 10]
    assert Checkpoint(tmp_path / "a", seconds=0.0).due(1)
    assert not Checkpoint(tmp_path / "a", seconds=100.0).due(1)
