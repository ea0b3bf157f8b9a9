"""Rotated images: each task shows the same images turned by another angle."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cl_bench.benchmarks.rotation import rotate
from cl_bench.benchmarks.same_classes import SameClasses


class Rotated(SameClasses):
    """An angle a task, uniform in [0°, 180°), drawn by seed and task; the first is turned too.

    The angles are those of Mammoth's Rotated MNIST (20 tasks there). Pixels are interpolated
    bilinearly, where Mammoth takes the nearest one.
    """

    family: ClassVar[str] = "rotated"
    title: ClassVar[str] = "the images turned by another random angle for each task"
    source: ClassVar[str] = (
        "Lopez-Paz & Ranzato, arXiv 1706.08840; Buzzega et al., arXiv 2004.07211"
    )

    def angle(self, seed: int, task: int) -> float:
        """Return the task's angle in degrees, counter-clockwise."""
        return float(self._stream("angle", seed, task).uniform(0, 180))

    def transform(self, images: np.ndarray, seed: int, task: int) -> np.ndarray:
        """Return the images uint8 [n, pixels], turned by the task's angle."""
        return rotate(images, self.angle(seed, task), self.input_shape)

    def definition(self, seed: int, task: int) -> bytes:
        """Return the angle, exact to the bit."""
        return self.angle(seed, task).hex().encode()

    def describe(self, seed: int) -> list[dict[str, object]]:
        """Return one dictionary a task: its angle in degrees."""
        return [
            {"task": task, "degrees": round(self.angle(seed, task), 3)}
            for task in range(self.n_tasks)
        ]
