"""Streams: the same for the same seed, another for another definition, labels as promised."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cl_bench.benchmarks import Benchmark, Split
from cl_bench.errors import UserError

Make = Callable[..., Benchmark]
FAMILIES = ("permuted", "split", "rotated", "two-task")
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


def content(benchmark: Benchmark, seed: int) -> str:
    """Return a hash of all images and labels of a stream, in order."""
    digest = hashlib.sha256()
    for task in range(benchmark.n_tasks):
        for examples in (
            benchmark.examples(seed, task, "train"),
            benchmark.examples(seed, task, "test"),
        ):
            digest.update(examples.images.tobytes() + examples.labels.tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_labels_outputs_and_mask_agree(make: Make, family: str, scenario: str) -> None:
    benchmark = make(f"{family}-mnist", scenario=scenario)
    per_task = 10 if family in ("permuted", "rotated") else 2
    n_tasks = 2 if family == "two-task" else 5
    shared = scenario == "domain"
    assert benchmark.n_outputs == (per_task if shared else per_task * n_tasks)
    assert benchmark.output_mask.shape == (n_tasks, benchmark.n_outputs)
    for task in range(n_tasks):
        examples = benchmark.examples(1, task, "test")
        assert examples.images.dtype == np.uint8
        assert examples.images.flags.c_contiguous
        assert examples.images.flags.writeable
        assert examples.labels.flags.writeable
        assert examples.labels.dtype == np.int64
        first = 0 if shared else task * per_task
        used = np.unique(examples.labels)
        np.testing.assert_array_equal(used, np.arange(first, first + per_task))
        np.testing.assert_array_equal(np.flatnonzero(benchmark.output_mask[task]), used)
        size = benchmark.epoch_size(task)
        assert len(benchmark.examples(1, task, "train").images) == size


def test_split_labels_are_the_digits(make: Make) -> None:
    benchmark = make("split-mnist", scenario="class")
    data = benchmark.dataset
    for task in range(5):
        digits = np.isin(data.test_labels, [2 * task, 2 * task + 1])
        examples = benchmark.examples(0, task, "test")
        np.testing.assert_array_equal(examples.labels, data.test_labels[digits])
        np.testing.assert_array_equal(examples.images, data.test_images[digits])


def test_split_by_seed_numbers_outputs_in_the_seeds_order(make: Make) -> None:
    benchmark = make("split-mnist", scenario="class", order="seed")
    orders = set()
    for seed in range(4):
        classes = np.array([row["classes"] for row in benchmark.describe(seed)]).ravel()
        assert sorted(classes) == list(range(10))
        orders.add(tuple(classes))
        for task in (0, 4):
            examples = benchmark.examples(seed, task, "test")
            of_task = np.isin(benchmark.dataset.test_labels, classes[2 * task : 2 * task + 2])
            np.testing.assert_array_equal(
                classes[examples.labels], benchmark.dataset.test_labels[of_task]
            )
    assert len(orders) == 4
    sizes = [len(benchmark.examples(0, task, "train").labels) for task in range(5)]
    assert benchmark.epoch_size(0) == benchmark.epoch_size(3) == sum(sizes) // 5


def test_two_task_is_zero_one_then_two_three(make: Make) -> None:
    benchmark = make("two-task-mnist")
    data = benchmark.dataset
    for task, digits in enumerate([(0, 1), (2, 3)]):
        examples = benchmark.examples(0, task, "train")
        of_task = np.isin(data.train_labels, digits)
        np.testing.assert_array_equal(examples.images, data.train_images[of_task])
        np.testing.assert_array_equal(examples.labels, data.train_labels[of_task] - digits[0])


def test_permuted_moves_pixels_and_nothing_else(make: Make) -> None:
    benchmark = make("permuted-mnist", tasks=3)
    data = benchmark.dataset
    seen = [data.test_images]
    for task in range(3):
        images = benchmark.examples(0, task, "test").images
        np.testing.assert_array_equal(np.sort(images[:50]), np.sort(data.test_images[:50]))
        columns = {column.tobytes() for column in images.T}
        assert columns == {column.tobytes() for column in data.test_images.T}
        assert not any(np.array_equal(images, other) for other in seen)
        seen.append(images)


def test_tasks_do_not_depend_on_scenario_or_on_how_many_there_are(make: Make) -> None:
    for family in ("permuted-mnist-5k", "rotated-mnist-5k"):
        few, many = make(family, tasks=3), make(family, tasks=6, scenario="class")
        for task in range(3):
            np.testing.assert_array_equal(
                few.examples(5, task, "test").images, many.examples(5, task, "test").images
            )


def test_padding_is_put_around_images_before_a_task_changes_them(make: Make) -> None:
    plain = make("split-mnist-5k").examples(0, 1, "test")
    split = make("split-mnist-5k", padding=2)
    padded = split.examples(0, 1, "test")
    assert split.input_shape == (1, 32, 32)
    images = padded.images.reshape(-1, 32, 32)
    np.testing.assert_array_equal(images[:, 2:-2, 2:-2].reshape(-1, 784), plain.images)
    assert images.sum() == plain.images.sum(dtype=np.int64)
    np.testing.assert_array_equal(padded.labels, plain.labels)
    permuted = make("permuted-mnist-5k", padding=2).examples(0, 0, "test").images
    black = (permuted == 0).all(0)
    assert black.reshape(32, 32)[2:-2, 2:-2].sum() > 150, "the border's pixels move, too"


def test_the_first_permuted_task_may_be_the_images_as_they_are(make: Make) -> None:
    usual, plain = make("permuted-mnist-5k"), make("permuted-mnist-5k", identity_first=True)
    shown = [plain.examples(3, task, "test").images for task in (0, 1)]
    np.testing.assert_array_equal(shown[0], plain.dataset.test_images)
    np.testing.assert_array_equal(shown[1], usual.examples(3, 1, "test").images)


@pytest.mark.parametrize("family", FAMILIES)
def test_same_seed_same_stream_other_seed_another(make: Make, family: str) -> None:
    settings = {"order": "seed"} if family == "split" else {}
    name = f"{family}-mnist-5k"
    one, two = make(name, **settings), make(name, **settings)
    assert content(one, 0) == content(two, 0)
    assert one.stream_id(0) == two.stream_id(0)
    differs = family != "two-task"
    assert (content(one, 0) != content(one, 1)) == differs
    assert (one.stream_id(0) != one.stream_id(1)) == differs


def test_stream_ids_differ_whenever_the_stream_does(make: Make) -> None:
    base: dict[str, Any] = {"name": "split-mnist-5k"}
    variants: list[dict[str, Any]] = [
        base,
        base | {"tasks": 2},
        base | {"scenario": "domain"},
        base | {"scenario": "class"},
        base | {"order": "seed"},
        base | {"padding": 1},
        base | {"train_samples": 50},
        base | {"train_samples": 51},
        base | {"test_samples": 50},
        base | {"validation_fraction": 0.1},
        base | {"validation_fraction": 0.2},
        base | {"validation_fraction": 0.2, "test_samples": 50},
        {"name": "permuted-mnist-5k"},
        {"name": "permuted-mnist-5k", "tasks": 6},
        {"name": "permuted-mnist-5k", "scenario": "task"},
        {"name": "permuted-mnist-5k", "train_samples": 50},
        {"name": "permuted-mnist-5k", "padding": 2},
        {"name": "permuted-mnist-5k", "identity_first": True},
        {"name": "rotated-mnist-5k"},
        {"name": "rotated-mnist-5k", "padding": 2},
        {"name": "two-task-mnist-5k"},
        {"name": "permuted-mnist"},
        {"name": "split-mnist"},
    ]
    ids = {}
    for variant, seed in itertools.product(variants, (0, 1)):
        benchmark = make(**variant)
        random = (
            benchmark.name.startswith(("permuted", "rotated"))
            or benchmark.config.order == "seed"
            or benchmark.config.train_samples is not None
            or benchmark.config.test_samples is not None
        )
        key = (benchmark.config.model_dump_json(), seed if random else 0)
        ids[key] = benchmark.stream_id(seed)
    assert len(set(ids.values())) == len(ids)
    assert all(len(value) == 16 for value in ids.values())


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("permuted-mnist-5k", {}, "459f8b4072788c5f 89c6b747d8024c58"),
        ("split-mnist-5k", {"order": "seed"}, "12ce2350ed8f1dd4 494426ea663542b9"),
        ("rotated-mnist-5k", {}, "e656cd705a6cd417 4938378bebaad3f8"),
        (
            "two-task-mnist-5k",
            {"train_samples": 100, "validation_fraction": 0.1},
            "69301a0fef3f36b3 1caa4137a0d7b03d",
        ),
    ],
)
def test_streams_stay_what_they_were(
    make: Make, name: str, settings: dict[str, object], expected: str
) -> None:
    """Who changes these must raise the benchmark's `version`: old records are of other streams."""
    benchmark = make(name, **settings)
    assert f"{benchmark.stream_id(7)} {content(benchmark, 7)}" == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_validation_data_are_held_out_of_training(make: Make, family: str) -> None:
    benchmark = make(f"{family}-mnist-5k", validation_fraction=0.1)
    whole = make(f"{family}-mnist-5k")
    task = benchmark.n_tasks - 1
    train, valid = _multiset(benchmark, task, "train"), _multiset(benchmark, task, "valid")
    every = _multiset(whole, task, "train")
    assert sorted(train + valid) == every
    assert len(valid) == len(every) // 10
    assert len(benchmark.examples(0, task, "test").labels) == len(
        whole.examples(0, task, "test").labels
    )
    assert benchmark.epoch_size(task) == len(train)
    with pytest.raises(UserError, match="validation_fraction"):
        whole.examples(0, task, "valid")


