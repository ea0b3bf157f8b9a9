"""Benchmarks by name: listed without data, refused with a reason, renamed where data stand in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cl_bench import benchmarks
from cl_bench.benchmarks import Benchmark
from cl_bench.benchmarks.permuted import Permuted
from cl_bench.config import BenchmarkConfig, Scenario
from cl_bench.data import load, names
from cl_bench.data.catalogue import CATALOGUE, Archived
from cl_bench.errors import UserError

Make = Callable[..., Benchmark]
PROBABLY_ELSEWHERE = tuple(name for name in names() if isinstance(CATALOGUE[name], Archived))
"""Data that no test machine has; `tests/data/test_formats.py` makes small ones."""


def test_every_name_has_a_summary_and_can_be_built(make: Make, real_data: Path | None) -> None:
    for name in benchmarks.names():
        summary = benchmarks.summary(name)
        if ":" in name:  # another library's, tested with it
            continue
        if name.endswith(PROBABLY_ELSEWHERE) or (real_data is None and "fashion" in name):
            continue
        benchmark = make(name)
        assert benchmark.config.tasks == summary["default tasks"] == benchmark.n_tasks
        assert benchmark.scenario.value == summary["scenarios"][0]  # type: ignore[index]
        assert benchmark.scenario is benchmark.config.scenario
        assert len(benchmark.describe(0)) == benchmark.n_tasks


def test_a_resolved_configuration_resolves_to_itself(make: Make) -> None:
    for name in ("permuted-mnist-5k", "split-mnist-5k", "rotated-mnist-5k", "two-task-mnist-5k"):
        first = make(name, train_samples=50)
        again = make(**first.config.model_dump())
        assert again.config == first.config
        assert again.stream_id(3) == first.stream_id(3)


@pytest.mark.usefixtures("no_data")
def test_without_mnist_the_benchmark_is_the_5k_one_and_says_so() -> None:
    benchmark = benchmarks.get(BenchmarkConfig(name="split-mnist"), download=False)
    assert benchmark.name == benchmark.config.name == "split-mnist-5k"
    assert "mnist-5k" in str(benchmark.notice)
    direct = benchmarks.get(BenchmarkConfig(name="split-mnist-5k"), download=False)
    assert direct.stream_id(0) == benchmark.stream_id(0)
    assert direct.config == benchmark.config
    assert direct.notice is None


@pytest.mark.usefixtures("no_data")
def test_samples_beyond_the_stand_in_are_lowered_aloud() -> None:
    config = BenchmarkConfig(name="permuted-mnist", train_samples=10_000, test_samples=500)
    benchmark = benchmarks.get(config, download=False)
    assert (benchmark.config.train_samples, benchmark.config.test_samples) == (4_000, 500)
    assert "train_samples lowered from 10000 to 4000" in str(benchmark.notice)
    with pytest.raises(UserError, match=r"train_samples = 10000.* at most 4000"):
        benchmarks.get(config.model_copy(update={"name": "permuted-mnist-5k"}))


@pytest.mark.usefixtures("no_data")
def test_mistakes_are_told_before_data_are_looked_for() -> None:
    with pytest.raises(UserError, match="did you mean permuted-mnist"):
        benchmarks.get(BenchmarkConfig(name="permutted-mnist"))
    with pytest.raises(UserError, match="unknown benchmark"):
        benchmarks.summary("permuted-")
    with pytest.raises(UserError, match="order has no meaning for permuted-fashion-mnist"):
        benchmarks.get(BenchmarkConfig(name="permuted-fashion-mnist", order="seed"))
    with pytest.raises(UserError, match="has 2 tasks, not 5"):
        benchmarks.get(BenchmarkConfig(name="two-task-fashion-mnist", tasks=5))
    with pytest.raises(UserError, match="identity_first has no meaning for split-mnist"):
        benchmarks.get(BenchmarkConfig(name="split-mnist", identity_first=True))
    with pytest.raises(UserError, match="padding has no meaning for avalanche:SplitMNIST"):
        benchmarks.resolved(BenchmarkConfig(name="avalanche:SplitMNIST", padding=2))


def test_a_scenario_that_a_benchmark_lacks_is_refused() -> None:
    class DomainOnly(Permuted):
        scenarios = (Scenario.DOMAIN,)

    config = BenchmarkConfig(name="permuted-mnist-5k", scenario=Scenario.CLASS)
    with pytest.raises(UserError, match="no scenario 'class'; it has domain"):
        DomainOnly(config, load("mnist-5k"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tasks": 3}, r"divided evenly into 3 tasks; benchmark.tasks = 2 .*1, 2, 5, 10"),
        ({"tasks": 7}, r"benchmark.tasks = 5 is the nearest"),
        ({"tasks": 10}, r"one class each .* scenario 'class', or benchmark.tasks = 5"),
        ({"tasks": 10, "scenario": "domain"}, "scenario 'class'"),
        ({"train_samples": 801}, "at most 800"),
        ({"order": "seed", "test_samples": 201}, "at most 200"),
        ({"validation_fraction": 0.001}, "without validation data"),
        ({"validation_fraction": 0.9999}, "without training data"),
    ],
)
def test_what_cannot_work_is_refused_with_what_can(
    make: Make, settings: dict[str, object], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        make("split-mnist-5k", **settings)


def test_one_class_a_task_in_the_class_scenario(make: Make) -> None:
    benchmark = make("split-mnist-5k", tasks=10, scenario="class")
    assert benchmark.n_outputs == 10
    assert set(benchmark.examples(0, 7, "test").labels.tolist()) == {7}
