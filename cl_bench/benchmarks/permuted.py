"""Permuted images: each task shows the same images with the pixels in another fixed order."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import numpy as np

from cl_bench.benchmarks.same_classes import SameClasses


class Permuted(SameClasses):
    """A random permutation of the pixels a task, drawn by seed and task.

    Every task is permuted, the first too, so that no task is easier than the others for
    a network that looks at neighbouring pixels; with `identity_first` that one is not, as in much
    published code.
    """

    family: ClassVar[str] = "permuted"
    permutes: ClassVar[bool] = True
    title: ClassVar[str] = "the pixels in another random order for each task"
    source: ClassVar[str] = (
        "Goodfellow et al., arXiv 1312.6211; Kirkpatrick et al., arXiv 1612.00796"
    )

    def permutation(self, seed: int, task: int) -> np.ndarray:
        """Return int64 [pixels]: pixel j of the task is pixel `permutation[j]` of the image."""
        pixels = int(np.prod(self.input_shape[1:]))
        if task == 0 and self.config.identity_first:
            return np.arange(pixels)
        return self._stream("permutation", seed, task).permutation(pixels)

    def transform(self, images: np.ndarray, seed: int, task: int) -> np.ndarray:
        """Return the images uint8 [n, pixels] with the pixels in the task's order."""
        permutation = self.permutation(seed, task)
        plane = len(permutation)
        starts = np.arange(0, images.shape[1], plane)[:, None]
        return np.take(images, (starts + permutation).ravel(), axis=1)

    def definition(self, seed: int, task: int) -> bytes:
        """Return the permutation's bytes."""
        return self.permutation(seed, task).astype("<u4").tobytes()

    def describe(self, seed: int) -> list[dict[str, object]]:
        """Return one dictionary a task: the first digits of its permutation's SHA-256."""
        return [
            {
                "task": task,
                "permutation": hashlib.sha256(self.definition(seed, task)).hexdigest()[:12],
            }
            for task in range(self.n_tasks)
        ]
