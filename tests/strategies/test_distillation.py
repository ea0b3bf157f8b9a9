"""LwF, iCaRL and GDumb: what they minimise, keep and predict by, and that it helps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from cl_bench import benchmarks
from cl_bench.config import BenchmarkConfig, Protocol, Scenario
from cl_bench.engine import task_steps
from cl_bench.engine.networks import MLP
from cl_bench.engine.stack import assemble, step
from cl_bench.engine.tasks import TaskData
from cl_bench.errors import UserError
from cl_bench.methods.distillation import by_task
from cl_bench.planning import finding
from cl_bench.planning.resolving import runs_of
from tests.training import config, run_task, train

SPLIT: dict[str, Any] = {"name": "split-mnist", "tasks": 5, "train_samples": 320}


def by_hand(name, scenario, tasks, **settings):
    """Return a strategy on split MNIST after so many tasks, about to step, and its next task."""
    wanted = {**SPLIT, "scenario": scenario}
    runs = [config(name, seed, settings=settings, benchmark=wanted) for seed in (0, 1)]
    network = MLP(784, (9, 8), 10)
    made = assemble(runs, finding.load(name), network=network)
    strategy, streams, learner = made.strategy, made.streams, made.learner
    with torch.no_grad():
        for index in range(tasks):
            run_task(strategy, streams, index)
        learner.task, learner.step_number = tasks, 0
        task = TaskData(streams, tasks)
        strategy.begin_task(task)
    return strategy, task


def layers(strategy, theta, images):
    """Return one run's features and logits at weights [D], in plain torch."""
    weights = strategy.learner.network.unstack(theta)
    value = images
    for layer in range(3):
        features = value
        name = f"layers.{layer}"
        value = functional.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"])
        value = value.relu() if layer < 2 else value
    return features, value


def step_agrees(strategy, batch, loss_of_run):
    """Compare a training step with plain SGD on a loss of (run, leaf weights)."""
    before = strategy.theta.clone()
    with torch.no_grad():
        step(strategy, batch)
    for run in (0, 1):
        leaf = before[run].clone().requires_grad_()
        loss_of_run(run, leaf).backward()
        expected = before[run] - 0.1 * leaf.grad
        torch.testing.assert_close(strategy.theta[run], expected, rtol=1e-4, atol=1e-6)


def accuracy(strategy, scenario, **changes):
    """Return the mean accuracy over all tasks after the last of a real training."""
    benchmark = {**SPLIT, "scenario": scenario, "train_samples": 1500}
    (record,) = train([config(strategy, benchmark=benchmark, **changes)])
    return record.accuracy.query("after_task == 4").accuracy.mean()


def softened(logits, temperature):
    return functional.softmax(logits / temperature, -1)


def distance(new, old, temperature):
    return functional.cross_entropy(new / temperature, softened(old, temperature))


@pytest.mark.parametrize("scenario", Scenario)
def test_lwf_minimises_the_loss_with_old_outputs_on_new_images(scenario):
    strategy, task = by_hand("lwf", scenario, tasks=2, strength=0.7, temperature=3.0)
    batch = next(iter(task.minibatches(32, 1)))

    def loss(run, theta):
        images, labels = batch.images[run], batch.labels[run]
        new = layers(strategy, theta, images)[1]
        old = layers(strategy, strategy.old[run], images)[1]
        if scenario is Scenario.TASK:
            fresh = functional.cross_entropy(new[:, 4:6], labels - 4)
            kept = sum(distance(new[:, a : a + 2], old[:, a : a + 2], 3.0) for a in (0, 2))
        elif scenario is Scenario.DOMAIN:
            fresh = functional.cross_entropy(new, labels)
            kept = 2 * distance(new, old, 3.0)
        else:  # a new class has no share in the old probabilities
            fresh = functional.cross_entropy(new[:, :6], labels)
            wanted = functional.pad(softened(old[:, :4], 3.0), (0, 2))
            kept = functional.cross_entropy(new[:, :6] / 3.0, wanted)
        return fresh + 0.7 * kept

    step_agrees(strategy, batch, loss)


