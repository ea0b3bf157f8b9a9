"""Benchmarks whose tasks divide the classes of a dataset: first some, then the next."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from cl_bench.benchmarks.base import Split
from cl_bench.benchmarks.image_tasks import ImageTasks
from cl_bench.config import BenchmarkConfig, Scenario
from cl_bench.errors import UserError
from cl_bench.seeding import numpy_generator


class ClassTasks(ImageTasks):
    """Each task has `k` classes of its own.

    Domain-incremental: `k` outputs, the class's position in its task is right. Task- and
    class-incremental: output `task * k + position` is right, so with classes ordered by
    seed the outputs stand for classes in that order.
    """

    @abstractmethod
    def classes(self, seed: int) -> np.ndarray:
        """Return the classes of each task, int64 [n_tasks, k]."""

    def task_rows(self, seed: int, task: int, labels: np.ndarray) -> np.ndarray | None:
        """Return which of the images with these labels [n] have a class of the task."""
        wanted = np.zeros(self.dataset.n_classes, bool)
        wanted[self.classes(seed)[task]] = True
        return np.flatnonzero(wanted[labels])

    def transform(self, images: np.ndarray, seed: int, task: int) -> np.ndarray:
        """Return the images as they are."""
        return images

    def output_of(self, labels: np.ndarray, seed: int, task: int) -> np.ndarray:
        """Return the right network output int64 [n] for classes of a task [n]."""
        of_task = self.classes(seed)[task]
        position = np.zeros(self.dataset.n_classes, np.int64)
        position[of_task] = np.arange(len(of_task))
        first = 0 if self.scenario is Scenario.DOMAIN else task * len(of_task)
        return position[labels] + first

    def definition(self, seed: int, task: int) -> bytes:
        """Return the task's classes in their order."""
        return self.classes(seed)[task].astype("<u4").tobytes()

    def describe(self, seed: int) -> list[dict[str, object]]:
        """Return one dictionary a task: its classes."""
        return [
            {"task": task, "classes": [int(label) for label in classes]}
            for task, classes in enumerate(self.classes(seed))
        ]

    def smallest_task(self, split: Split) -> int:
        """Return the number of images in the smallest task that any seed may have."""
        counts = self._class_counts(split)
        classes = self.classes(0)
        if self.config.order == "seed":
            return int(np.sort(counts)[: classes.shape[1]].sum())
        return int(counts[classes].sum(axis=1).min())

    def whole_epoch(self, task: int) -> int:
        """Return the task's training images; with classes ordered by seed, the tasks' mean."""
        counts = self._class_counts("train")
        if self.config.order == "seed":
            return int(counts.sum()) // self.n_tasks
        return int(counts[self.classes(0)[task]].sum())

    def _class_counts(self, split: Split) -> np.ndarray:
        return np.bincount(self.split_labels(split), minlength=self.dataset.n_classes)

    def _outputs(self) -> tuple[int, np.ndarray]:
        each = self.classes(0).shape[1]
        if self.scenario is Scenario.DOMAIN:
            return each, np.ones((self.n_tasks, each), bool)
        mask = np.kron(np.eye(self.n_tasks, dtype=bool), np.ones((1, each), bool))
        return self.n_tasks * each, mask


class SplitClasses(ClassTasks):
    """All classes, divided evenly: 0 and 1, then 2 and 3, … or shuffled by the run's seed.

    The fixed order is the default, as in most published tables (van de Ven & Tolias, Hsu et al.).
    """

    family: ClassVar[str] = "split"
    title: ClassVar[str] = "the classes divided into tasks, two each by default"
    source: ClassVar[str] = "Zenke et al., arXiv 1703.04200; van de Ven & Tolias, arXiv 1904.07734"
    scenarios: ClassVar[tuple[Scenario, ...]] = (Scenario.TASK, Scenario.DOMAIN, Scenario.CLASS)
    default_order: ClassVar[str | None] = "fixed"

    def classes(self, seed: int) -> np.ndarray:
        """Return the classes of each task, int64 [n_tasks, k]."""
        order = np.arange(self.dataset.n_classes)
        if self.config.order == "seed":
            order = numpy_generator(self.name, self.version, "classes", seed).permutation(order)
        return order.reshape(self.n_tasks, -1)

    def _outputs(self) -> tuple[int, np.ndarray]:
        n_classes = self.dataset.n_classes
        divisors = [n for n in range(1, n_classes + 1) if n_classes % n == 0]
        if self.n_tasks not in divisors:
            nearest = min(divisors, key=lambda n: abs(n - self.n_tasks))
            raise UserError(
                f"{n_classes} classes cannot be divided evenly into {self.n_tasks} tasks;"
                f" benchmark.tasks = {nearest} is the nearest that can"
                f" (of {', '.join(map(str, divisors))})"
            )
        if self.n_tasks == n_classes and self.scenario is not Scenario.CLASS:
            raise UserError(
                f"{self.n_tasks} tasks of one class each leave nothing to tell apart in scenario"
                f" '{self.scenario}'; take scenario 'class', or benchmark.tasks = {divisors[-2]}"
            )
        return super()._outputs()


class TwoTask(ClassTasks):
    """Digits 0 and 1, then 2 and 3: the two tasks of Feng & Tu; the same classes of other data."""

    family: ClassVar[str] = "two-task"
    title: ClassVar[str] = "classes 0 and 1, then 2 and 3"
    source: ClassVar[str] = "Feng & Tu, arXiv 2001.01678"
    scenarios: ClassVar[tuple[Scenario, ...]] = (Scenario.DOMAIN, Scenario.TASK, Scenario.CLASS)
    default_tasks: ClassVar[int] = 2

    @classmethod
    def check(cls, config: BenchmarkConfig) -> None:
        """Raise a UserError if the configuration makes no sense, whatever the dataset."""
        super().check(config)
        if config.tasks not in (None, 2):
            raise UserError(
                f"{config.name} has 2 tasks, not {config.tasks}; a split- benchmark"
                " has as many as divide its classes"
            )

    def classes(self, seed: int) -> np.ndarray:
        """Return the classes of each task, int64 [2, 2]."""
        return np.array([[0, 1], [2, 3]])
