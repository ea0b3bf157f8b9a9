"""Trainings killed at random moments end with the bits of one that was left alone."""

from __future__ import annotations

import random

import pytest

from cl_bench.conformance import kills as module
from cl_bench.conformance.kills import kill_and_compare
from cl_bench.conformance.trainings import Trainings
from cl_bench.planning import finding

pytestmark = pytest.mark.slow


def first_config(name, folder):
    kind = finding.load(name)
    scenario = sorted(kind.scenarios)[0]
    return Trainings(name, scenario, folder).config()


@pytest.mark.parametrize("strategy", finding.strategy_names())
def test_killed_again_and_again_it_ends_the_same(strategy, tmp_path):
    config = first_config(strategy, tmp_path)
    found = kill_and_compare(config, tmp_path, 3, random.Random(strategy))
    assert found.kills == 3
    assert found.records >= 1
    assert found.differing == 0


def test_a_checkpoint_that_loses_something_is_found_out(tmp_path, monkeypatch):
    """The comparison can fail: here a figure depends on the process that computed it."""
    config = first_config("er", tmp_path)
    monkeypatch.setattr("cl_bench.engine.training.Recorder.after_task", forgetful)
    found = kill_and_compare(config, tmp_path, 6, random.Random(0))
    assert found.differing > 0


def forgetful(self, after, task, evaluation):
    import os

    self.rows["accuracy"][0].append([after, task, os.getpid() / 1e6, 0.5, 1.0, 50])


def test_a_training_that_fails_is_no_kill(tmp_path, monkeypatch):
    config = first_config("naive", tmp_path)

    def broken(*args):
        raise ValueError("broken")

    monkeypatch.setattr(module, "train_and_store", broken)
    with pytest.raises(RuntimeError, match="naive: the training process failed"):
        kill_and_compare(config, tmp_path, 1, random.Random(0))