def test_lwf_holds_the_outputs_of_the_last_tasks_end():
    strategy, task = by_hand("lwf", Scenario.DOMAIN, tasks=1)
    end = strategy.theta.clone()
    for batch in task.minibatches(32, 3):
        step(strategy, batch)
    assert torch.equal(strategy.old, end)
    assert strategy.learner.gradient_passes == pytest.approx((6 + 3 * (1 + 1 / 3)) * 32 / 64)


def test_heads_of_different_sizes_are_filled_up_with_what_does_not_compete():
    logits = torch.arange(5.0).expand(1, 1, 5)
    heads = torch.tensor([[False, True, False, False, True], [True, True, True, False, False]])
    chosen = by_task(logits, heads)
    assert chosen.shape == (1, 1, 2, 3)
    expected = torch.tensor([[*functional.softmax(torch.tensor([1.0, 4.0]), 0).tolist(), 0.0]])
    torch.testing.assert_close(functional.softmax(chosen[0, :, 0], -1), expected)
    assert chosen[0, 0, 1].tolist() == [0, 1, 2]


def test_lwf_forgets_less():
    naive, kept = (accuracy(name, Scenario.DOMAIN) for name in ("naive", "lwf"))
    assert kept > naive + 0.05


def exemplars_by_hand(features, labels, output, places):
    """Return the places of exemplars of a class, chosen one by one (algorithm 4)."""
    members = (labels == output).nonzero().flatten().tolist()
    mean = features[members].double().mean(0)
    chosen: list[int] = []
    for number in range(1, places + 1):
        total = features[chosen].double().sum(0)
        left = [m for m in members if m not in chosen]
        gaps = [(mean - (total + features[m].double()) / number).norm().item() for m in left]
        chosen.append(left[gaps.index(min(gaps))])
    return chosen


def test_icarl_chooses_exemplars_whose_mean_is_nearest_the_classs():
    strategy, task = by_hand("icarl", Scenario.CLASS, tasks=0, buffer_size=24, candidates=200)
    (batch,) = list(task.sample(200, "candidates"))
    with torch.no_grad():
        for each in task.minibatches(32, 5):
            step(strategy, each)
        strategy.end_task(task)
    for run in (0, 1):
        features = layers(strategy, strategy.theta[run], batch.images[run])[0]
        features = functional.normalize(features, dim=-1)
        for output in (0, 1):
            found = exemplars_by_hand(features, batch.labels[run], output, 12)
            expected = (batch.images[run, found] * 255).round().to(torch.uint8)
            assert torch.equal(strategy.exemplars[run, output], expected)


def test_icarl_shares_a_fixed_memory_among_the_classes_seen():
    strategy, task = by_hand("icarl", Scenario.CLASS, tasks=1, buffer_size=25)
    before = strategy.exemplars
    assert before.shape == (2, 2, 12, 784)
    with torch.no_grad():
        strategy.end_task(task)
    assert strategy.classes == [0, 1, 2, 3]
    assert strategy.exemplars.shape == (2, 4, 6, 784)
    assert torch.equal(strategy.exemplars[:, :2], before[:, :, :6]), "the last chosen go first"


def test_icarl_chooses_some_twice_where_a_class_has_fewer_candidates_than_places():
    strategy, task = by_hand("icarl", Scenario.CLASS, tasks=0, buffer_size=60, candidates=10)
    (batch,) = list(task.sample(10, "candidates"))
    with torch.no_grad():
        strategy.end_task(task)
    images = (batch.images * 255).round().to(torch.uint8)
    for run in (0, 1):
        for output in (0, 1):
            of_class = {tuple(i.tolist()) for i in images[run, batch.labels[run] == output]}
            kept = {tuple(i.tolist()) for i in strategy.exemplars[run, output]}
            assert kept == of_class


