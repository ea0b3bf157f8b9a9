"""A benchmark from a user's arrays: outputs, sizes and ids as told, and no array that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cl_bench import benchmarks
from cl_bench.benchmarks import Tasks, registry
from cl_bench.config import BenchmarkConfig
from cl_bench.errors import UserError

Arrays = tuple[Any, Any, Any, Any]


def arrays(labels: list[Any], n: int = 30, shape: tuple[int, ...] = (4,), seed: int = 0) -> Arrays:
    """Return a task of n training and n // 2 test images whose labels come in turn."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n + n // 2, *shape), np.uint8)
    told = np.array((labels * 2 * n)[: len(images)])
    return images[:n], told[:n], images[n:], told[n:]


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_added", {})
    yield


def test_class_incremental_gives_each_label_an_output_in_the_order_they_come() -> None:
    first, second = arrays(["ox", "cat"]), arrays(["dog", "ox", "emu"], n=21, seed=1)
    own = Tasks.from_arrays([first, second])
    assert (own.scenario.value, own.n_tasks, own.n_outputs) == ("class", 2, 4)
    assert own.output_mask.tolist() == [[True, True, False, False], [False, True, True, True]]
    shown = own.examples(5, 1, "train")
    np.testing.assert_array_equal(shown.images, second[0])
    outputs = {"cat": 0, "ox": 1, "dog": 2, "emu": 3}
    assert shown.labels.tolist() == [outputs[label] for label in second[1]]
    assert [own.epoch_size(task) for task in range(2)] == [30, 21]
    assert own.describe(0)[1] == {
        "task": 1,
        "classes": ["dog", "emu", "ox"],
        "train": 21,
        "test": 10,
    }


def test_task_incremental_gives_each_task_outputs_of_its_own() -> None:
    own = Tasks.from_arrays([arrays([7, 3]), arrays([3, 5, 9])], scenario="task")
    assert own.n_outputs == 5
    assert own.output_mask.tolist() == [[True] * 2 + [False] * 3, [False] * 2 + [True] * 3]
    assert own.examples(0, 0, "test").labels[:2].tolist() == [1, 0]
    assert own.examples(0, 1, "train").labels[:3].tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("labels", "n_outputs", "second"),
    [
        (([0, 1], [0, 1]), 2, [0, 1]),  # the same classes
        (([0, 1], [2, 3]), 2, [0, 1]),  # none in common: position in the task
        (([0, 1], [1, 2]), 3, [1, 2]),  # some in common
        (([0, 1, 2], [5, 6]), 3, [0, 1]),
    ],
)
def test_domain_incremental_shares_the_outputs(labels: Any, n_outputs: int, second: Any) -> None:
    own = Tasks.from_arrays([arrays(each) for each in labels], scenario="domain")
    assert own.n_outputs == n_outputs
    assert own.output_mask.all()
    assert own.examples(0, 1, "train").labels[:2].tolist() == second


def test_the_default_scenario_is_domain_where_all_tasks_have_the_same_labels() -> None:
    assert Tasks.from_arrays([arrays([0, 1]), arrays([1, 0])]).scenario.value == "domain"


@pytest.mark.parametrize(
    ("shape", "channels", "input_shape"),
    [
        ((6,), None, (1, 1, 6)),
        ((5, 6), None, (1, 5, 6)),
        ((5, 6, 3), None, (3, 5, 6)),
        ((3, 5, 6), None, (3, 5, 6)),
        ((3, 5, 3), "first", (3, 5, 3)),
        ((7, 5, 6), "last", (6, 7, 5)),
    ],
)
def test_images_of_any_shape_are_planes_one_after_another(
    shape: tuple[int, ...], channels: Any, input_shape: tuple[int, ...]
) -> None:
    task = arrays([0, 1], shape=shape)
    own = Tasks.from_arrays([task], channels=channels)
    assert own.input_shape == input_shape
    shown = own.examples(0, 0, "train").images.reshape(-1, *input_shape)
    last = len(shape) == 3 and input_shape[0] == shape[2] and channels != "first"
    given = np.moveaxis(task[0], 3, 1) if last else task[0].reshape(shown.shape)
    np.testing.assert_array_equal(shown, given)


def test_floats_stay_as_they_are() -> None:
    x = np.random.default_rng(0).normal(size=(8, 3))
    own = Tasks.from_arrays([(x, [0, 1] * 4, x, [0, 1] * 4)])
    shown = own.examples(0, 0, "train").images
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(shown, x.astype(np.float32))


def test_validation_and_samples_are_drawn_as_everywhere() -> None:
    own = Tasks.from_arrays([arrays([0, 1], n=40), arrays([2, 3], n=20, seed=1)])
    held = own.configured(BenchmarkConfig(name="own", validation_fraction=0.2, train_samples=10))
    assert [len(held.examples(0, task, "valid").labels) for task in range(2)] == [8, 4]
    assert [len(held.examples(0, task, "train").labels) for task in range(2)] == [10, 10]
    rows = {image.tobytes() for image in held.examples(3, 0, "valid").images}
    assert not rows & {image.tobytes() for image in held.examples(3, 0, "train").images}


