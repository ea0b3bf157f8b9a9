"""The tasks of Avalanche's benchmarks, with outputs as a scenario has them.

What an image and its class are comes from a stream on disk; validation data and samples are drawn
as the suite draws them everywhere, by named random streams.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any, ClassVar

import numpy as np

from cl_bench.avalanche.stored import Half, Stream
from cl_bench.avalanche.streams import StreamCache
from cl_bench.benchmarks.base import Benchmark, Examples, Split
from cl_bench.config import BenchmarkConfig, Scenario
from cl_bench.data import Dataset
from cl_bench.errors import UserError
from cl_bench.seeding import numpy_generator

_PROBED = (0, 1, 2)
"""Seeds whose tasks are counted: where they agree in the sizes, all seeds are taken to agree."""


class AvalancheTasks(Benchmark):
    """The tasks of one of Avalanche's benchmarks, from its streams on disk.

    Args:
        config: resolved.
        cache: the streams.

    Raises:
        UserError: the configuration makes no sense for this benchmark, or there are no data.
    """

    by_seed: ClassVar[bool]
    """Whether the seed decides which classes a task has."""

    def __init__(self, config: BenchmarkConfig, cache: StreamCache) -> None:
        assert config.tasks is not None
        assert config.scenario is not None
        self.config, self.name = config, config.name
        self.scenario, self.n_tasks = config.scenario, config.tasks
        self._cache = cache
        differ = self.by_seed and config.order != "fixed"
        layout = cache.layout(_PROBED if differ else _PROBED[:1])
        self.input_shape = tuple(layout["input_shape"])
        self._outlines: list[dict[str, Any]] = layout["outlines"]
        numbers = [len(of_task) for of_task in self._outlines[0]["classes"]]
        self._check_numbers(numbers)
        shared = self.scenario is Scenario.DOMAIN
        ends = numbers if shared else list(itertools.accumulate(numbers))
        self.n_outputs = max(ends)
        self.output_mask = np.zeros((self.n_tasks, self.n_outputs), bool)
        for task, (end, number) in enumerate(zip(ends, numbers, strict=True)):
            self.output_mask[task, end - number : end] = True
        self._check_samples("train_samples", "train")
        self._check_samples("test_samples", "test")
        self.dataset = self._dataset()
        if cache.made_anything:
            self.notice = (
                f"{self.name} is made by Avalanche {cache.version}, which takes from seconds to"
                f" minutes once a seed, and is kept in {cache.folder}"
            )

    def examples(self, seed: int, task: int, split: Split) -> Examples:
        """Return the images and labels of one task of the stream of this seed.

        Raises:
            UserError: validation data are asked for and the configuration holds none out; or a
                new stream is to be made and there are no data.
        """
        self._check_task(task)
        stream = self._stream(seed)
        images, labels = stream.arrays(task, _half(split))
        rows = self._rows(seed, task, split, labels)
        if rows is not None:
            images, labels = images[rows], labels[rows]
        classes = np.array(stream.content["classes"][task])
        position = np.zeros(classes.max() + 1, np.int64)
        position[classes] = np.flatnonzero(self.output_mask[task])[: len(classes)]
        return Examples(images, position[labels])

    def epoch_size(self, task: int) -> int:
        """Return the number of training images that count as an epoch of this task."""
        self._check_task(task)
        if self.config.train_samples:
            return self.config.train_samples
        sizes = self._sizes("train")
        return sizes[task] if self._agree("train") else sum(sizes) // self.n_tasks

    def stream_id(self, seed: int) -> str:
        """Return a hash (16 hexadecimal digits) of the stream's pixels, labels and versions."""
        stream = self._stream(seed)
        digest = hashlib.sha256()
        names = (
            self.name,
            self.version,
            self._cache.version,
            self.scenario.value,
            self.input_shape,
        )
        digest.update(repr((*names, stream.content)).encode())
        splits: tuple[Split, ...] = ("train", "valid", "test")
        for split in splits if self.config.validation_fraction else ("train", "test"):
            for task in range(self.n_tasks):
                labels = stream.labels(task, _half(split))
                rows = self._rows(seed, task, split, labels)
                if rows is not None:
                    digest.update(f"{split} {task} {len(rows)}".encode())
                    digest.update(rows.astype("<u4").tobytes())
        return digest.hexdigest()[:16]

    def describe(self, seed: int) -> list[dict[str, object]]:
        """Return one dictionary a task: its classes, in the order of the outputs."""
        return [
            {"task": task, "classes": list(classes)}
            for task, classes in enumerate(self._stream(seed).content["classes"])
        ]

    def _stream(self, seed: int) -> Stream:
        return self._cache.stream(0 if self.config.order == "fixed" else seed)

    def _rows(self, seed: int, task: int, split: Split, labels: np.ndarray) -> np.ndarray | None:
        """Return which of a task's images [n] a split has, or None for all."""
        rows = None
        fraction = self.config.validation_fraction
        if split == "valid" and not fraction:
            raise UserError(
                f"{self.name} holds no validation data out;"
                " set benchmark.validation_fraction (0.1 is usual)"
            )
        if split != "test" and fraction:
            rows = np.flatnonzero(self._held_out(labels) == (split == "valid"))
        number = self.config.train_samples if split == "train" else self.config.test_samples
        if number is None:
            return rows
        available = len(labels) if rows is None else len(rows)
        generator = numpy_generator(self.name, self.version, f"{split} sample", seed, task)
        drawn = np.sort(generator.choice(available, min(number, available), replace=False))
        return drawn if rows is None else rows[drawn]

    def _held_out(self, labels: np.ndarray) -> np.ndarray:
        """Return bool [n]: which of a task's training images are held out.

        Avalanche keeps the images of a class in the data's order, so an image's number in its
        class tells the same images in every task and for every seed.
        """
        held = np.zeros(len(labels), bool)
        for label in np.unique(labels):
            of_class = np.flatnonzero(labels == label)
            number = round(self.config.validation_fraction * len(of_class))
            order = numpy_generator("validation", self.name, int(label)).permutation(len(of_class))
            held[of_class[order[:number]]] = True
        return held

    def _counts(self, split: Split, outline: dict[str, Any]) -> list[list[int]]:
        """Return how many images of a split each class of each task has, in this outline."""
        fraction = self.config.validation_fraction
        counts: list[list[int]] = outline[_half(split)]
        if split == "test" or not fraction:
            return counts
        for label, number in zip(
            itertools.chain(*outline["classes"]), itertools.chain(*counts), strict=True
        ):
            if not 0 < round(fraction * number) < number:
                raise UserError(
                    f"benchmark.validation_fraction = {fraction} leaves class {label} of"
                    f" {self.name} ({number} images) without"
                    f" {'training' if round(fraction * number) else 'validation'} data"
                )
        return [[number - round(fraction * number) for number in of_task] for of_task in counts]

    def _sizes(self, split: Split, probe: int = 0) -> list[int]:
        return [sum(of_task) for of_task in self._counts(split, self._outlines[probe])]

    def _agree(self, split: Split) -> bool:
        """Return whether the tasks have the same numbers of images for all seeds."""
        probes = range(len(self._outlines))
        return all(self._sizes(split, probe) == self._sizes(split) for probe in probes)

    def _check_task(self, task: int) -> None:
        if not 0 <= task < self.n_tasks:
            raise IndexError(f"task {task} of a benchmark with {self.n_tasks}")

    def _check_numbers(self, numbers: list[int]) -> None:
        if max(numbers) == 1 and self.scenario is not Scenario.CLASS:
            raise UserError(
                f"{self.n_tasks} tasks of one class each leave nothing to tell apart in scenario"
                f" '{self.scenario}'; take scenario 'class', or fewer tasks"
            )

    def _check_samples(self, key: str, split: Split) -> None:
        """Refuse more samples than the smallest task has that any seed may give."""
        sizes, number = self._sizes(split), getattr(self.config, key)
        most = min(sizes)
        if not self._agree(split):
            counts = self._counts(split, self._outlines[0])
            fewest = min(len(of_task) for of_task in counts)
            most = sum(sorted(itertools.chain(*counts))[:fewest])
        if number is not None and number > most:
            raise UserError(
                f"benchmark.{key} = {number}, but a task of {self.name} may have only {most}"
                f" images; give at most {most}, or leave it out for all"
            )

    def _dataset(self) -> Dataset:
        """Return what the records tell of the data; its arrays are empty, a stream has its own."""
        images, labels = np.empty((0, int(np.prod(self.input_shape))), np.uint8), np.empty(0, int)
        counted = repr((self.input_shape, self._outlines)).encode()
        channels, height, width = self.input_shape
        return Dataset(
            name=" ".join(self._cache.roots.values()),
            train_images=images,
            train_labels=labels,
            test_images=images,
            test_labels=labels,
            input_shape=(channels, height, width),
            n_classes=len({*itertools.chain(*self._outlines[0]["classes"])}),
            checksum=hashlib.sha256(counted).hexdigest()[:16],
            source=f"Avalanche {self._cache.version}",
        )


class DisjointClasses(AvalancheTasks):
    """Each task has classes of its own.

    Domain-incremental: the class's position in its task is right. Otherwise each class has its
    output, in the order in which Avalanche brings the classes.
    """

    scenarios: ClassVar[tuple[Scenario, ...]] = (Scenario.CLASS, Scenario.TASK, Scenario.DOMAIN)
    by_seed: ClassVar[bool] = True


class SharedClasses(AvalancheTasks):
    """All tasks have the same classes.

    Domain-incremental: one output a class. Task-incremental: each task has its own outputs.
    """

    scenarios: ClassVar[tuple[Scenario, ...]] = (Scenario.DOMAIN, Scenario.TASK)
    by_seed: ClassVar[bool] = False


def _half(split: Split) -> Half:
    """Return the half of Avalanche's data that a split is taken from."""
    return "test" if split == "test" else "train"
