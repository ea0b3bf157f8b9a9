"""A buffer of training samples for every run of a stack, and what methods that replay share.

Images are kept as the bytes they came as. Filling and drawing are done for all runs at once, and
every choice is a draw from the run's own named streams.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from cl_bench.engine.learner import Learner
from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.settings import setting
from cl_bench.engine.state import Kept
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch, TaskData, shown

Balance = Literal["none", "class", "task"]


class Buffer(Kept):
    """Samples kept of everything that was added, at most `capacity` a run.

    Args:
        learner: the stack.
        capacity: samples a run, M.
        balance: "none" is reservoir sampling: of n samples added, each is kept with probability
            M / n (Vitter 1985, algorithm R). "class" (by output) and "task" keep as equal numbers
            of each group as there are, and of each group a uniform sample.
    """

    def __init__(self, learner: Learner, capacity: int, balance: Balance = "none") -> None:
        self.learner = learner
        self.capacity = capacity
        self.balance = balance
        self.added = 0
        """Samples that were ever added to each run's buffer."""
        shape, device = (learner.runs, capacity), learner.device
        self.labels = torch.full(shape, -1, device=device)
        """int64 [R, M]; -1 where nothing is kept yet."""
        self.tasks = torch.full(shape, -1, device=device)
        """int64 [R, M]."""
        self.images = torch.empty(learner.runs, 0, dtype=torch.uint8, device=device)
        """uint8 (float32 where they are features) [R, M, F] once something was added."""
        self.extra: dict[str, Tensor] = {}
        """What is kept besides, by name, [R, M, …]."""
        self._keys = torch.zeros(shape, device=device) if balance != "none" else None

    @property
    def filled(self) -> int:
        """Samples that each run keeps: the first so many places."""
        return min(self.added, self.capacity)

    def add(self, batch: Batch, *, purpose: str = "buffer", **extra: Tensor) -> None:
        """Offer a minibatch of the current task.

        Args:
            batch: the samples.
            purpose: of the draw; two calls in one step need two.
            **extra: what to keep with each sample, [R, B, …]; always the same names.
        """
        labels = batch.labels
        if not self.added:
            self._allocate(batch, extra)
        u = self.learner.uniform(purpose, labels.shape[1])
        chosen = self._reservoir(u) if self._keys is None else self._balanced(labels, u)
        self.added += labels.shape[1]
        rows, places = (chosen >= 0).nonzero(as_tuple=True)
        source = chosen[rows, places]
        self.labels[rows, places] = labels[rows, source]
        self.tasks[rows, places] = self.learner.task
        self.images[rows, places] = self._as_kept(batch)[rows, source]
        if self._keys is not None:
            self._keys[rows, places] = u[rows, source]
        for name, value in extra.items():
            self.extra[name][rows, places] = value[rows, source]

    def add_sample(self, task: TaskData, count: int) -> None:
        """Offer a uniform sample of a task: `count` of its training images, at most all."""
        for batch in task.sample(count, "memory", size=count):
            self.add(batch)

    def draw(self, count: int, purpose: str = "replay") -> Batch | None:
        """Return `count` of the samples kept, each as likely as any other; None while empty.

        None comes twice, unless more are asked for than are kept. The minibatch is named by the
        purpose; two draws in one step need two.
        """
        if not self.filled:
            return None
        u = self.learner.uniform(purpose, max(count, self.capacity))
        if count <= self.filled:
            index = u[:, : self.filled].topk(count, 1).indices
        else:
            index = (u[:, :count] * self.filled).long().clamp_(max=self.filled - 1)
        return self.at(index, purpose)

    def all(self) -> Batch:
        """Return everything that is kept."""
        places = torch.arange(self.filled, device=self.labels.device)
        return self.at(places.expand(self.learner.runs, -1))

    def at(self, index: Tensor, name: str = "replay") -> Batch:
        """Return the samples at these places, int64 [R, B], as a minibatch of that name."""
        rows = torch.arange(index.shape[0], device=index.device).unsqueeze(1)
        tasks = self.tasks[rows, index]
        return Batch(
            images=shown(self.images[rows, index]),
            labels=self.labels[rows, index],
            mask=self.learner.outputs_of(tasks),
            name=name,
            tasks=tasks,
            extra={name: value[rows, index] for name, value in self.extra.items()},
            as_bytes=self.images.dtype == torch.uint8,
        )

    def _as_kept(self, batch: Batch) -> Tensor:
        """Return a minibatch's images as they are kept; a buffer of both kinds keeps floats."""
        if not batch.as_bytes:
            self.images = shown(self.images)
        return batch.kept() if self.images.dtype == torch.uint8 else batch.images

    def _allocate(self, batch: Batch, extra: dict[str, Tensor]) -> None:
        runs, _, pixels = batch.images.shape
        kind = torch.uint8 if batch.as_bytes else torch.float32
        self.images = self.images.new_zeros(runs, self.capacity, pixels, dtype=kind)
        self.extra = {
            name: value.new_zeros(runs, self.capacity, *value.shape[2:])
            for name, value in extra.items()
        }

    def _reservoir(self, u: Tensor) -> Tensor:
        """Return which new sample goes to each place, int64 [R, M]; -1 leaves it as it is."""
        number = torch.arange(self.added, self.added + u.shape[1], device=u.device)
        place = (u.double() * (number + 1)).long()
        place = torch.where(number < self.capacity, number, place).clamp_(max=self.capacity)
        chosen = torch.full((u.shape[0], self.capacity + 1), -1, device=u.device)
        order = (number - self.added).expand_as(place)
        # Of two new samples for one place the later one stays, as if they had come one by one.
        return chosen.scatter_reduce_(1, place, order, "amax")[:, : self.capacity]

    def _balanced(self, labels: Tensor, u: Tensor) -> Tensor:
        """Return the same where groups are to be balanced.

        Every sample has a random key, and a rank among its group's keys. Those with the lowest
        ranks stay: equal numbers of each group, the highest keys of each, which are a uniform
        sample of it.
        """
        assert self._keys is not None
        new = labels if self.balance == "class" else torch.full_like(labels, self.learner.task)
        old = self.labels if self.balance == "class" else self.tasks
        group, key = torch.cat([old, new], 1), torch.cat([self._keys, u], 1)
        by_key = key.argsort(dim=1, descending=True, stable=True)
        order = by_key.gather(1, group.gather(1, by_key).argsort(dim=1, stable=True))
        sorted_group = group.gather(1, order)
        position = torch.arange(group.shape[1], device=u.device).expand_as(group)
        first = torch.ones_like(group, dtype=torch.bool)
        first[:, 1:] = sorted_group[:, 1:] != sorted_group[:, :-1]
        start = torch.where(first, position, 0).cummax(1).values
        rank = torch.empty_like(group).scatter_(1, order, position - start)
        rank[group < 0] = group.shape[1]  # empty places are the first to go
        by_rank = by_key.gather(1, rank.gather(1, by_key).argsort(dim=1, stable=True))
        stays = torch.zeros_like(group, dtype=torch.bool)
        stays.scatter_(1, by_rank[:, : self.capacity], True)
        free = ~stays[:, : self.capacity] | (old < 0)
        entering = stays[:, self.capacity :]
        # As many as enter, the first of them: what is kept stands before what is empty.
        turn = free.cumsum(1) - 1
        free &= turn < entering.sum(1, keepdim=True)
        chosen = torch.full_like(self.labels, -1)
        chosen[free] = entering.nonzero(as_tuple=True)[1]
        return chosen


