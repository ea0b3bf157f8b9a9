"""Features: floats of any range are trained on as they are, kept as they are, in any company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cl_bench import benchmarks
from cl_bench.benchmarks import Tasks, registry
from cl_bench.conformance.comparing import differences, not_finite
from cl_bench.engine.stack import assemble
from cl_bench.engine.tasks import TaskData
from cl_bench.errors import UserError
from cl_bench.methods.replay import Buffer
from cl_bench.planning import finding
from cl_bench.planning.reading import read
from cl_bench.planning.resolving import runs_of
from tests.training import config, train


@pytest.fixture
def features(monkeypatch):
    """Add a benchmark of three tasks of unequal size, of float features far from [0, 1]."""
    monkeypatch.setattr(registry, "_added", {})
    rng = np.random.default_rng(0)
    tasks = []
    for task, (classes, n) in enumerate([(2, 150), (3, 90), (2, 110)]):
        labels = np.arange(n) % classes
        x = rng.normal(size=(n, 12)) * 5 + 10 * np.eye(12)[labels] - 3
        cut = n * 2 // 3
        tasks.append((x[:cut], labels[:cut] + 3 * task, x[cut:], labels[cut:] + 3 * task))
    own = Tasks.from_arrays(tasks, name="features")
    benchmarks.add(own)
    return own


def run(strategy, seed, **changes):
    wanted = {"name": "features", "tasks": None, "train_samples": None, "test_samples": None}
    return config(
        strategy,
        seed,
        benchmark=wanted,
        network={"hidden": (16,)},
        training={"iterations": 20, "batch_size": 16},
        **changes,
    )


@pytest.mark.parametrize("strategy", ["naive", "ewc", "er", "icarl", "gem"])
def test_a_run_on_features_is_the_same_alone_and_stacked(features, strategy):
    runs = [run(strategy, seed) for seed in range(3)]
    stacked, alone = train(runs), train(runs[1:2])[0]
    assert not_finite(alone) == []
    assert differences(alone, stacked[1]) == []
    assert alone.accuracy[alone.accuracy.after_task == 0].accuracy.iloc[0] > 0.85


def test_a_buffer_keeps_features_as_they_are(features):
    made = assemble([run("er", 0)], finding.load("er"))
    task = TaskData(made.streams, 0)
    batch = next(task.minibatches(16, 1))
    assert not batch.as_bytes
    buffer = Buffer(made.learner, 16)
    buffer.add(batch)
    kept = buffer.all()
    assert kept.images.dtype == torch.float32
    assert not kept.as_bytes
    given = {row.tobytes() for row in features.examples(0, 0, "train").images}
    assert {row.numpy().tobytes() for row in kept.images[0]} <= given


def test_a_strategy_that_makes_pixels_is_refused_before_training(features):
    protocol = read(None, strategies=["dgr"], options={"benchmark.name": "features"})[0]
    with pytest.raises(UserError, match=r"'dgr' makes images.* float features"):
        runs_of(protocol, benchmarks.get(protocol.benchmark))
