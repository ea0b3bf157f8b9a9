"""Our benchmarks as Avalanche's, for its strategies, plug-ins and metrics."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cl_bench.benchmarks.base import Benchmark, Examples, Split
from cl_bench.config import Scenario

if TYPE_CHECKING:
    from avalanche.benchmarks import CLScenario

_CLASSES = (
    "classes_in_this_experience",
    "previous_classes",
    "classes_seen_so_far",
    "future_classes",
)


class ResidentImages(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """The images of one task and split in memory, as Avalanche reads a dataset.

    Args:
        examples: images and labels.
        input_shape: channels, height, width.
    """

    def __init__(self, examples: Examples, input_shape: tuple[int, ...]) -> None:
        self.images = torch.from_numpy(examples.images).unflatten(1, input_shape)
        """uint8 [n, channels, height, width]."""
        self.targets: list[int] = examples.labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image, float32 [channels, height, width] in [0, 1], and its label."""
        return self.images[index].to(torch.float32).div_(255), self.targets[index]


def to_avalanche(benchmark: Benchmark, seed: int) -> CLScenario:
    """Return the tasks of one seed as a benchmark object of Avalanche.

    `train_stream` and `test_stream` (and `valid_stream`, where the configuration holds data out)
    have one experience a task. A sample is an image, float32 [channels, height, width] in [0, 1],
    the network output that is right, of `benchmark.n_outputs`, and a task label: the number of
    the task in the task-incremental scenario, otherwise 0. All images stay in memory.

        from avalanche.training import Naive
        import cl_bench
        from cl_bench import benchmarks
        from cl_bench.config import BenchmarkConfig

        benchmark = benchmarks.get(BenchmarkConfig(name="split-mnist", scenario="class"))
        stream = cl_bench.to_avalanche(benchmark, seed=0)
        strategy = Naive(model=model, optimizer=optimizer, criterion=criterion)
        for experience in stream.train_stream:
            strategy.train(experience)
            strategy.eval(stream.test_stream)

    Args:
        benchmark: the tasks (`cl_bench.benchmarks.get`).
        seed: whose stream.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional packages that are not needed here
        from avalanche.benchmarks import (
            benchmark_from_datasets,
            with_classes_timeline,
            with_task_labels,
        )
        from avalanche.benchmarks.utils import (
            ConstantSequence,
            DataAttribute,
            TaskAwareSupervisedClassificationDataset,
            TaskLabels,
        )

    def dataset(task: int, split: Split) -> TaskAwareSupervisedClassificationDataset:
        images = ResidentImages(benchmark.examples(seed, task, split), benchmark.input_shape)
        label = task if benchmark.scenario is Scenario.TASK else 0
        return TaskAwareSupervisedClassificationDataset(
            [images],
            data_attributes=[
                DataAttribute(images.targets, "targets"),
                TaskLabels(ConstantSequence(label, len(images))),
            ],
        )

    splits: list[Split] = ["train", "test"]
    if benchmark.config.validation_fraction:
        splits.append("valid")
    tasks = range(benchmark.n_tasks)
    streams = {split: [dataset(task, split) for task in tasks] for split in splits}
    built = with_task_labels(with_classes_timeline(benchmark_from_datasets(**streams)))
    for stream in built.streams.values():
        for experience in stream:
            for name in _CLASSES:  # sets, where Avalanche's own heads want lists
                setattr(experience, name, sorted(getattr(experience, name)))
    return built
