"""One task's training data on the device, and the minibatches that every strategy sees alike.

Images stay uint8 (features float32); a minibatch is a gather and a scale. Runs of a stack that
share a seed share their data, and the order of minibatches depends on the seed and the task alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from cl_bench.benchmarks.base import Benchmark
from cl_bench.config import Scenario
from cl_bench.seeding import torch_generator

PIXEL_SCALE = 1 / 255


def shown(kept: Tensor) -> Tensor:
    """Return images as networks take them, float32: bytes over 255, features as they are."""
    return kept.to(torch.float32).mul_(PIXEL_SCALE) if kept.dtype == torch.uint8 else kept


class ForbiddenData(RuntimeError):  # noqa: N818 - it names what was reached for
    """A strategy reached for data that it must not see now."""


@dataclass
class Batch:
    """A minibatch of every run, and the parts that it was joined of."""

    images: Tensor
    """float32 [R, B, F]: bytes in [0, 1], features as they are."""
    labels: Tensor
    """int64 [R, B], the network output that is right."""
    mask: Tensor | None
    """bool [C] or [R, B, C], the outputs that compete in the loss; None is all of them."""
    gates: tuple[Tensor, ...] | None = None
    """What each hidden layer's activations are multiplied by, [R, B, H] (dropout; MLP only)."""
    name: str = "fresh"
    """What its samples are: "fresh" are the task's own, others those drawn for a purpose."""
    tasks: Tensor | None = None
    """int64 [R, B], the task that each sample came from, where it was kept."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """What was kept beside each sample, by name, [R, B, …]."""
    logits: Tensor | None = None
    """What the network says of it, [R, B, C]: in `after_step`, what it said in the step."""
    joined_of: tuple[Batch, ...] = ()
    as_bytes: bool = True
    """Whether the images are bytes over 255 and may be kept as such; else they are features."""

    def kept(self) -> Tensor:
        """Return the images as they are kept: uint8 [R, B, F], or float32 where not bytes."""
        if not self.as_bytes:
            return self.images
        return self.images.div(PIXEL_SCALE).round_().to(torch.uint8)

    @property
    def parts(self) -> dict[str, Batch]:
        """The minibatches that it was joined of, by name, in the order of their samples."""
        return {part.name: part for part in self.joined_of or (self,)}

    @property
    def fresh(self) -> Batch:
        """The task's own minibatch."""
        return self.parts["fresh"]

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Return values [R, B, …] of its samples, such as logits, by the names of the parts."""
        parts = self.parts
        sizes = [part.labels.shape[1] for part in parts.values()]
        return dict(zip(parts, values.split(sizes, 1), strict=True))

    def joined(self, other: Batch | None) -> Batch:
        """Return this minibatch with another's samples after its own; gates are left out.

        Each keeps its name. Where there is no other, it is this one.
        """
        if other is None:
            return self
        mask = self.mask
        if mask is not other.mask:
            mask = torch.cat([self._full_mask(other), other._full_mask(self)], 1)
        return Batch(
            torch.cat([self.images, other.images], 1),
            torch.cat([self.labels, other.labels], 1),
            mask,
            joined_of=(*(self.joined_of or (self,)), *(other.joined_of or (other,))),
            as_bytes=self.as_bytes and other.as_bytes,
        )

    def _full_mask(self, other: Batch) -> Tensor:
        """Return the mask as bool [R, B, C]; where there is none, all ones as wide as other's."""
        mask = self.mask
        if mask is None:
            assert other.mask is not None
            mask = other.mask.new_ones(other.mask.shape[-1])
        return mask.expand(*self.labels.shape, -1)


class Outputs:
    """What the outputs mean: which belong to each task, and which compete.

    Args:
        scenario: of the benchmark.
        of_task: bool [T, C], the outputs of each task.
        trained: class-incremental training: "seen" or "all" outputs compete.
    """

    def __init__(self, scenario: Scenario, of_task: Tensor, trained: str) -> None:
        self.scenario = scenario
        self.of_task = of_task
        self.trained = trained

    def seen(self, task: int) -> Tensor:
        """Return bool [C]: the outputs of the tasks up to and with this one."""
        return self.of_task[: task + 1].any(0)

    def competing(self, task: int, *, training: bool) -> Tensor | None:
        """Return the outputs [C] that compete on a task right after (or while) it is learnt."""
        if self.scenario is Scenario.TASK:
            mask = self.of_task[task]
        elif self.scenario is Scenario.CLASS:
            if training and self.trained == "all":
                return None
            mask = self.seen(task)
        else:
            mask = self.of_task.any(0)
        return None if bool(mask.all()) else mask


class Streams:
    """The task streams of a stack: which seeds there are and which run has which.

    Args:
        benchmark: the task sequence.
        seeds: the seed of each run.
        device: where data are kept.
        class_outputs: class-incremental training: "seen" or "all" outputs compete.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        seeds: Sequence[int],
        device: torch.device,
        class_outputs: str = "seen",
    ) -> None:
        self.benchmark = benchmark
        self.seeds = sorted(set(seeds))
        self.run_seeds = tuple(seeds)
        self.device = device
        self.of_run = torch.tensor([self.seeds.index(s) for s in seeds], device=device)
        """[R]: the position in `seeds` of each run's seed."""
        of_task = torch.from_numpy(benchmark.output_mask).to(device)
        self.outputs = Outputs(benchmark.scenario, of_task, class_outputs)
        self.one_each = len(self.seeds) == len(seeds) and self.seeds == list(seeds)

    def run_selector(self) -> Callable[[Tensor], Tensor]:
        """Return what makes values [R, …], one for each run, of values [U, …] of distinct seeds."""
        of_run = self.of_run
        return (lambda values: values) if self.one_each else lambda v: v.index_select(0, of_run)


