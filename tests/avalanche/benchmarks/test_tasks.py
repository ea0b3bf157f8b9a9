"""Avalanche's benchmarks here: names, scenarios, epochs, samples, and what is refused."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cl_bench import benchmarks
from cl_bench.avalanche import benchmarks as avalanche_benchmarks
from cl_bench.config import BenchmarkConfig, Scenario
from cl_bench.errors import UserError
from tests.avalanche.benchmarks.support import (
    TRAIN,
    Build,
    digits,
    items,
    ours,
)


def test_names_are_those_of_the_module(theirs: Build) -> None:
    from avalanche.benchmarks import classic

    signatures = {
        name: inspect.signature(make).parameters
        for name in dir(classic)
        if callable(make := getattr(classic, name)) and not inspect.isclass(make)
    }
    found = {n: s for n, s in signatures.items() if {"n_experiences", "seed"} <= set(s)}
    assert set(avalanche_benchmarks.CLASSICS) == set(found)
    for name, known in avalanche_benchmarks.CLASSICS.items():
        default = found[name]["n_experiences"].default
        assert default in (inspect.Parameter.empty, known.tasks)
        if not known.impossible:
            assert ("shuffle" in found[name]) == (known.order == "seed")
            assert set(known.roots) == {p for p in found[name] if p.startswith("dataset_root")}
    listed = [name for name in benchmarks.names() if name.startswith("avalanche:")]
    assert len(listed) >= 8
    for name in listed:
        summary = benchmarks.summary(name)
        resolved = benchmarks.resolved(BenchmarkConfig(name=name))
        assert resolved.tasks == summary["default tasks"]
        assert resolved.scenario == summary["scenarios"][0]  # type: ignore[index]
        assert benchmarks.resolved(resolved) == resolved


def test_the_scenarios_show_the_same_stream(theirs: Build) -> None:
    by_scenario = {scenario: ours("SplitMNIST", scenario=scenario) for scenario in Scenario}
    positions = theirs("SplitMNIST", 5, 3, class_ids_from_zero_in_each_exp=True)
    for task in range(5):
        found = {s: b.examples(3, task, "train") for s, b in by_scenario.items()}
        for examples in found.values():
            np.testing.assert_array_equal(examples.images, found[Scenario.CLASS].images)
        position = items(positions.train_stream[task])[1]
        np.testing.assert_array_equal(found[Scenario.DOMAIN].labels, position)
        np.testing.assert_array_equal(found[Scenario.TASK].labels, position + 2 * task)
        np.testing.assert_array_equal(found[Scenario.CLASS].labels, position + 2 * task)
        own = np.arange(10) // 2 == task
        for scenario in (Scenario.TASK, Scenario.CLASS):
            np.testing.assert_array_equal(by_scenario[scenario].output_mask[task], own)
    domain = by_scenario[Scenario.DOMAIN]
    assert domain.n_outputs == 2
    assert domain.output_mask.all()
    assert len({b.stream_id(3) for b in by_scenario.values()}) == 3
    assert ours("SplitMNIST").scenario is Scenario.CLASS


def test_shared_classes_by_scenario() -> None:
    domain, task = (ours("PermutedMNIST", tasks=3, scenario=s) for s in ("domain", "task"))
    one, two = (b.examples(3, 2, "test") for b in (domain, task))
    np.testing.assert_array_equal(one.labels + 20, two.labels)
    assert (domain.n_outputs, task.n_outputs) == (10, 30)
    assert task.output_mask.sum(1).tolist() == [10, 10, 10]
    assert task.output_mask.sum(0).tolist() == [1] * 30
    with pytest.raises(UserError, match=r"no scenario 'class'.* it has domain, task"):
        ours("PermutedMNIST", scenario="class")


def test_the_fixed_order_is_the_same_for_all_seeds() -> None:
    benchmark = ours("SplitMNIST", order="fixed", scenario="task")
    pairs = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert [row["classes"] for row in benchmark.describe(7)] == pairs
    assert benchmark.stream_id(7) == benchmark.stream_id(8)
    counts = np.bincount(digits()[1])
    assert [benchmark.epoch_size(task) for task in range(5)] == [sum(counts[p]) for p in pairs]
    drawn = ours("SplitMNIST", order="fixed", train_samples=100)
    assert drawn.stream_id(7) != drawn.stream_id(8)


def test_epochs_are_the_same_for_all_seeds() -> None:
    assert [ours("SplitMNIST").epoch_size(task) for task in range(5)] == [TRAIN // 5] * 5
    assert [ours("PermutedMNIST", tasks=3).epoch_size(task) for task in range(3)] == [TRAIN] * 3
    assert ours("SplitMNIST", train_samples=100).epoch_size(4) == 100
    with pytest.raises(IndexError):
        ours("SplitMNIST").epoch_size(5)


def _rows(*parts: np.ndarray) -> set[bytes]:
    return {bytes(image) for images in parts for image in images}


def test_the_same_images_are_held_out_for_all_seeds_and_tasks() -> None:
    benchmark, whole = ours("SplitMNIST", validation_fraction=0.2), ours("SplitMNIST")
    held = []
    for seed in (0, 3):
        parts = {
            split: [benchmark.examples(seed, task, split).images for task in range(5)]
            for split in ("train", "valid", "test")
        }
        train_rows, valid = _rows(*parts["train"]), _rows(*parts["valid"])
        assert not train_rows & valid
        every = _rows(*(whole.examples(seed, task, "train").images for task in range(5)))
        assert train_rows | valid == every
        held.append(valid)
    assert held[0] == held[1]
    assert TRAIN / 5 - 10 < len(held[0]) < TRAIN / 5 + 10
    assert benchmark.epoch_size(0) == (TRAIN - len(held[0])) // 5
    permuted = ours("PermutedMNIST", tasks=3, validation_fraction=0.2)
    one, two = (np.sort(permuted.examples(3, task, "valid").images) for task in (0, 2))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(UserError, match="validation_fraction"):
        whole.examples(0, 0, "valid")
    with pytest.raises(UserError, match="without validation data"):
        ours("SplitMNIST", validation_fraction=0.001)


def test_samples_are_drawn_by_seed_and_task() -> None:
    numbers: dict[str, Any] = {"train_samples": 150, "test_samples": 40, "validation_fraction": 0.1}
    drawn, whole = ours("SplitMNIST", **numbers), ours("SplitMNIST", validation_fraction=0.1)
    for split, number in (("train", 150), ("valid", 30), ("test", 40)):
        some = drawn.examples(3, 1, split)  # type: ignore[arg-type]
        every = whole.examples(3, 1, split)  # type: ignore[arg-type]
        assert len(some.labels) == min(number, len(every.labels))
        assert _rows(some.images) <= _rows(every.images)
        again = drawn.examples(3, 1, split)  # type: ignore[arg-type]
        np.testing.assert_array_equal(again.images, some.images)
    assert drawn.stream_id(3) != whole.stream_id(3)
    # Two classes of the 10, whichever the seed brings together.
    smallest = int(np.sort(np.bincount(digits()[1]))[:2].sum())
    assert ours("SplitMNIST", train_samples=smallest).epoch_size(0) == smallest
    with pytest.raises(UserError, match=rf"train_samples.* at most {smallest}"):
        ours("SplitMNIST", train_samples=smallest + 1)
    with pytest.raises(UserError, match=r"test_samples.* at most 500"):
        ours("PermutedMNIST", tasks=3, test_samples=501)


def test_what_cannot_work_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="did you mean avalanche:SplitMNIST"):
        ours("SplitMNISt")
    with pytest.raises(UserError, match="SplitCUB200 cannot be had: its images differ in size"):
        ours("SplitCUB200")
    with pytest.raises(UserError, match=r"n_experiences=3.* cannot be divided"):
        ours("SplitMNIST", tasks=3)
    with pytest.raises(UserError, match=r"one class each.* take scenario 'class'"):
        ours("SplitMNIST", tasks=10, scenario="domain")
    with pytest.raises(UserError, match="order has no meaning for avalanche:PermutedMNIST"):
        ours("PermutedMNIST", order="fixed")
    (tmp_path / "file").touch()
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be made"):
        ours("SplitMNIST")