def _multiset(benchmark: Benchmark, task: int, split: Split) -> list[bytes]:
    examples = benchmark.examples(0, task, split)
    return sorted(map(bytes, np.column_stack([examples.images, examples.labels.astype(np.uint8)])))


def test_validation_images_are_the_same_for_all_seeds_and_balanced(make: Make) -> None:
    benchmark = make("permuted-mnist-5k", validation_fraction=0.25)
    one, two = (benchmark.examples(seed, 0, "valid") for seed in (0, 1))
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(np.sort(one.images), np.sort(two.images))
    assert np.bincount(one.labels).tolist() == [100] * 10


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_drawn_by_seed_and_task_without_replacement(make: Make, family: str) -> None:
    name = f"{family}-mnist-5k"
    settings = {"train_samples": 150, "test_samples": 60, "validation_fraction": 0.05}
    benchmark, whole = make(name, **settings), make(name, validation_fraction=0.05)
    for split, number in zip(SPLITS, (150, 60, 60), strict=True):
        of_task = _multiset(whole, 1, split)
        drawn = _multiset(benchmark, 1, split)
        assert len(drawn) == min(number, len(of_task))
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= set(of_task)
    assert benchmark.epoch_size(1) == 150
    one, two = (benchmark.examples(seed, 1, "train").labels for seed in (0, 1))
    assert not np.array_equal(one, two)


def test_a_task_that_does_not_exist(make: Make) -> None:
    with pytest.raises(IndexError):
        make("two-task-mnist-5k").examples(0, 2, "test")
    with pytest.raises(IndexError):
        make("permuted-mnist-5k").examples(0, -1, "test")
