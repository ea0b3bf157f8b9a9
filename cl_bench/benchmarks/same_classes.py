"""Benchmarks whose tasks show the same classes under another transformation of the pixels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cl_bench.benchmarks.base import Split
from cl_bench.benchmarks.image_tasks import ImageTasks
from cl_bench.config import Scenario


class SameClasses(ImageTasks):
    """Every task has all classes.

    Domain-incremental: one output a class, shared by all tasks. Task- and class-incremental:
    each task has its own outputs; output `task * n_classes + class` is right.
    """

    scenarios: ClassVar[tuple[Scenario, ...]] = (Scenario.DOMAIN, Scenario.TASK, Scenario.CLASS)

    def task_rows(self, seed: int, task: int, labels: np.ndarray) -> np.ndarray | None:
        """Return None: a task has all images."""
        return None

    def output_of(self, labels: np.ndarray, seed: int, task: int) -> np.ndarray:
        """Return the right network output int64 [n] for classes of a task [n]."""
        if self.scenario is Scenario.DOMAIN:
            return labels
        return labels + task * self.dataset.n_classes

    def smallest_task(self, split: Split) -> int:
        """Return the number of images that every task has."""
        return len(self.split_labels(split))

    def whole_epoch(self, task: int) -> int:
        """Return the number of training images that every task has."""
        return self.smallest_task("train")

    def _outputs(self) -> tuple[int, np.ndarray]:
        n_classes = self.dataset.n_classes
        if self.scenario is Scenario.DOMAIN:
            return n_classes, np.ones((self.n_tasks, n_classes), bool)
        mask = np.kron(np.eye(self.n_tasks, dtype=bool), np.ones((1, n_classes), bool))
        return self.n_tasks * n_classes, mask