def test_icarl_has_no_exemplar_of_a_class_that_a_run_never_saw(monkeypatch):
    monkeypatch.setitem(SPLIT, "train_samples", 2)
    strategy, task = by_hand("icarl", Scenario.CLASS, tasks=4, buffer_size=24)
    fresh = next(iter(task.minibatches(32, 1)))
    batch = strategy.begin_step(fresh)
    strategy.end_task(task)
    missing = 0
    for run in (0, 1):
        of_class: dict[int, set[bytes]] = {output: set() for output in range(10)}
        for index in range(5):
            for image, label in examples(strategy, run, index):
                of_class[label].add(image)
        pairs = zip(batch.images[run, 32:], batch.labels[run, 32:].tolist(), strict=True)
        assert all(pixels(image * 255) in of_class[label] for image, label in pairs)
        logits = strategy.predict(fresh.images, None)[run]
        for place, output in enumerate(strategy.classes):
            kept = {pixels(image) for image in strategy.exemplars[run, place]}
            if of_class[output]:
                assert kept <= of_class[output]
            else:
                missing += 1
                assert strategy.exemplars[run, place].max() == 0
                assert (logits[:, output] == -4).all(), "what was never seen is never predicted"
    assert missing


def examples(strategy, run, index):
    """Return the images and labels of a run's task, as bytes and numbers."""
    wanted = BenchmarkConfig(**SPLIT, scenario=Scenario.CLASS)
    found = benchmarks.get(wanted, download=False).examples(run, index, "train")
    return zip(map(bytes, found.images), found.labels.tolist(), strict=True)


def pixels(image):
    return bytes(image.round().to(torch.uint8).tolist())


def test_icarl_refuses_a_memory_without_a_place_for_every_class():
    benchmark = benchmarks.get(BenchmarkConfig(**SPLIT, scenario=Scenario.CLASS), download=False)
    for size in (9, 10):
        protocol = Protocol(strategies={"icarl": {"buffer_size": size}}, seeds=1)
        if size == 10:
            assert runs_of(protocol, benchmark)
            continue
        with pytest.raises(UserError, match=r"buffer_size=9: .* 10 classes; give at least 10"):
            runs_of(protocol, benchmark)


@pytest.mark.parametrize("scenario", [Scenario.CLASS, Scenario.TASK])
def test_icarl_trains_new_outputs_on_labels_and_old_ones_on_what_they_were(scenario):
    strategy, task = by_hand("icarl", scenario, tasks=2, buffer_size=24)
    fresh = next(iter(task.minibatches(32, 1)))
    with torch.no_grad():
        batch = strategy.begin_step(fresh)
    assert batch.labels.shape == (2, 56)
    assert batch.labels[:, :32].min() >= 4
    assert sorted(batch.labels[0, 32:].tolist()) == [c for c in range(4) for _ in range(6)]

    def loss(run, theta):
        images, labels = batch.images[run], batch.labels[run]
        new = layers(strategy, theta, images)[1].sigmoid()
        old = layers(strategy, strategy.old[run], images)[1].sigmoid()
        total = torch.zeros(())
        for i, label in enumerate(labels.tolist()):
            for output in range(6):
                wanted = old[i, output] if output < 4 else float(label == output)
                if scenario is Scenario.TASK and output >= 4 and label < 4:
                    continue
                said = new[i, output]
                total = total - wanted * said.log() - (1 - wanted) * (1 - said).log()
        return total / len(labels)

    step_agrees(strategy, fresh, loss)


