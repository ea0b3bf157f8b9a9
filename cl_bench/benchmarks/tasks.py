"""A benchmark made of a user's own arrays: a list of tasks, each with training and test data.

Streams, ids, validation data, scenarios and masks follow as they do for the suite's own benchmarks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from cl_bench.benchmarks.base import Split
from cl_bench.benchmarks.image_tasks import ImageTasks
from cl_bench.config import BenchmarkConfig, Scenario
from cl_bench.data import Dataset, make_dataset
from cl_bench.data.arrays import Layout, images_of, labels_of
from cl_bench.errors import UserError

_ARRAYS = ("train_x", "train_y", "test_x", "test_y")


class Tasks(ImageTasks):
    """Tasks from arrays, of any number and size each; the same for every seed.

    Labels are names of classes: the same label in two tasks is the same class. Class-incremental:
    an output a label, in the order they come. Task-incremental: each task has outputs of its own.
    Domain-incremental: tasks that share labels share their outputs; where no label comes in two
    tasks, a label's position among its task's is right, as in the split benchmarks.

    Args:
        config: its `None`s take the defaults; fewer tasks than there are takes the first.
        dataset: all tasks' data in a row, labelled by task and class: those of the first task
            0, 1, …, those of the second from there on.
        labels: each task's labels, sorted.
    """

    family: ClassVar[str] = "tasks"
    title: ClassVar[str] = "tasks from arrays"
    source: ClassVar[str] = "the user's own"
    scenarios: ClassVar[tuple[Scenario, ...]] = (Scenario.CLASS, Scenario.TASK, Scenario.DOMAIN)

    def __init__(
        self, config: BenchmarkConfig, dataset: Dataset, labels: Sequence[np.ndarray]
    ) -> None:
        self.labels = list(labels)
        tasks = config.tasks or len(self.labels)
        if tasks > len(self.labels):
            raise UserError(f"{config.name} has {len(self.labels)} tasks, not {tasks}")
        sizes = [len(of_task) for of_task in self.labels]
        self._first = np.cumsum([0, *sizes])
        same = all(np.array_equal(each, self.labels[0]) for each in self.labels[:tasks])
        self.alike = same and tasks > 1
        """Whether all tasks have the same labels."""
        default = Scenario.DOMAIN if self.alike else Scenario.CLASS
        resolved = {
            "tasks": tasks,
            "scenario": config.scenario or default,
            "content": content_hash(dataset, self.labels),
        }
        super().__init__(config.model_copy(update=resolved), dataset)

    @classmethod
    def from_arrays(
        cls,
        tasks: Iterable[tuple[Any, Any, Any, Any]],
        *,
        scenario: Scenario | str | None = None,
        name: str = "own",
        channels: Layout | None = None,
        validation_fraction: float = 0.0,
    ) -> Tasks:
        """Return the benchmark of tasks `(train_x, train_y, test_x, test_y)`.

        Args:
            tasks: in their order. `x` is uint8 (networks get it over 255) or float (as it is), of
                shape [n, features], [n, H, W], [n, H, W, C] or [n, C, H, W], the same for all
                tasks; `y` is whole numbers or texts [n].
            scenario: task, domain or class; None is domain where all tasks have the same labels,
                else class.
            name: stands in records and tables.
            channels: whether channels come "first" or "last", where that cannot be told.
            validation_fraction: share of the training data held out for tuning.

        Raises:
            UserError: arrays that do not fit one another, an empty task, NaN, labels that only
                the test data have.

        Example:
            >>> x = np.arange(24, dtype=np.uint8).reshape(6, 4)
            >>> own = Tasks.from_arrays([(x, [0, 1] * 3, x, [0, 1] * 3), (x, [2] * 6, x, [2] * 6)])
            >>> own.n_tasks, own.n_outputs, str(own.scenario)
            (2, 3, 'class')
        """
        parts: list[list[np.ndarray]] = [[], [], [], []]
        labels: list[np.ndarray] = []
        shapes: list[tuple[str, tuple[int, int, int], np.dtype]] = []
        for number, arrays in enumerate(tasks):
            given, shape = _checked(arrays, f"task {number}", channels)
            shapes += [
                (f"task {number}'s {_ARRAYS[k]}", shape[k // 2], given[k].dtype) for k in (0, 2)
            ]
            of_task = np.unique(given[1])
            first = sum(map(len, labels))
            for position, part in enumerate(given):
                is_label = position % 2
                parts[position].append(np.searchsorted(of_task, part) + first if is_label else part)
            labels.append(of_task)
        if not labels:
            raise UserError("a benchmark needs at least one task")
        for where, other, kind in shapes:
            if (other, kind) != shapes[0][1:]:
                raise UserError(
                    f"{where} has images of shape {other} and type {kind}, {shapes[0][0]} of"
                    f" {shapes[0][1]} and {shapes[0][2]}; all tasks need the same"
                )
        if len({of_task.dtype.kind for of_task in labels}) > 1:
            raise UserError("some tasks have numbers as labels and others texts; give one kind")
        train_x, train_y, test_x, test_y = (np.concatenate(part) for part in parts)
        data = make_dataset(name, (train_x, train_y), (test_x, test_y), shapes[0][1], "arrays")
        wanted = {"name": name, "scenario": scenario, "validation_fraction": validation_fraction}
        return cls(_config(wanted), data, labels)

    def configured(self, config: BenchmarkConfig) -> Tasks:
        """Return the same tasks under another configuration."""
        return type(self)(self._merged(config), self.dataset, self.labels)

    def task_rows(self, seed: int, task: int, labels: np.ndarray) -> np.ndarray:
        """Return which of the images with these labels [n] are the task's."""
        first, end = self._first[task : task + 2]
        return np.flatnonzero((labels >= first) & (labels < end))

    def transform(self, images: np.ndarray, seed: int, task: int) -> np.ndarray:
        """Return the images as they are."""
        return images

    def output_of(self, labels: np.ndarray, seed: int, task: int) -> np.ndarray:
        """Return the right network output int64 [n] for classes of a task [n]."""
        return self._outputs_of_task[task][labels - self._first[task]]

    def definition(self, seed: int, task: int) -> bytes:
        """Return the task's labels."""
        return repr(self.labels[task].tolist()).encode()

    def describe(self, seed: int) -> list[dict[str, object]]:
        """Return one dictionary a task: its labels and how many images it has."""
        return [
            {
                "task": task,
                "classes": self.labels[task].tolist(),
                "train": self._size("train", task),
                "test": self._size("test", task),
            }
            for task in range(self.n_tasks)
        ]

    def smallest_task(self, split: Split) -> int:
        """Return the number of images in the smallest task."""
        return min(self._size(split, task) for task in range(self.n_tasks))

    def whole_epoch(self, task: int) -> int:
        """Return the number of the task's training images."""
        return self._size("train", task)

    def _size(self, split: Split, task: int) -> int:
        return len(self.task_rows(0, task, self.split_labels(split)))

    def _outputs(self) -> tuple[int, np.ndarray]:
        labels = self.labels[: self.n_tasks]
        if self.alike and self.scenario is Scenario.CLASS:
            raise UserError(
                f"all tasks of {self.name} have the same labels, so scenario 'class' would ask"
                " nothing more than 'domain'; take 'domain' or 'task', or give each task's classes"
                " labels of their own"
            )
        known: dict[Any, int] = {}
        for label in (label for of_task in labels for label in of_task.tolist()):
            known.setdefault(label, len(known))
        if self.scenario is Scenario.TASK:
            outputs = [
                first + np.arange(len(own)) for first, own in zip(self._first, labels, strict=False)
            ]
        elif self.scenario is Scenario.DOMAIN and len(known) == sum(map(len, labels)):
            outputs = [np.arange(len(own)) for own in labels]
        else:
            outputs = [np.array([known[label] for label in own.tolist()]) for own in labels]
        self._outputs_of_task = outputs
        number = int(max(of_task.max() for of_task in outputs)) + 1
        competing = max(map(len, labels)) if self.scenario is Scenario.TASK else number
        if competing < 2:
            raise UserError(
                f"the tasks of {self.name} have one class each, which leaves nothing to tell apart"
                f" in scenario '{self.scenario}'"
            )
        if self.scenario is Scenario.DOMAIN:
            return number, np.ones((self.n_tasks, number), bool)
        mask = np.zeros((self.n_tasks, number), bool)
        for task, of_task in enumerate(outputs):
            mask[task, of_task] = True
        return number, mask