def test_the_content_is_in_the_id() -> None:
    one, other = arrays([0, 1]), arrays([0, 1])
    own = Tasks.from_arrays([one, arrays([2, 3])])
    assert own.config.content == Tasks.from_arrays([other, arrays([2, 3])]).config.content
    other[0][3, 2] ^= 1
    assert own.config.content != Tasks.from_arrays([other, arrays([2, 3])]).config.content
    assert own.config.content != Tasks.from_arrays([one, arrays([1, 3])]).config.content
    assert own.stream_id(0) == own.stream_id(1) != Tasks.from_arrays([other]).stream_id(0)


def test_an_added_object_is_had_by_its_name() -> None:
    own = Tasks.from_arrays([arrays([0, 1]), arrays([2, 3])], name="mine")
    assert benchmarks.add(own) == "mine"
    assert "mine" in benchmarks.names()
    assert benchmarks.summary("mine")["default tasks"] == 2
    again = benchmarks.get(BenchmarkConfig.model_validate(own.config.model_dump()))
    assert again.config == own.config
    assert again.stream_id(0) == own.stream_id(0)
    task = benchmarks.get(BenchmarkConfig.model_validate({"name": "mine", "scenario": "task"}))
    assert task.scenario.value == "task"
    assert benchmarks.get(BenchmarkConfig(name="mine", tasks=1)).n_outputs == 2
    other = Tasks.from_arrays([arrays([0, 1])], name="mine")
    with pytest.raises(UserError, match="benchmark 'mine' has changed"):
        benchmarks.get(other.config)
    benchmarks.add(other)  # as a notebook's cell does that is edited
    assert benchmarks.get(other.config).n_tasks == 1
    with pytest.raises(UserError, match="'split-mnist' is taken"):
        benchmarks.add(Tasks.from_arrays([arrays([0, 1])], name="split-mnist"))
    with pytest.raises(UserError, match="cannot be a benchmark's name"):
        benchmarks.add(Tasks.from_arrays([arrays([0, 1])], name="a/b"))


GOOD = arrays([0, 1])


def changed(position: int, value: Any) -> Arrays:
    return tuple(value if k == position else each for k, each in enumerate(GOOD))


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([], "at least one task"),
        ([GOOD[:3]], r"task 0: give four arrays, \(train_x, train_y, test_x, test_y\)"),
        ([GOOD, changed(1, [0])], "task 1's train_y has 1 labels for the 30 images of task 1's"),
        ([changed(0, GOOD[0][:0])], "task 0's train_x is empty"),
        ([changed(2, GOOD[2][:0])], "task 0's test_x is empty"),
        ([changed(0, GOOD[0] * np.nan)], "120 values that are NaN or infinite, the first in row 0"),
        ([changed(0, GOOD[0].astype(int) - 300)], "whole numbers from -300 to"),
        ([changed(0, GOOD[0].astype(str))], "is of type <U3; give bytes"),
        ([changed(0, GOOD[0][0])], r"shape \(4,\)"),
        ([changed(0, [[1, 2], [3]])], "is no array"),
        ([changed(1, GOOD[1] + 0.5)], "train_y is of type float64; give whole numbers or texts"),
        ([changed(1, np.eye(30))], "train_y has shape"),
        ([changed(3, GOOD[3] + 1)], "test_y has labels that train_y has not: 2"),
        ([GOOD, arrays([2, 3], shape=(5,))], r"images of shape \(1, 1, 5\) and type uint8, task 0"),
        ([GOOD, (GOOD[0] / 2, GOOD[1], GOOD[2] / 2, GOOD[3])], "type float32, task 0"),
        ([GOOD, arrays(["a", "b"])], "numbers as labels and others texts"),
        ([arrays([0, 1], shape=(3, 5, 3))], "channels first or last; say which"),
    ],
)
def test_arrays_that_cannot_be_are_refused_in_one_line(tasks: Any, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        Tasks.from_arrays(tasks)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "settings", "told"),
    [
        (([0, 1], [0, 1]), {"scenario": "class"}, "all tasks of own have the same labels"),
        (([0], [1]), {"scenario": "task"}, "one class each, .* nothing to tell apart"),
        (([0], [1]), {"scenario": "domain"}, "nothing to tell apart"),
        (([0, 1], [2, 3]), {"scenario": "clas"}, "scenario = 'clas'"),
        (([0, 1], [2, 3]), {"validation_fraction": 0.01}, "without validation data"),
    ],
)
def test_settings_that_cannot_be_are_refused(labels: Any, settings: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        Tasks.from_arrays([arrays(each) for each in labels], **settings).examples(0, 0, "train")


def test_more_tasks_than_there_are_are_refused() -> None:
    benchmarks.add(Tasks.from_arrays([GOOD], name="mine"))
    with pytest.raises(UserError, match="mine has 1 tasks, not 3"):
        benchmarks.get(BenchmarkConfig(name="mine", tasks=3))
