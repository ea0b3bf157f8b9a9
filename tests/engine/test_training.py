"""The engine's promises: bits that depend on nothing but the run, equal streams, right masks."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cl_bench import benchmarks
from cl_bench.engine.evaluation import Evaluator
from cl_bench.engine.learner import Learner
from cl_bench.engine.networks import MLP
from cl_bench.engine.settings import setting
from cl_bench.engine.stack import step
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch, Streams, TaskData
from cl_bench.engine.training import count_steps
from cl_bench.planning import finding
from tests.training import config, train

CPU = torch.device("cpu")


# Every strategy's bits are the conformance kit's matter; here it is the engine's products.
@pytest.mark.parametrize("strategy", ["naive", "flatness"])
def test_bits_depend_on_neither_company_nor_threads(strategy):
    alone = train([config(strategy, seed=1)])[0]
    seeds = [config(strategy, seed) for seed in (3, 1, 5, 2, 7, 8, 9, 11)]
    stacked = train(seeds)[1]
    pair, threaded = train(seeds[:2])[1], train(seeds[:2], threads=2)[1]
    alone_threaded = train([config(strategy, seed=1)], threads=2)[0]
    found = {r.weights_sha256 for r in (alone, stacked, pair, threaded, alone_threaded)}
    assert len(found) == 1


def test_the_seed_of_the_weights_is_of_the_initial_weights_alone():
    own, same, other = (config("ewc", 1, init_seed=seed) for seed in (None, 1, 2))
    alone = train([own])[0]
    again, stacked, _ = train([same, other, config("ewc", 2)])
    assert again.weights_sha256 == alone.weights_sha256
    assert stacked.weights_sha256 == train([other])[0].weights_sha256 != alone.weights_sha256
    assert stacked.stream_id == alone.stream_id

    runs = [other, own, config("ewc", 2)]
    learner = Learner(MLP(784, (8,), 10), runs, Streams(_of(own), [1, 1, 2], CPU).outputs, CPU)
    crossed, first, second = learner.initial
    assert torch.equal(crossed, second)
    assert not torch.equal(crossed, first)
    crossed, first, second = learner.uniform("anything", 5)
    assert torch.equal(crossed, first)
    assert not torch.equal(crossed, second)


def _of(run):
    return benchmarks.get(run.benchmark, download=False)


# Shapes whose products take other kernels with another number of threads or runs.
ODD = [({"hidden": (20,)}, 8), ({"hidden": (23, 12)}, 2), ({"hidden": ()}, 128)]
ODD += [({"name": "convnet", "hidden": (12,)}, 32)]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["naive", "flatness"])
@pytest.mark.parametrize(("network", "batch_size"), ODD)
def test_bits_of_odd_networks(strategy, network, batch_size):
    changes = {
        "network": network,
        "training": {"batch_size": batch_size, "iterations": 20},
        "benchmark": {"train_samples": 200, "test_samples": 50},
    }
    alone = train([config(strategy, 1, **changes)])[0]
    stack = [config(strategy, seed, **changes) for seed in (0, 1, 2)]
    found = {train(stack, threads=threads)[1].weights_sha256 for threads in (1, 2)}
    assert found == {alone.weights_sha256}


@pytest.mark.parametrize("strategy", ["flatness", "ldc", "ewc"])
def test_a_run_that_diverges_leaves_the_others_alone(strategy):
    good = config(strategy, settings={"form": "explicit", "strength": 1e-3})
    wild = config(strategy, settings={"form": "explicit", "strength": 1e12})
    together = train([wild, good])
    assert together[1].weights_sha256 == train([good])[0].weights_sha256
    assert not all(np.isfinite(w).all() for w in together[0].weights.values())


def test_a_loss_of_the_wrong_shape_is_refused(monkeypatch):
    class Mixed(Strategy):
        def loss(self, logits, batch):
            return super().loss(logits, batch).squeeze(1)

    monkeypatch.setattr(finding, "load", lambda name: Mixed)
    with pytest.raises(ValueError, match=r"a loss has the shape \[2\]"):
        train([config("naive", 0), config("naive", 1)])


def test_a_loss_may_use_settings_and_a_step_may_add_samples(monkeypatch):
    class Kept(Strategy):
        weight: float = setting(1.0, "factor on the loss", low=0)

        def begin_task(self, task):
            kept = next(task.sample(16, "kept"))
            self.images, self.labels = kept.images, kept.labels

        def begin_step(self, batch):
            images = torch.cat([batch.images, self.images], 1)
            return Batch(images, torch.cat([batch.labels, self.labels], 1), batch.mask)

        def loss(self, logits, batch):
            assert logits.shape[1] == 64 + 16
            return self.weight * super().loss(logits, batch)

    runs = [config("naive", seed) for seed in (0, 1, 2)]
    monkeypatch.setattr(finding, "load", lambda name: Kept)
    grid = [
        run.model_copy(
            update={"strategy": run.strategy.model_copy(update={"settings": {"weight": w}})}
        )
        for run, w in zip(runs, (1.0, 0.5, 2.0), strict=True)
    ]
    together = [record.weights_sha256 for record in train(grid)]
    assert together == [train([one])[0].weights_sha256 for one in grid]


@pytest.mark.parametrize("shape", ["diagonal", "low-rank", "low-rank+diagonal"])
def test_bits_of_each_shape_of_flatness(shape):
    settings = {"shape": shape, "rank": 3, "kept_rank": 4}
    alone = train([config("flatness", 1, settings=settings)])[0]
    stack = [config("flatness", seed, settings=settings) for seed in (0, 1, 2)]
    assert train(stack, threads=2)[1].weights_sha256 == alone.weights_sha256


def test_a_grid_in_one_stack_is_its_single_runs():
    grid = [
        config("ewc", 0, settings={"strength": strength}, optimizer={"learning_rate": rate})
        for strength in (1.0, 1000.0)
        for rate in (0.01, 0.1)
    ]
    together = [record.weights_sha256 for record in train(grid)]
    assert together == [train([one])[0].weights_sha256 for one in grid]
    assert len(set(together)) == 4


def test_all_strategies_have_the_same_stream_and_start(monkeypatch):
    seen: dict[str, list[str]] = {}

    class Watching(Strategy):
        name: str

        def __init__(self, learner, settings):
            super().__init__(learner, settings)
            self.hashes = seen.setdefault(self.name, [])
            self.note(learner.theta)

        def note(self, values):
            self.hashes.append(hashlib.sha256(values.numpy().tobytes()).hexdigest())

        def loss(self, logits, batch):
            self.note(batch.images)
            return super().loss(logits, batch)

    class Plain(Watching):
        name = "plain"

    class Drawing(Watching):
        name = "drawing"

        def begin_task(self, task):
            torch.rand(7)
            self.learner.uniform("anything", 3)
            list(task.sample(100, "anything"))

    for cls in (Plain, Drawing):
        monkeypatch.setattr(finding, "load", lambda name, cls=cls: cls)
        train([config("naive", 4)])
    assert seen["plain"] == seen["drawing"]
    assert len(seen["plain"]) == 1 + 2 * (1000 // 64)


def test_training_is_that_of_a_plain_torch_loop():
    run = config("naive", 3, optimizer={"name": "momentum", "learning_rate": 0.02})
    record = train([run])[0]
    bench = benchmarks.get(run.benchmark, download=False)
    network = MLP(784, (100, 100), 10)
    start = network.unstack(network.initial(3))
    model = nn.Sequential(
        nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    model.load_state_dict(
        dict(zip(model.state_dict(), start.values(), strict=True)),
    )
    streams = Streams(bench, [3], CPU)
    for task in range(2):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        for batch in TaskData(streams, task).minibatches(64, 1000 // 64):
            optimizer.zero_grad()
            functional.cross_entropy(model(batch.images[0]), batch.labels[0]).backward()
            optimizer.step()
    for ours, theirs in zip(record.weights.values(), model.parameters(), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-6)
    accuracies = record.accuracy.set_index(["after_task", "task"]).accuracy
    for task in range(2):
        examples = bench.examples(3, task, "test")
        logits = model(torch.from_numpy(examples.images) / 255)
        share = (logits.argmax(1).numpy() == examples.labels).mean()
        assert accuracies[1, task] == pytest.approx(share, abs=1e-9)


def test_every_image_is_seen_once_before_any_is_seen_twice():
    bench = benchmarks.get(config().benchmark, download=False)
    task = TaskData(Streams(bench, [0, 1], CPU), 0)
    counts = [0, 0]
    rows: list[list[int]] = [[], []]
    for batch in task.minibatches(250, 8):
        for run in range(2):
            counts[run] += batch.images.shape[1]
            rows[run] += [row.numpy().tobytes() for row in batch.images[run]]
    for run in range(2):
        first, second = rows[run][:1000], rows[run][1000:]
        assert sorted(first) == sorted(second)
        assert first != second
        wanted = bench.examples(run, 0, "train").images.astype(np.float32) / np.float32(255)
        assert len(set(first)) == len({row.tobytes() for row in wanted})


@pytest.mark.parametrize("count", [7, 250, 300, 400, 999])
def test_a_sample_has_the_images_asked_for(count):
    bench = benchmarks.get(config().benchmark, download=False)
    task = TaskData(Streams(bench, [0], CPU), 0)
    batches = list(task.sample(count, "some"))
    assert count - len(batches) < sum(b.labels.shape[1] for b in batches) <= count
    assert max(b.labels.shape[1] for b in batches) <= 250


def test_minibatches_can_start_anywhere():
    bench = benchmarks.get(config().benchmark, download=False)
    task = TaskData(Streams(bench, [0], CPU), 0)
    whole = [b.labels for b in task.minibatches(64, 40)]
    part = [b.labels for b in task.minibatches(64, 40, first=23)]
    assert torch.equal(torch.stack(whole[23:]), torch.stack(part))


def evaluated(record, table="accuracy"):
    return getattr(record, table)


def test_what_is_evaluated_and_when():
    run = config(
        "naive",
        benchmark={"tasks": 3},
        evaluation={"every": 7, "switch_every": 2, "switch_steps": 5},
    )
    record = train([run])[0]
    where = list(zip(record.accuracy.after_task, record.accuracy.task, strict=True))
    assert where == [
        *[(-1, task) for task in range(3)],
        *[(0, 0), (0, 1)],
        *[(1, 0), (1, 1), (1, 2)],
        *[(2, 0), (2, 1), (2, 2)],
    ]
    curve = record.curve
    assert curve[curve.training_task == 0].step.unique().tolist() == [7, 14]
    assert curve[curve.training_task == 1].step.unique().tolist() == [2, 4, 7, 14]
    assert curve[curve.training_task == 2].task.unique().tolist() == [0, 1, 2]
    assert curve.samples_seen.iloc[-1] == (2 * 15 + 14) * 64
    assert (record.accuracy.samples == 300).all()
    assert record.predictions["count"].sum() == 3 * 300
    right = record.predictions.query("label == predicted").groupby("task")["count"].sum() / 300
    last = record.accuracy.query("after_task == 2").set_index("task").accuracy
    np.testing.assert_allclose(right, last)


def split(scenario, **more):
    return config(
        "naive", benchmark={"name": "split-mnist", "tasks": 5, "scenario": scenario}, **more
    )


def test_task_incremental_trains_and_asks_its_own_head_alone():
    bench = benchmarks.get(split("task").benchmark, download=False)
    learner, streams = stack_of(split("task"), bench)
    strategy = Strategy(learner, {})
    head = learner.network.parameters[-2]
    before = head.view(learner.theta).clone()
    for batch in TaskData(streams, 1).minibatches(64, 3):
        step(strategy, batch)
    moved = (head.view(learner.theta) - before).abs().sum((0, 2)) > 0
    assert moved.tolist() == bench.output_mask[1].tolist()
    found = Evaluator(streams, "test").evaluate(strategy, 1, 4, confusion=True)
    assert found.confusion is not None
    outside = torch.from_numpy(~bench.output_mask[1])
    assert found.confusion[0][:, outside].sum() == 0
    assert found.accuracy_agnostic[0] <= found.accuracy[0]


def test_class_incremental_has_all_seen_outputs_compete():
    bench = benchmarks.get(split("class").benchmark, download=False)
    _, streams = stack_of(split("class"), bench)
    assert streams.outputs.competing(1, training=True).sum() == 4
    assert streams.outputs.competing(4, training=True) is None
    everything = Streams(bench, [0], CPU, class_outputs="all")
    assert everything.outputs.competing(0, training=True) is None


def stack_of(run, bench):
    network = MLP(784, (20,), bench.n_outputs)
    return Learner(network, [run], bench.scenario, CPU), Streams(bench, [run.seed], CPU)


def test_joint_trains_each_head_on_its_own_images():
    run = split("task")
    bench = benchmarks.get(run.benchmark, download=False)
    streams = Streams(bench, [0], CPU)
    batch = next(iter(TaskData(streams, 4, all_so_far=True).minibatches(200, 1)))
    assert batch.mask is not None
    own = batch.mask[0].gather(1, batch.labels[0].unsqueeze(1))
    assert own.all()
    assert (batch.mask[0].sum(1) == 2).all()
    assert len(batch.labels.unique()) == 10


def test_joint_starts_anew_and_sees_everything():
    run = config("joint", benchmark={"tasks": 3})
    bench = benchmarks.get(run.benchmark, download=False)
    steps = count_steps(run, bench, finding.load("joint"))
    assert steps == 15 + 2000 // 64 + 3000 // 64 + 3 * 12
    record = train([run])[0]
    assert record.cost["gradient_passes"] == steps
    quick: dict[str, Any] = {"benchmark": {"name": "split-mnist", "scenario": "class", "tasks": 5}}
    upper, naive = (train([config(name, **quick)])[0] for name in ("joint", "naive"))
    assert last_mean(upper) > last_mean(naive) + 0.2


def last_mean(record):
    return record.accuracy.query("after_task == 4").accuracy.mean()


def test_a_convnet_trains():
    changes = {
        "network": {"name": "convnet", "hidden": (16,)},
        "benchmark": {"name": "two-task-mnist", "train_samples": 320, "test_samples": 100},
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "settings": {"fisher": "empirical", "fisher_samples": 16, "exploration_steps": 2},
    }
    records = train([config("ewc", seed, **changes) for seed in (0, 1)])
    assert records[0].weights_sha256 != records[1].weights_sha256
    for record in records:
        first_task = record.accuracy.query("after_task == 0 and task == 0").accuracy
        assert first_task.item() > 0.8


def test_progress_reaches_the_total():
    told = []
    run = config("ewc")
    train([run], on_progress=lambda done, total: told.append((done, total)))
    total = 2 * (15 + 12)
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
