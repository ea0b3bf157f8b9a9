"""What all benchmarks on image datasets share: which images a task has, and a stream's identity.

A family of benchmarks adds what a task is: `task_rows`, `transform`, `output_of`, `definition`.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np

from cl_bench.benchmarks.base import Benchmark, Examples, Split
from cl_bench.config import BenchmarkConfig
from cl_bench.data import Dataset
from cl_bench.errors import UserError
from cl_bench.seeding import numpy_generator


class ImageTasks(Benchmark):
    """A task sequence on one image dataset, with validation data and samples drawn from it."""

    family: ClassVar[str]
    """The first part of the benchmark's name."""
    default_dataset: ClassVar[str] = "mnist"
    """Of a family from a file that is named without a dataset."""
    title: ClassVar[str]
    source: ClassVar[str]
    """The paper whose definition this is."""
    default_order: ClassVar[str | None] = None
    """How classes are ordered; None where a benchmark has no such choice."""
    permutes: ClassVar[bool] = False
    """Whether a task may be the identity, as `benchmark.identity_first` has it."""

    def __init__(
        self,
        config: BenchmarkConfig,
        dataset: Dataset,
        stands_in: bool = False,
        notice: str | None = None,
    ) -> None:
        """Build the benchmark of a configuration on a loaded dataset.

        Args:
            config: the configuration; `None` takes the benchmark's defaults.
            dataset: the data.
            stands_in: the dataset stands in for a larger one that the configuration was
                written for: sample numbers beyond its size are lowered, not refused.
            notice: what the user must be told about the data.

        Raises:
            UserError: the configuration makes no sense for this benchmark or dataset.
        """
        self.check(config)
        self.dataset = dataset
        self.name = config.name
        channels, *sides = dataset.input_shape
        self.input_shape = (channels, *(side + 2 * config.padding for side in sides))
        self.scenario = config.scenario or self.scenarios[0]
        self.n_tasks = config.tasks or self.default_tasks
        self.notice = notice
        self.config = config.model_copy(
            update={
                "tasks": self.n_tasks,
                "scenario": self.scenario,
                "order": config.order or self.default_order,
            }
        )
        self.n_outputs, self.output_mask = self._outputs()
        self._limit_samples("train_samples", "train", stands_in)
        self._limit_samples("test_samples", "test", stands_in)

    @classmethod
    def check(cls, config: BenchmarkConfig) -> None:
        """Raise a UserError if the configuration makes no sense, whatever the dataset."""
        if config.scenario is not None and config.scenario not in cls.scenarios:
            known = ", ".join(cls.scenarios)
            raise UserError(f"{config.name} has no scenario '{config.scenario}'; it has {known}")
        if config.order is not None and cls.default_order is None:
            raise UserError(
                f"benchmark.order has no meaning for {config.name}: its tasks are not made by"
                " dividing the classes; leave it out, or take a split- benchmark"
            )
        if config.identity_first and not cls.permutes:
            raise UserError(
                f"benchmark.identity_first has no meaning for {config.name}: it permutes no pixels;"
                " leave it out, or take a permuted- benchmark"
            )

    @abstractmethod
    def task_rows(self, seed: int, task: int, labels: np.ndarray) -> np.ndarray | None:
        """Return which of the images with these labels [n] belong to a task, or None for all."""

    @abstractmethod
    def transform(self, images: np.ndarray, seed: int, task: int) -> np.ndarray:
        """Return the images uint8 [n, pixels] as this task shows them."""

    @abstractmethod
    def output_of(self, labels: np.ndarray, seed: int, task: int) -> np.ndarray:
        """Return the right network output int64 [n] for classes of a task [n]."""

    @abstractmethod
    def definition(self, seed: int, task: int) -> bytes:
        """Return bytes that differ whenever the task's images, transformation or labels do."""

    @abstractmethod
    def smallest_task(self, split: Split) -> int:
        """Return the number of images in the smallest task that any seed may have."""

    @abstractmethod
    def whole_epoch(self, task: int) -> int:
        """Return `epoch_size` where `train_samples` isn't set."""

    @abstractmethod
    def _outputs(self) -> tuple[int, np.ndarray]:
        """Return the number of outputs and the mask bool [n_tasks, n_outputs] of each task's."""

    def examples(self, seed: int, task: int, split: Split) -> Examples:
        """Return the images and labels of one task of the stream of this seed.

        Raises:
            UserError: validation data are asked for and the configuration holds none out.
        """
        self._check_task(task)
        images, labels = self._arrays(split)
        rows = self._chosen_rows(seed, task, split)
        if rows is not None:
            images, labels = images[rows], labels[rows]
        outputs = np.array(self.output_of(labels, seed, task), dtype=np.int64)
        shown = self.transform(self._padded(images), seed, task)
        return Examples(np.ascontiguousarray(shown), outputs)

    def epoch_size(self, task: int) -> int:
        """Return the number of training images that count as an epoch of this task."""
        self._check_task(task)
        return self.config.train_samples or self.whole_epoch(task)

    def stream_id(self, seed: int) -> str:
        """Return a hash (16 hexadecimal digits) of all that makes the stream of this seed."""
        names = (self.dataset.checksum, self.name, self.version, self.scenario.value, self.n_tasks)
        digest = hashlib.sha256(repr(names).encode())
        if self.config.padding:
            digest.update(f"padding {self.config.padding}".encode())
        for split in self._splits:
            rows = self._split_rows(split)
            digest.update(_row_bytes(split, rows))
        for task in range(self.n_tasks):
            definition = self.definition(seed, task)
            digest.update(f"task {task} {len(definition)}".encode())
            digest.update(definition)
            for split in self._splits:
                if self._sample_number(split) is not None:
                    digest.update(_row_bytes(split, self._chosen_rows(seed, task, split)))
        return digest.hexdigest()[:16]

    def configured(self, config: BenchmarkConfig) -> ImageTasks:
        """Return the same tasks under another configuration, on the same data."""
        return type(self)(self._merged(config), self.dataset)

    @property
    def _splits(self) -> tuple[Split, ...]:
        held_out = self.config.validation_fraction > 0
        return ("train", "valid", "test") if held_out else ("train", "test")

    def _padded(self, images: np.ndarray) -> np.ndarray:
        """Return the images uint8 [n, pixels] with the configuration's border around each."""
        width = self.config.padding
        if not width:
            return images
        shaped = images.reshape(-1, *self.dataset.input_shape)
        border = ((0, 0), (0, 0), (width, width), (width, width))
        return np.pad(shaped, border).reshape(len(images), -1)

    def _check_task(self, task: int) -> None:
        if not 0 <= task < self.n_tasks:
            raise IndexError(f"task {task} of a benchmark with {self.n_tasks}")

    def _stream(self, purpose: str, seed: int, task: int) -> np.random.Generator:
        return numpy_generator(self.name, self.version, purpose, seed, task)

    def _arrays(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        if split == "test":
            return self.dataset.test_images, self.dataset.test_labels
        return self.dataset.train_images, self.dataset.train_labels

    def _split_rows(self, split: Split) -> np.ndarray | None:
        """Return the rows of the dataset's arrays that a split has, or None for all."""
        if split == "test":
            return None
        if split == "valid" and not self.config.validation_fraction:
            raise UserError(
                f"{self.name} holds no validation data out;"
                " set benchmark.validation_fraction (0.1 is usual)"
            )
        return self._training_rows[0 if split == "train" else 1]

    @cached_property
    def _training_rows(self) -> tuple[np.ndarray | None, np.ndarray]:
        """Rows to train on and rows held out, the same for every seed; even over the classes."""
        fraction = self.config.validation_fraction
        labels = self.dataset.train_labels
        held = np.zeros(len(labels), bool)
        if not fraction:
            return None, np.flatnonzero(held)
        order = numpy_generator("validation", self.dataset.name).permutation(len(labels))
        for label in range(self.dataset.n_classes):
            of_class = order[labels[order] == label]
            number = round(fraction * len(of_class))
            if not 0 < number < len(of_class):
                raise UserError(
                    f"benchmark.validation_fraction = {fraction} leaves class {label} of"
                    f" {self.dataset.name} ({len(of_class)} images) without"
                    f" {'training' if number else 'validation'} data"
                )
            held[of_class[:number]] = True
        return np.flatnonzero(~held), np.flatnonzero(held)

    def _sample_number(self, split: Split) -> int | None:
        return self.config.train_samples if split == "train" else self.config.test_samples

    def _chosen_rows(self, seed: int, task: int, split: Split) -> np.ndarray | None:
        """Return the rows of the dataset's arrays that a task has, or None for all."""
        rows = self._split_rows(split)
        labels = self._arrays(split)[1]
        of_task = self.task_rows(seed, task, labels if rows is None else labels[rows])
        if of_task is not None:
            rows = of_task if rows is None else rows[of_task]
        number = self._sample_number(split)
        if number is None:
            return rows
        available = len(labels) if rows is None else len(rows)
        generator = self._stream(f"{split} sample", seed, task)
        drawn = np.sort(generator.choice(available, min(number, available), replace=False))
        return drawn if rows is None else rows[drawn]

    def split_labels(self, split: Split) -> np.ndarray:
        """Return the classes int64 [n] of all images in a split."""
        rows, labels = self._split_rows(split), self._arrays(split)[1]
        return labels if rows is None else labels[rows]

    def _limit_samples(self, key: str, split: Split, stands_in: bool) -> None:
        number, most = getattr(self.config, key), self.smallest_task(split)
        if number is None or number <= most:
            return
        if not stands_in:
            raise UserError(
                f"benchmark.{key} = {number}, but a task of {self.name} may have only {most}"
                f" images; give at most {most}, or leave it out for all"
            )
        self.config = self.config.model_copy(update={key: most})
        self.notice = f"{self.notice}; benchmark.{key} lowered from {number} to {most}"


def _row_bytes(split: Split, rows: np.ndarray | None) -> bytes:
    if rows is None:
        return f"{split} all".encode()
    return f"{split} {len(rows)}".encode() + rows.astype("<u4").tobytes()
