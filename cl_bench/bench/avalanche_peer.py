"""The peer of the timings: Avalanche's own training and evaluation loops on our data.

Streams are built as Avalanche's `PermutedMNIST` builds them (a resident uint8 tensor, one
frozen permutation of each image on access, `nc_benchmark`) and trained by its `Naive` and `EWC`
with their usual data loader. Nothing of Avalanche is replaced; a plug-in reads the clock.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from cl_bench.bench.timing import clock
from cl_bench.bench.workload import INPUTS, LEARNING_RATE, OUTPUTS, Shape
from cl_bench.benchmarks.permuted import Permuted

if TYPE_CHECKING:
    from avalanche.benchmarks import NCScenario


@dataclass(frozen=True)
class PeerTask:
    """One experience: the same images as our loader's, permuted by Avalanche as it reads them."""

    train_images: np.ndarray
    """uint8 [n, 784], not yet permuted."""
    train_labels: np.ndarray
    """int64 [n]."""
    test_images: np.ndarray
    """uint8 [n, 784], not yet permuted."""
    test_labels: np.ndarray
    """int64 [n]."""
    permutation: np.ndarray
    """int64 [784]: pixel j of the permuted image is pixel permutation[j] of the image."""


class TensorImages(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images in memory, read as Avalanche's `TensorMNIST` reads them."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        side = int(images.shape[1] ** 0.5)
        self.data = torch.from_numpy(np.array(images)).view(-1, side, side)
        self.targets = torch.from_numpy(np.array(labels))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.data[index].float().unsqueeze(0) / 255.0, int(self.targets[index])


def peer_tasks(benchmark: Permuted, seed: int, train_samples: Sequence[int]) -> list[PeerTask]:
    """Return the first tasks of a benchmark for the peer, with the pixels put back in order.

    Args:
        benchmark: permuted images.
        seed: whose stream.
        train_samples: the training images of each task, the first so many of the benchmark's.
    """
    tasks = []
    for task, count in enumerate(train_samples):
        permutation = benchmark.permutation(seed, task)
        back = np.argsort(permutation)
        train = benchmark.examples(seed, task, "train")
        test = benchmark.examples(seed, task, "test")
        tasks.append(
            PeerTask(
                train.images[:count, back],
                train.labels[:count],
                test.images[:, back],
                test.labels,
                permutation,
            )
        )
    return tasks


def make_stream(tasks: Sequence[PeerTask], *, normalise: bool = True) -> NCScenario:
    """Return the tasks as Avalanche's `PermutedMNIST` makes them.

    Args:
        tasks: the data.
        normalise: its default transform, a normalisation of each image as it is read. Without it
            the network is given just what ours is, and the peer is saved that work.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional packages that are not needed here
        import avalanche.training  # noqa: F401
    from avalanche.benchmarks import nc_benchmark
    from avalanche.benchmarks.classic.cmnist import PixelsPermutation
    from avalanche.benchmarks.utils import (
        DefaultTransformGroups,
        _make_taskaware_classification_dataset,
        make_avalanche_dataset,
    )
    from torchvision.transforms import Compose, Normalize

    transform = Compose([Normalize((0.1307,), (0.3081,))]) if normalise else None

    def permuted(images: np.ndarray, labels: np.ndarray, permutation: np.ndarray) -> Any:
        indices = torch.from_numpy(permutation).type(torch.int64)
        return make_avalanche_dataset(
            _make_taskaware_classification_dataset(TensorImages(images, labels)),
            frozen_transform_groups=DefaultTransformGroups((PixelsPermutation(indices), None)),
        )

    return nc_benchmark(
        [permuted(t.train_images, t.train_labels, t.permutation) for t in tasks],
        [permuted(t.test_images, t.test_labels, t.permutation) for t in tasks],
        n_experiences=len(tasks),
        task_labels=False,
        shuffle=False,
        class_ids_from_zero_in_each_exp=True,
        one_dataset_per_exp=True,
        train_transform=transform,
        eval_transform=transform,
    )


def make_network(hidden: Sequence[int]) -> nn.Module:
    """Return the ReLU network with these hidden widths, as a user of torch writes it."""
    layers: list[nn.Module] = [nn.Flatten()]
    width = INPUTS
    for wide in hidden:
        layers += [nn.Linear(width, wide), nn.ReLU()]
        width = wide
    return nn.Sequential(*layers, nn.Linear(width, OUTPUTS))


class AvalanchePeer:
    """One of Avalanche's strategies on a stream, trained by plain SGD.

    Args:
        stream: what `make_stream` returned.
        strategy: "naive" or "ewc" (mode `separate`: an anchor and a Fisher information a task).
        shape: network and minibatch; EWC's importances use this minibatch too.
        strength: EWC's factor of the penalty.
        eval_batch_size: minibatch of evaluation.
    """

    def __init__(
        self,
        stream: NCScenario,
        strategy: str,
        shape: Shape,
        *,
        strength: float = 1.0,
        eval_batch_size: int = 500,
    ) -> None:
        from avalanche.evaluation.metrics import accuracy_metrics
        from avalanche.logging import BaseLogger
        from avalanche.training import EWC, Naive
        from avalanche.training.plugins import EvaluationPlugin

        self.stream = stream
        self.network = make_network(shape.hidden)
        self._clock = _clock_plugin()
        shared: dict[str, Any] = {
            "model": self.network,
            "optimizer": torch.optim.SGD(self.network.parameters(), lr=LEARNING_RATE),
            "criterion": nn.CrossEntropyLoss(),
            "train_mb_size": shape.batch_size,
            "train_epochs": 1,
            "eval_mb_size": eval_batch_size,
            "device": "cpu",
            "plugins": [self._clock],
            # A logger that writes nothing: without any, Avalanche warns at each construction.
            "evaluator": EvaluationPlugin(
                accuracy_metrics(experience=True), loggers=[BaseLogger()]
            ),
        }
        if strategy == "naive":
            self.strategy = Naive(**shared)
        elif strategy == "ewc":
            self.strategy = EWC(ewc_lambda=strength, mode="separate", **shared)
        else:
            raise ValueError(f"no peer for strategy '{strategy}'; known: naive, ewc")

    def train(self, task: int, *, shuffle: bool = True) -> float:
        """Train one epoch on a task; return the seconds that its minibatches took.

        What EWC does after the last minibatch (the Fisher information) is not counted.
        """
        experience = self.stream.train_stream[task]
        self.strategy.train(experience, eval_streams=[], num_workers=0, shuffle=shuffle)
        return self._clock.seconds

    def evaluate(self, task: int) -> tuple[float, float]:
        """Evaluate the test set of a task; return the seconds taken and the accuracy."""
        experience = self.stream.test_stream[task]
        start = clock()
        found = self.strategy.eval([experience], num_workers=0)
        seconds = clock() - start
        name = f"/Exp{task:03d}"
        return seconds, float(next(v for k, v in found.items() if k.endswith(name)))


def _clock_plugin() -> Any:
    """Return a plug-in of Avalanche whose `seconds` is the time of the last training epoch."""
    from avalanche.training.plugins import SupervisedPlugin

    class EpochClock(SupervisedPlugin):
        seconds = 0.0

        def before_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            self._start = clock()

        def after_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            self.seconds = clock() - self._start

    return EpochClock()
