"""What an epoch is: which images its minibatches hold, and what is counted of them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from cl_bench import benchmarks
from cl_bench.benchmarks.base import Benchmark, Examples
from cl_bench.config import TrainingConfig
from cl_bench.engine.checkpoint import Checkpoint
from cl_bench.engine.stack import assemble
from cl_bench.engine.tasks import Pace, Streams, TaskData
from cl_bench.engine.training import count_steps
from cl_bench.planning import finding
from tests.training import config, train

CPU = torch.device("cpu")
HUNDRED = {"train_samples": 100, "test_samples": 50}


def hundred(strategy="naive", last_batch="short", **training):
    length = {"batch_size": 64, "last_batch": last_batch, **training}
    return config(strategy, benchmark=HUNDRED, training=length)


@pytest.mark.parametrize(
    ("training", "sizes"),
    [
        ({}, [64, 36]),
        ({"epochs": 2}, [64, 36, 64, 36]),
        ({"batch_size": 50}, [50, 50]),
        ({"batch_size": 128, "epochs": 2}, [100, 100]),
        ({"iterations": 3}, [64, 36, 64]),
        ({"last_batch": "carry"}, [64]),
        ({"last_batch": "carry", "epochs": 2}, [64, 64, 64]),
    ],
)
def test_the_images_of_an_epoch_and_what_is_counted(training, sizes):
    run = hundred(**training)
    bench = benchmarks.get(run.benchmark, download=False)
    assert count_steps(run, bench, finding.load("naive")) == 2 * len(sizes)
    task = TaskData(Streams(bench, [0], CPU), 0)
    short = run.training.last_batch == "short"
    batches = list(task.minibatches(run.training.batch_size, len(sizes), short=short))
    assert [batch.labels.shape[1] for batch in batches] == sizes
    rows = [row.numpy().tobytes() for batch in batches for row in batch.images[0]]
    whole = Counter(rows[:100])
    for epoch in range(0, len(rows), 100):
        part = Counter(rows[epoch : epoch + 100])
        assert part == whole if part.total() == 100 else part <= whole
    record = train([run])[0]
    assert record.cost["samples_seen"] == 2 * sum(sizes)
    passes = 2 * sum(sizes) / run.training.batch_size
    assert record.cost["gradient_passes"] == pytest.approx(passes, abs=1e-3)


def test_the_default_says_nothing_in_an_address_and_half_an_epoch_ends_in_no_short_minibatch():
    plain, said, short = (config(training=t) for t in ({}, {"last_batch": "carry"}, SHORT))
    assert plain.run_id == said.run_id != short.run_id
    with pytest.raises(ValidationError, match=r"training\.epochs = 1\.5: .* a whole number"):
        TrainingConfig(epochs=1.5, last_batch="short")


SHORT = {"last_batch": "short"}


@pytest.mark.parametrize("first", range(7))
def test_short_minibatches_can_start_anywhere(first):
    bench = benchmarks.get(hundred().benchmark, download=False)
    task = TaskData(Streams(bench, [0], CPU), 0)
    whole = [batch.labels for batch in task.minibatches(30, 9, short=True)]
    part = [batch.labels for batch in task.minibatches(30, 9, first=first, short=True)]
    assert all(torch.equal(a, b) for a, b in zip(whole[first:], part, strict=True))


@pytest.mark.parametrize("epoch", [1, 63, 64, 65, 100])
@pytest.mark.parametrize("size", [1, 32, 64])
def test_a_pace_counts_what_it_cuts(epoch, size):
    pace = Pace(size, epoch, short=True)
    assert pace.samples(pace.steps(3)) == 3 * epoch
    starts = [pace.samples(steps) for steps in range(pace.steps(3) + 1)]
    assert all(0 < b - a <= size for a, b in pairwise(starts))
    assert {epoch, 2 * epoch} <= set(starts)


class Stop(Checkpoint):
    """Stops a training once, after so many steps."""

    stop = 2

    def due(self, steps):
        return steps == self.stop

    def write(self, *content):
        super().write(*content)
        self.stop = -1
        raise KeyboardInterrupt


def same_stacked_and_resumed(strategy, folder, benchmark, **training):
    runs = [
        config(strategy, seed, benchmark=benchmark, training={**training, **SHORT})
        for seed in (0, 1)
    ]
    stacked = train(runs)
    stop = Stop(folder / "checkpoint", seconds=None)
    with pytest.raises(KeyboardInterrupt):
        train(runs[1:], checkpoint=stop)
    alone = train(runs[1:], checkpoint=stop)[0]
    assert alone.weights_sha256 == stacked[1].weights_sha256
    assert alone.accuracy.equals(stacked[1].accuracy)
    for name in ("samples_seen", "gradient_passes"):
        assert alone.cost[name] == stacked[1].cost[name]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", sorted(finding.strategy_names()))
def test_every_strategy_trains_short_minibatches_stacked_and_resumed(strategy, tmp_path):
    scenarios = finding.load(strategy).scenarios
    scenario = "class" if "class" in scenarios else min(scenarios)
    split = {"name": "split-mnist", "tasks": 5, "scenario": scenario, **HUNDRED}
    same_stacked_and_resumed(strategy, tmp_path, split, batch_size=64)


class Uneven(Benchmark):
    """A benchmark of which each seed has another number of images, as shuffled classes do."""

    def __init__(self, inner):
        self.inner, self.output_mask, self.scenario = inner, inner.output_mask, inner.scenario
        self.n_tasks, self.n_outputs = inner.n_tasks, inner.n_outputs
        self.input_shape = inner.input_shape

    def examples(self, seed, task, split):
        found, count = self.inner.examples(seed, task, split), 100 - 7 * seed
        return Examples(found.images[:count], found.labels[:count])

    def epoch_size(self, task):
        return 95

    def stream_id(self, seed):
        return ""

    def describe(self, seed):
        return []


@pytest.mark.parametrize("strategy", ["naive", "er", "stable-sgd"])
def test_seeds_with_unequal_numbers_of_images_take_as_many_of_them(strategy):
    runs = [config(strategy, seed, benchmark=HUNDRED) for seed in (0, 1)]
    benchmark = Uneven(benchmarks.get(runs[0].benchmark, download=False))

    def trained(runs):
        stack = assemble(runs, finding.load(strategy), benchmark=benchmark)
        sizes = []
        with torch.no_grad():
            for index in (0, 1):
                task = stack.task(index)
                stack.learner.task, stack.learner.step_number = index, 0
                stack.strategy.begin_task(task)
                for batch in task.minibatches(64, 4, short=True):
                    sizes.append(batch.labels.shape[1])
                    stack.step(batch)
                stack.strategy.end_task(task)
        assert sizes == 2 * [64, 31, 64, 31]
        assert stack.learner.samples_seen == 4 * 95
        return stack.learner.theta

    assert torch.equal(trained(runs)[1], trained(runs[1:])[0])
