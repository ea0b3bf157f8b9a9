"""Ours in Avalanche and Avalanche's in ours: the same images, labels and tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cl_bench
from cl_bench import benchmarks
from cl_bench.config import BenchmarkConfig, Scenario
from cl_bench.engine.threads import one_thread
from tests.avalanche.benchmarks.support import (
    SPLITS,
    Build,
    items,
    ours,
    scaled,
)
from tests.training import config, train


@pytest.mark.parametrize("scenario", list(Scenario))
def test_ours_as_avalanches(scenario: Scenario) -> None:
    wanted = BenchmarkConfig(
        name="split-mnist-5k",
        scenario=scenario,
        order="seed",
        train_samples=60,
        test_samples=30,
        validation_fraction=0.1,
    )
    benchmark = benchmarks.get(wanted)
    built = cl_bench.to_avalanche(benchmark, 7)
    assert set(built.streams) == {"train", "valid", "test"}
    for split, stream in built.streams.items():
        assert len(stream) == 5
        seen: set[int] = set()
        for task, experience in enumerate(stream):
            expected = benchmark.examples(7, task, split)
            images, labels, task_labels = items(experience)
            assert images.dtype == np.float32
            np.testing.assert_array_equal(images, scaled(expected.images))
            np.testing.assert_array_equal(labels, expected.labels)
            assert set(task_labels) == {task if scenario is Scenario.TASK else 0}
            assert experience.current_experience == task
            assert experience.task_label == task_labels[0]
            assert experience.classes_in_this_experience == sorted(set(expected.labels))
            seen |= set(expected.labels)
            assert set(experience.classes_seen_so_far) == seen


def test_avalanches_here_and_back_are_avalanches(theirs: Build) -> None:
    built = theirs("SplitMNIST", 5, 3, class_ids_from_zero_from_first_exp=True)
    back = cl_bench.to_avalanche(ours("SplitMNIST"), 3)
    for half in SPLITS:
        for one, two in zip(
            getattr(built, f"{half}_stream"), getattr(back, f"{half}_stream"), strict=True
        ):
            for expected, found in zip(items(one), items(two), strict=True):
                np.testing.assert_array_equal(found, expected)
            assert set(one.classes_in_this_experience) == set(two.classes_in_this_experience)


@pytest.mark.parametrize("scenario", list(Scenario))
@pytest.mark.filterwarnings("ignore:No loggers")
def test_avalanche_trains_on_ours(theirs: Build, scenario: Scenario) -> None:
    from avalanche.models import SimpleMLP, as_multitask
    from avalanche.training import Cumulative

    wanted = BenchmarkConfig(name="split-mnist-5k", scenario=scenario, train_samples=200)
    benchmark = benchmarks.get(wanted)
    built = cl_bench.to_avalanche(benchmark, 0)
    torch.manual_seed(0)
    model = SimpleMLP(num_classes=benchmark.n_outputs, hidden_size=50)
    if scenario is Scenario.TASK:
        model = as_multitask(model, "classifier")
    strategy = Cumulative(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=20,
        train_epochs=3,
        evaluator=None,
    )
    with one_thread():
        for experience in built.train_stream[:2]:
            strategy.train(experience)
    images, labels, _ = items(built.test_stream[1])
    task_labels = torch.full((len(labels),), built.test_stream[1].task_label)
    model.eval()
    with torch.no_grad():
        arguments = (task_labels,) if scenario is Scenario.TASK else ()
        logits = model(torch.from_numpy(images).view(-1, 1, 28, 28), *arguments)
    assert np.mean(logits.argmax(1).numpy() == labels) > 0.8


def test_the_engine_trains_on_avalanches() -> None:
    wanted = {"name": "avalanche:SplitMNIST", "tasks": 5, "train_samples": 200, "test_samples": 80}
    training = {"iterations": 60, "batch_size": 20}
    runs = [config("naive", seed, benchmark=wanted, training=training) for seed in (3, 4)]
    records = train(runs)
    for run, record in zip(runs, records, strict=True):
        benchmark = benchmarks.get(run.benchmark, download=False)
        assert record.stream_id == benchmark.stream_id(run.seed)
        assert record.tasks == benchmark.describe(run.seed)
        assert record.data["name"] == "mnist"
        after = record.accuracy.query("after_task == task")
        assert after.accuracy.mean() > 0.8
