"""A stack of runs put together from their configurations, and the one training step they all take.

Whoever trains, measures or checks a strategy by hand begins here: benchmark, streams, network,
learner and strategy belong together, and this is the one place that joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cl_bench import benchmarks
from cl_bench.benchmarks.base import Benchmark
from cl_bench.config import RunConfig
from cl_bench.engine.architectures import build_network
from cl_bench.engine.checkpoint import Snapshot
from cl_bench.engine.learner import Learner
from cl_bench.engine.networks import Network
from cl_bench.engine.optimizers import column
from cl_bench.engine.state import State, give, take
from cl_bench.engine.strategy import Strategy, all_settings, free_settings
from cl_bench.engine.tasks import Batch, Streams, TaskData


@dataclass(frozen=True)
class Stack:
    """R runs that differ in seeds and numbers alone, ready to be trained."""

    configs: Sequence[RunConfig]
    benchmark: Benchmark
    streams: Streams
    learner: Learner
    strategy: Strategy

    @property
    def network(self) -> Network:
        """The architecture."""
        return self.learner.network

    def task(self, index: int) -> TaskData:
        """Return what the strategy is given of a task: its own data, or all so far."""
        return TaskData(self.streams, index, all_so_far=self.strategy.all_data)

    def step(self, batch: Batch) -> None:
        """Take one training step on a minibatch."""
        step(self.strategy, batch)

    def counters(self) -> dict[str, Any]:
        """Return how far the training is, as JSON has it."""
        counters = {name: getattr(self.learner, name) for name in _COUNTERS}
        return {**counters, "draws": self.learner.draws.state()}

    def state(self) -> dict[str, State]:
        """Return all else that the rest of the training depends on, by name; nothing is copied."""
        learner = self.learner
        return {
            "learner": State(None, {"theta": learner.theta, "gradient": learner.gradient}),
            "optimizer": take(learner.optimizer, {}),
            "strategy": self.strategy.state(),
        }

    def load(self, snapshot: Snapshot) -> None:
        """Go on from what a checkpoint holds of these runs."""
        learner = self.learner
        for name in _COUNTERS:
            setattr(learner, name, snapshot.content[name])
        learner.draws.load(snapshot.content["draws"])
        for name, tensor in snapshot.part("learner").tensors.items():
            getattr(learner, name).copy_(tensor)
        give(learner.optimizer, snapshot.part("optimizer"), {})
        self.strategy.load_state(snapshot.part("strategy"))


_COUNTERS = ("task", "step_number", "steps", "samples_seen", "gradient_passes")


def assemble(
    configs: Sequence[RunConfig],
    strategy: type[Strategy],
    device: torch.device | str = "cpu",
    *,
    data_dir: Path | None = None,
    benchmark: Benchmark | None = None,
    streams: Streams | None = None,
    network: Network | None = None,
) -> Stack:
    """Put a stack together; it stands at its initial weights.

    Args:
        configs: resolved runs of one stack.
        strategy: the class that trains them.
        device: where to train.
        data_dir: where to look for data first.
        benchmark: the task sequence; None is that of the configurations.
        streams: the task streams, shared with another stack of the same seeds; None makes them.
        network: the architecture; None is that of the configurations.
    """
    first, device = configs[0], torch.device(device)
    if streams is not None:
        benchmark = streams.benchmark
    elif benchmark is None:
        benchmark = benchmarks.get(first.benchmark, data_dir=data_dir, download=False)
    if streams is None:
        streams = Streams(benchmark, [c.seed for c in configs], device, first.training.outputs)
    if network is None:
        network = build_network(first.network, benchmark.input_shape, benchmark.n_outputs)
    learner = Learner(network, configs, streams.outputs, device)
    own = strategy(learner, _settings(strategy, configs, device))
    return Stack(configs, benchmark, streams, learner, own)


def _settings(
    strategy: type[Strategy], configs: Sequence[RunConfig], device: torch.device
) -> dict[str, Any]:
    """Return a strategy's settings: free ones as [R, 1] tensors, the others as they are."""
    given = [all_settings(strategy, config.strategy.settings) for config in configs]
    values: dict[str, Any] = dict(given[0])
    for name in free_settings(strategy):
        values[name] = column([float(each[name]) for each in given], device)
    return values


def step(strategy: Strategy, batch: Batch) -> None:
    """Take one training step on a minibatch: the strategy's hooks, in their order."""
    learner, kind, trained = strategy.learner, type(strategy), strategy.trained()
    images = batch.labels.shape[1]
    batch = strategy.begin_step(batch)
    batch.logits = None
    # With a loss of its own, or what it trains along, the loss's gradient is autograd's.
    own = kind.loss is not Strategy.loss or bool(trained)
    learner.gradient_of(
        batch,
        strategy.loss if own else None,
        out=learner.gradient,
        objective=None if kind.objective is Strategy.objective else strategy.objective,
        along=[each.value for each in trained],
    )
    moved = learner.network.moved  # by this minibatch; a strategy may pass others
    strategy.adjust_gradient(learner.gradient, batch)
    learner.optimizer.step(learner.theta, learner.gradient)
    learner.network.settle(learner.theta, moved)
    for each in trained:
        each.step()
    learner.count_step(images)
    strategy.after_step(batch)
    learner.network.settle(learner.theta, moved)
