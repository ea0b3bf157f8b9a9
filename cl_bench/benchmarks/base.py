"""The contract that a benchmark fulfils: a sequence of tasks, the same for every strategy.

A benchmark knows its data, how many tasks there are and what each network output stands
for; it draws everything random from streams named by the run's seed. It knows no strategy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from cl_bench.config import BenchmarkConfig, Scenario
from cl_bench.data import Dataset
from cl_bench.errors import UserError

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Examples:
    """Images and labels of one task and split, ready for the engine."""

    images: np.ndarray
    """uint8 [n, channels * height * width], C-contiguous; features are float32 [n, F]."""
    labels: np.ndarray
    """int64 [n]: the index of the network output that is right."""


class Benchmark(ABC):
    """A task sequence on one dataset in one scenario; shared by all seeds."""

    version: ClassVar[int] = 1
    """Raised whenever the same seed would give other tasks."""
    default_tasks: ClassVar[int] = 5
    scenarios: ClassVar[tuple[Scenario, ...]]
    """The scenarios that make sense; the first is the default."""

    name: str
    config: BenchmarkConfig
    """Resolved: tasks and scenario are never None here."""
    dataset: Dataset
    scenario: Scenario
    n_tasks: int
    n_outputs: int
    input_shape: tuple[int, ...]
    """Channels, height, width; (1, 1, F) of features."""
    output_mask: np.ndarray
    """bool [n_tasks, n_outputs]: the outputs that belong to each task."""
    notice: str | None = None
    """What the user must be told before the first run: other data stand in, files were fetched."""

    @abstractmethod
    def examples(self, seed: int, task: int, split: Split) -> Examples:
        """Return the images and labels of one task of the stream of this seed."""

    @abstractmethod
    def epoch_size(self, task: int) -> int:
        """Return the number of training images that count as an epoch of this task.

        It is the same for every seed, so that runs can be stepped together: the task's own
        number where all seeds agree on it, else the mean over tasks (rounded down).
        """

    @abstractmethod
    def stream_id(self, seed: int) -> str:
        """Return a hash (16 hexadecimal digits) of all that makes the stream of this seed."""

    def configured(self, config: BenchmarkConfig) -> Benchmark:
        """Return this benchmark under another configuration of the same name.

        What the configuration does not set stays as it is here.

        Raises:
            UserError: it asks for what this benchmark cannot be.
        """
        for key, value in self._merged(config).model_dump().items():
            if value != (own := getattr(self.config, key)):
                raise UserError(
                    f"benchmark.{key} = {value}: {self.name} is an object with {key} = {own}"
                )
        return self

    def _merged(self, config: BenchmarkConfig) -> BenchmarkConfig:
        """Return a configuration with what it does not set taken from this benchmark's own."""
        given = {key: getattr(config, key) for key in config.model_fields_set - {"name"}}
        if (was := given.pop("content", None)) not in (None, self.config.content):
            raise UserError(
                f"benchmark '{self.name}' has changed: its content is {self.config.content}, the"
                f" run asks for {was}"
            )
        return self.config.model_copy(
            update={key: value for key, value in given.items() if value is not None}
        )

    @abstractmethod
    def describe(self, seed: int) -> list[dict[str, object]]:
        """Return one plain dictionary a task: what it is, for people."""