@dataclass(frozen=True)
class Pace:
    """How a task's endless order of images is cut into minibatches and epochs."""

    size: int
    """Images a minibatch."""
    epoch: int
    """Images an epoch."""
    short: bool
    """Whether a minibatch ends where an epoch does; else all are full."""

    def samples(self, steps: int) -> int:
        """Return the images of the first so many minibatches."""
        if not self.short:
            return steps * self.size
        epochs, more = divmod(steps, -(-self.epoch // self.size))
        return epochs * self.epoch + more * self.size

    def steps(self, epochs: float) -> int:
        """Return the minibatches of so many epochs, whole ones where the last one is short."""
        if self.short:
            return int(epochs) * -(-self.epoch // self.size)
        return max(1, int(epochs * self.epoch / self.size))


class TaskData:
    """The training data a strategy may see: of one task, or of all so far for upper bounds.

    They can be had until the task is over; what is wanted later must be kept by the strategy.
    """

    def __init__(self, streams: Streams, task: int, *, all_so_far: bool = False) -> None:
        self._open = True
        self.index = task
        """Number of the task in the sequence, from 0."""
        # No reference to the streams is kept: they lead to other tasks' and to test images.
        self._seeds, self._for_runs = streams.seeds, streams.run_selector()
        self._output_mask = streams.outputs.of_task
        members = range(task + 1) if all_so_far else (task,)
        images, labels, origin = [], [], []
        self.sizes = []
        """Number of training images of each distinct seed."""
        for seed in streams.seeds:
            parts = [streams.benchmark.examples(seed, member, "train") for member in members]
            images += [part.images for part in parts]
            labels += [part.labels for part in parts]
            origin += [np.full(len(p.labels), m) for m, p in zip(members, parts, strict=True)]
            self.sizes.append(sum(len(part.labels) for part in parts))
        self._offsets = torch.tensor([0, *self.sizes[:-1]]).cumsum(0)
        self._device = streams.device
        self._images = _join(images, streams.device)
        self._labels = _join(labels, streams.device)
        self.as_bytes = self._images.dtype == torch.uint8
        """Whether the images are bytes; else they are features."""
        per_sample_masks = all_so_far and streams.benchmark.scenario is Scenario.TASK
        self._origin = _join(origin, streams.device) if per_sample_masks else None
        self.mask = streams.outputs.competing(task, training=True)
        self.epoch_samples = sum(streams.benchmark.epoch_size(m) for m in members)
        """Training images that count as an epoch, the same for every seed."""

    def close(self) -> None:
        """Take the data away: the task is over."""
        self._open = False
        del self._images, self._labels, self._origin

    def gather(self, index: Tensor) -> Batch:
        """Return the minibatch at rows [R, B] of the joined data."""
        if not self._open:
            raise ForbiddenData(
                f"the data of task {self.index} were asked for after the task; "
                "keep what is wanted later (cl_bench.methods.replay.Buffer) "
                "and declare keeps_samples"
            )
        flat = index.reshape(-1)
        raw = self._images.index_select(0, flat)
        images = shown(raw).view(*index.shape, -1)
        mask = self.mask
        if self._origin is not None:
            mask = self._output_mask[self._origin.index_select(0, flat)]
            mask = mask.view(*index.shape, -1)
        labels = self._labels.index_select(0, flat).view(index.shape)
        return Batch(images, labels, mask, as_bytes=self.as_bytes)

    def minibatches(
        self, size: int, steps: int, *purpose: str | int, first: int = 0, short: bool = False
    ) -> Iterator[Batch]:
        """Yield the minibatches number `first` … `steps` - 1 of the order with this purpose.

        Epochs follow one another without a break: every image is seen once before any is seen
        twice. Each epoch's order is a stream of its own.

        Args:
            size: images a minibatch.
            steps: the first one not wanted.
            purpose: names the order.
            first: the first one wanted.
            short: whether a minibatch ends where an epoch does; else all are full.
        """
        pace = Pace(size, self.epoch_samples, short)
        chunk = max(1, 65_536 // size)
        for start in range(first, steps, chunk):
            places = [
                pace.samples(number) for number in range(start, min(start + chunk, steps) + 1)
            ]
            rows = torch.stack(
                [
                    self._order(u, places[0], places[-1], purpose) + self._offsets[u]
                    for u in range(len(self.sizes))
                ]
            )
            rows = self._for_runs(rows.to(self._device))
            for index in rows.split([b - a for a, b in pairwise(places)], 1):
                yield self.gather(index)

    def _order(self, stream: int, start: int, stop: int, purpose: tuple[str | int, ...]) -> Tensor:
        """Return positions start … stop of the endless shuffled order of one seed's images."""
        size, seed = self.sizes[stream], self._seeds[stream]
        parts = []
        for epoch in range(start // size, -(-stop // size)):
            generator = torch_generator("order", *purpose, seed, self.index, epoch)
            order = torch.randperm(size, generator=generator)
            low = max(start - epoch * size, 0)
            parts.append(order[low : min(stop - epoch * size, size)])
        return torch.cat(parts)

    def sample(self, count: int, purpose: str, size: int = 250) -> Iterator[Batch]:
        """Yield about `count` training images in a random order, at most `size` at a time.

        No image comes twice as long as `count` is below the seed's own number; it is cut to an
        epoch's, which is the same for every seed.
        """
        count = min(count, self.epoch_samples)
        parts = -(-count // size)
        yield from self.minibatches(count // parts, parts, "sample", purpose)


def _join(parts: list[np.ndarray], device: torch.device) -> Tensor:
    """Return arrays in a row as one tensor, copied once."""
    joined = torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))
    return joined.to(device)