def content_hash(dataset: Dataset, labels: Sequence[np.ndarray]) -> str:
    """Return a hash (16 hexadecimal digits) of all data and each task's labels."""
    told = repr((dataset.checksum, [of_task.tolist() for of_task in labels]))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _checked(
    arrays: Sequence[Any], task: str, channels: Layout | None
) -> tuple[list[np.ndarray], list[tuple[int, int, int]]]:
    """Return a task's four arrays, images flat, and the shapes of training and test images."""
    if not isinstance(arrays, (tuple, list)) or len(arrays) != 4:
        raise UserError(f"{task}: give four arrays, ({', '.join(_ARRAYS)})")
    found: list[np.ndarray] = []
    shapes = []
    for position in (0, 2):
        names = [f"{task}'s {name}" for name in _ARRAYS[position : position + 2]]
        images, shape = images_of(arrays[position], names[0], channels)
        if not len(images):
            raise UserError(f"{names[0]} is empty; every task needs training and test data")
        found += [images, labels_of(arrays[position + 1], len(images), names[1], names[0])]
        shapes.append(shape)
    if found[1].dtype.kind != found[3].dtype.kind:
        raise UserError(f"{task}: train_y is {found[1].dtype} and test_y {found[3].dtype}")
    if len(only := np.setdiff1d(found[3], found[1])):
        shown = ", ".join(map(str, only[:5]))
        raise UserError(f"{task}: test_y has labels that train_y has not: {shown}")
    return found, shapes


def _config(wanted: dict[str, Any]) -> BenchmarkConfig:
    from pydantic import ValidationError

    try:
        return BenchmarkConfig.model_validate(wanted)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{first['loc'][0]} = {first['input']!r}: {first['msg']}") from None
