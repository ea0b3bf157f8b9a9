"""A stack of seeds in training in a setting, step by step, and the data it is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from cl_bench.engine.stack import assemble
from cl_bench.engine.state import State, give, take
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch
from cl_bench.instruments.loss import loss_and_error
from cl_bench.landscape.setting import Sampling, Setting
from cl_bench.seeding import torch_generator

_CHUNK = 1000
"""Images whose activations are held at a time."""


class Dynamics:
    """Training of all classes at once, by the engine's own step.

    Args:
        setting: what to train.
        seeds: the runs of the stack, ascending.
        data_dir: where to look for data first.
        device: where to train.
    """

    def __init__(
        self,
        setting: Setting,
        seeds: tuple[int, ...],
        data_dir: Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.setting = setting
        self.seeds = seeds
        self.device = device or torch.device("cpu")
        configs = [setting.run_config(seed) for seed in seeds]
        self._stack = assemble(configs, Strategy, self.device, data_dir=data_dir)
        self.network, self.learner = self._stack.network, self._stack.learner
        self.task = self._stack.task(0)
        self.images = self.task.epoch_samples
        """Training images."""
        self._first = torch.tensor([0, *self.task.sizes[:-1]]).cumsum(0).unsqueeze(1)

    def steps(self, epochs: float) -> int:
        """Return the training steps of so many epochs."""
        return max(1, round(epochs * self.images / self.setting.batch_size)) if epochs else 0

    def train_to(
        self,
        step: int,
        visit: Callable[[int], None] = lambda step: None,
        *,
        larger: int = 1,
        sampling: Sampling | None = None,
    ) -> None:
        """Train until so many steps are taken; `visit` is called after each with their number.

        Args:
            step: how many in all.
            visit: what to do after each.
            larger: minibatches are so many times as large as the setting's, for less noise.
            sampling: None is the setting's.
        """
        first = self.learner.step_number
        batches = self.minibatches(first, step, sampling=sampling)
        if larger > 1:
            batches = self.task.minibatches(
                self.setting.batch_size * larger, step, "larger", first=first
            )
        for batch in batches:
            self._stack.step(batch)
            visit(self.learner.step_number)

    def minibatches(
        self, first: int, stop: int, *purpose: str, sampling: Sampling | None = None
    ) -> Iterator[Batch]:
        """Yield the minibatches number `first` … `stop` - 1.

        Args:
            first: the first one wanted.
            stop: the first one not wanted.
            purpose: names another order than that of training.
            sampling: None is the setting's.
        """
        size = self.setting.batch_size
        if (sampling or self.setting.sampling) == "without":
            yield from self.task.minibatches(size, stop, *purpose, first=first)
            return
        for block in range(first // 256, -(-stop // 256)):
            rows = self._drawn("with replacement", *purpose, block, shape=(256, size))
            low, high = max(first - block * 256, 0), min(stop - block * 256, 256)
            for step in range(low, high):
                yield self.task.gather(rows[:, step])

    def _drawn(self, *purpose: str | int, shape: tuple[int, ...]) -> Tensor:
        """Return rows of the data drawn with replacement, [R, *shape]."""
        drawn = []
        for run, seed in enumerate(self.seeds):
            generator = torch_generator("landscape", *purpose, seed)
            rows = torch.randint(self.task.sizes[run], shape, generator=generator)
            drawn.append(rows + self._first[run])
        return torch.stack(drawn).to(self.device)

    def normal(self, purpose: str, *shape: int, block: int = 0) -> Tensor:
        """Return standard normal numbers [R, *shape], each seed's from its own named stream."""
        made = [
            torch.randn(shape, generator=torch_generator("landscape", purpose, seed, block))
            for seed in self.seeds
        ]
        return torch.stack(made).to(self.device)

    def permutation(self, purpose: str, count: int, epoch: int) -> Tensor:
        """Return the numbers below `count` shuffled, [R, count], for a purpose and an epoch."""
        made = [
            torch.randperm(count, generator=torch_generator("landscape", purpose, seed, epoch))
            for seed in self.seeds
        ]
        return torch.stack(made).to(self.device)

    def loss_rows(self) -> int:
        """Return the number of images in the loss that is studied."""
        return min(self.setting.loss_samples or self.images, self.images)

    def sweep(self) -> Iterator[Batch]:
        """Yield the images of the loss that is studied, a few at a time, in their own order."""
        total = self.loss_rows()
        rows = torch.arange(total)
        if total < self.images:
            generator = torch_generator("landscape", "loss images")
            rows = torch.randperm(self.images, generator=generator)[:total].sort().values
        for part in rows.split(_CHUNK):
            yield self.task.gather((part + self._first).to(self.device))

    def start_again(self) -> None:
        """Go back to before the first step."""
        self.learner.theta.copy_(self.learner.initial)
        self.learner.optimizer.reset()
        self.learner.step_number = 0

    def state(self) -> State:
        """Return the weights and all that the rest of the training depends on; copied."""
        optimizer = take(self.learner.optimizer, {})
        tensors = {f"optimizer:{name}": t.clone() for name, t in optimizer.tensors.items()}
        tensors["theta"] = self.learner.theta.clone()
        return State({"optimizer": optimizer.tree, "step": self.learner.step_number}, tensors)

    def load_state(self, state: State) -> None:
        """Go back, or on, to a state: training goes on from it with the same bits."""
        tensors = dict(state.tensors)
        self.learner.theta.copy_(tensors.pop("theta"))
        self.learner.step_number = state.tree["step"]
        # Cloned: the optimiser changes its own in place.
        kept = {name.removeprefix("optimizer:"): t.clone() for name, t in tensors.items()}
        give(self.learner.optimizer, State(state.tree["optimizer"], kept), {})

    def loss_and_error(self, theta: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the exact loss and the error of the studied images, each [R], float64."""
        at = self.learner.theta if theta is None else theta
        return loss_and_error(self.network, at, self.sweep())