def test_icarl_predicts_the_class_of_the_nearest_mean():
    strategy, task = by_hand("icarl", Scenario.CLASS, tasks=1, buffer_size=24)
    images = next(iter(task.minibatches(32, 1))).images
    with torch.no_grad():
        strategy.end_task(task)
        logits = strategy.predict(images, None)
    assert (logits[:, :, 4:] == -4).all()
    for run in (0, 1):
        seen = functional.normalize(layers(strategy, strategy.theta[run], images[run])[0], dim=-1)
        for output in range(4):
            kept = strategy.exemplars[run, output] / 255
            kept = functional.normalize(layers(strategy, strategy.theta[run], kept)[0], dim=-1)
            mean = functional.normalize(kept.mean(0), dim=0)
            expected = -(seen - mean).square().sum(-1)
            torch.testing.assert_close(logits[run, :, output], expected, atol=1e-5, rtol=1e-4)
    strategy.begin_task(task)  # new classes have no exemplars yet: the outputs say
    plain = strategy.learner.network.forward(strategy.theta, images)
    assert torch.equal(strategy.predict(images, None), plain)


def test_icarl_tells_all_classes_apart():
    settings = {"buffer_size": 200}
    assert accuracy("icarl", Scenario.CLASS, settings=settings) > 0.55
    assert accuracy("naive", Scenario.CLASS) < 0.3


def test_gdumb_keeps_as_many_of_each_class_and_trains_on_nothing_else():
    strategy, task = by_hand("gdumb", Scenario.CLASS, tasks=2, buffer_size=30)
    buffer = strategy.buffer
    for run in (0, 1):
        assert buffer.labels[run].bincount().tolist() == [5] * 6
        assert (buffer.tasks[run] == buffer.labels[run] // 2).all()
    batch = strategy.begin_step(next(iter(task.minibatches(32, 1))))
    for run in (0, 1):
        kept = {tuple(i.tolist()) for i in buffer.images[run]}
        used = (batch.images[run] * 255).round().to(torch.uint8)
        assert {tuple(i.tolist()) for i in used} <= kept


def test_gdumb_offers_all_of_the_stream_to_the_buffer():
    strategy, task = by_hand("gdumb", Scenario.DOMAIN, tasks=0, buffer_size=320)
    (stream,) = list(task.sample(320, "memory", size=5000))
    for run in (0, 1):
        kept = sorted(i.tolist() for i in strategy.buffer.images[run])
        given = (stream.images[run] * 255).round().to(torch.uint8)
        assert kept == sorted(i.tolist() for i in given)


def test_gdumb_learns_anew_for_so_many_passes():
    settings = {"buffer_size": 100, "passes": 3}
    run = config("gdumb", settings=settings, benchmark={"tasks": 2, "train_samples": 300})
    (record,) = train([run])
    steps = math.ceil(3 * 100 / 64)
    assert record.cost["samples_seen"] == 2 * steps * 64
    # The last weights are few steps away from the initial ones: nothing was learnt before.
    network = MLP(784, (100, 100), 10)
    start = network.unstack(network.initial(0))["layers.0.weight"]
    longest = abs(record.weights["layers.0.weight"] - start.numpy()).max()
    assert 0 < longest < 0.1 * steps * 0.1


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"buffer_size": 500, "passes": 128}, [200, 400]),  # 100 and 200 images are kept of 500
        ({"buffer_size": 150, "passes": 2}, [4, 5]),
        ({"buffer_size": 150, "passes": 2, "replay_batch_size": 10}, [20, 30]),
    ],
)
def test_gdumb_s_passes_are_over_what_its_buffer_holds(settings, steps):
    run = config(
        "gdumb",
        settings=settings,
        benchmark={"tasks": 2, "train_samples": 100},
        training={"epochs": 1, "batch_size": 64},
    )
    benchmark = benchmarks.get(run.benchmark, download=False)
    assert [task_steps(run, benchmark, finding.load("gdumb"), task) for task in (0, 1)] == steps


def test_gdumb_tells_all_classes_apart():
    settings = {"buffer_size": 200, "passes": 40}
    assert accuracy("gdumb", Scenario.CLASS, settings=settings) > 0.7