class Rehearsal(Strategy):
    """A strategy that keeps samples and trains on them again."""

    keeps_samples = True
    buffer_size: int = setting(500, "samples kept of all tasks together", low=1)
    replay_batch_size: int = setting(
        0, "samples replayed with each minibatch; 0 is as many as a full minibatch has", low=0
    )


class Replay(Rehearsal):
    """Experience replay from a buffer that the samples of each step enter after the step.

    A step trains on the task's own minibatch, the part "fresh", joined with one from the buffer,
    the part "replay".
    """

    balance: Balance = "none"

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        self.buffer = Buffer(learner, self.buffer_size, self.balance)

    def replayed(self, purpose: str = "replay") -> Batch | None:
        """Return a minibatch of kept samples; None while there are none."""
        return self.buffer.draw(self.replay_batch_size or self.learner.batch_size, purpose)

    def begin_step(self, batch: Batch) -> Batch:
        return batch.joined(self.replayed())

    def after_step(self, batch: Batch) -> None:
        self.buffer.add(batch.fresh)


class TaskReplay(Replay):
    """A strategy that fills its buffer at each task's end, with as many samples of each task.

    It has no sample of the task in training, and says itself where the kept ones come in.
    """

    balance = "task"

    def begin_step(self, batch: Batch) -> Batch:
        return batch

    def after_step(self, batch: Batch) -> None:
        """Keep nothing yet: the buffer is of past tasks."""

    def end_task(self, task: TaskData) -> None:
        self.buffer.add_sample(task, self.buffer_size)


class DarkReplay(Replay):
    """A strategy whose kept samples have the logits they had in the step they were trained in."""

    def losses(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of the task's own samples and the kept logits' change, [R, 1].

        The change is the mean square over samples and outputs. In the task scenario it is over
        the outputs of the sample's own task: the others are never asked for it.

        Args:
            logits: [R, B, C].
            batch: of the parts "fresh" and, once something is kept, "replay".
        """
        said, kept = batch.split(logits), batch.parts.get("replay")
        loss = cross_entropy(said["fresh"], batch.fresh)
        if kept is None:
            return loss, torch.zeros_like(loss)
        change = (said["replay"] - kept.extra["logits"]).square()
        if kept.mask is not None and kept.mask.dim() == 3:
            mean = (change * kept.mask).sum(-1) / kept.mask.sum(-1)
        else:
            mean = change.mean(-1)
        return loss, mean.mean(1, keepdim=True)

    def after_step(self, batch: Batch) -> None:
        assert batch.logits is not None
        self.buffer.add(batch.fresh, logits=batch.split(batch.logits)["fresh"])
