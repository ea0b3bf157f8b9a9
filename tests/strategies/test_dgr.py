"""DGR and its generator: the right gradients, a generator that learns, and that replay helps."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from cl_bench.config import Scenario
from cl_bench.engine.networks import MLP
from cl_bench.engine.stack import assemble, step
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.generator import Generator
from cl_bench.planning import finding
from tests.training import config, run_task, stack, train

SPLIT = {"name": "split-mnist", "tasks": 5, "train_samples": 320}


def by_hand(scenario, tasks, **settings):
    """Return DGR on split MNIST after so many tasks, about to step, and its next task."""
    wanted = {**SPLIT, "scenario": scenario}
    small = {"hidden": 11, "latent": 3, **settings}
    runs = [config("dgr", seed, settings=small, benchmark=wanted) for seed in (0, 1)]
    network = MLP(784, (9, 8), 2 if scenario is Scenario.DOMAIN else 10)
    made = assemble(runs, finding.load("dgr"), network=network)
    strategy, streams, learner = made.strategy, made.streams, made.learner
    with torch.no_grad():
        for index in range(tasks):
            run_task(strategy, streams, index)
        learner.task, learner.step_number = tasks, 0
        task = TaskData(streams, tasks)
        strategy.begin_task(task)
    return strategy, task


def dense(value, theta, sizes):
    """Return the output of a fully connected network, its weights in a row: W, b, W, b, …"""
    start = 0
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weight = theta[start : start + fan_in * fan_out].view(fan_out, fan_in)
        start += fan_in * fan_out
        value = functional.linear(value, weight, theta[start : start + fan_out])
        start += fan_out
        value = value.relu() if i < len(sizes) - 2 else value
    assert start == len(theta)
    return value


def evidence_bounds(theta, images, noise, pixels, hidden, latent):
    """Return each image's negative evidence bound in nats, in plain torch (Kingma & Welling)."""
    split = sum((a + 1) * b for a, b in [(pixels, hidden), (hidden, hidden), (hidden, 2 * latent)])
    code = dense(images, theta[:split], (pixels, hidden, hidden, 2 * latent))
    mean, log_variance = code[:, :latent], code[:, latent:]
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    divergence = torch.distributions.kl_divergence(posterior, prior).sum(1)
    drawn = mean + noise * posterior.scale
    mean_image = dense(drawn, theta[split:], (latent, hidden, hidden, pixels)).sigmoid()
    entropy = functional.binary_cross_entropy(mean_image, images, reduction="none").sum(1)
    return entropy + divergence


def a_generator(pixels=20, hidden=7, latent=4, rate=0.01):
    strategy, _ = stack("naive")
    rates = torch.full((2, 1), rate)
    return Generator(strategy.learner, pixels, hidden, latent, rates)


def test_the_generators_gradient_is_that_of_the_evidence_bound():
    generator = a_generator()
    draw = torch.Generator().manual_seed(0)
    generator.theta *= 2  # away from where all codes are alike
    images = torch.rand(2, 6, 20, generator=draw)
    noise = torch.randn(2, 6, 4, generator=draw)
    weights = torch.rand(6, generator=draw)
    found = generator.gradient(images, noise, weights)
    for run in (0, 1):
        leaf = generator.theta[run].clone().requires_grad_()
        bounds = evidence_bounds(leaf, images[run], noise[run], 20, 7, 4)
        (bounds * weights).sum().backward()
        torch.testing.assert_close(found[run], leaf.grad, rtol=1e-3, atol=1e-4)


def test_the_generator_trains_as_torchs_adam_would():
    generator = a_generator()
    theta = generator.theta.clone()
    images, noise, weights = torch.rand(2, 5, 20), torch.randn(2, 5, 4), torch.full((5,), 0.2)
    plain = theta[1].clone().requires_grad_()
    optimizer = torch.optim.Adam([plain], lr=0.01)
    for _ in range(3):
        generator.train(images, noise, weights)
        optimizer.zero_grad()
        bounds = evidence_bounds(plain, images[1], noise[1], 20, 7, 4)
        (bounds * weights).sum().backward()
        optimizer.step()
    torch.testing.assert_close(generator.theta[1], plain.detach(), rtol=1e-3, atol=1e-4)


def test_the_generator_stays_finite_at_any_weights():
    generator = a_generator(rate=0.1)
    generator.theta *= 1000
    noise = torch.randn(2, 5, 4)
    for _ in range(5):
        generator.train(torch.rand(2, 5, 20), noise, torch.ones(5))
    assert generator.theta.isfinite().all()


def test_generators_start_apart_within_the_usual_bounds():
    generator = a_generator(pixels=100)
    first = generator.theta[:, : 100 * 7]
    assert first.abs().max() <= 0.1
    assert first.std() == pytest.approx(0.1 / 3**0.5, rel=0.1)
    assert not torch.equal(*generator.theta)


@torch.no_grad()
def test_generated_images_come_to_look_like_the_tasks():
    strategy, task = by_hand(Scenario.CLASS, 0, hidden=64, latent=8)
    images = []
    for batch in task.minibatches(64, 120):
        step(strategy, batch)
        images.append(batch.images)
    generator = strategy.generator
    made = generator.images(torch.randn(2, 500, 8), generator.decoder)
    assert made.min() >= 0
    assert made.max() <= 1
    real = torch.cat(images, 1)
    for run in (0, 1):
        means = torch.stack([made[run].mean(0), real[run].mean(0)])
        assert torch.corrcoef(means)[0, 1] > 0.95


@pytest.mark.parametrize("scenario", Scenario)
@pytest.mark.parametrize("distill", [False, True])
def test_generated_images_have_the_past_tasks_share_of_the_loss(scenario, distill):
    strategy, task = by_hand(scenario, 2, distill=distill, temperature=3.0)
    learner, fresh = strategy.learner, next(iter(task.minibatches(32, 1)))
    seen, before = [], strategy.theta.clone()
    after = strategy.after_step

    def after_step(batch):
        seen.append(batch.images)
        after(batch)

    strategy.after_step = after_step
    with torch.no_grad():
        step(strategy, fresh)
    (images,) = seen
    assert torch.equal(images[:, :32], fresh.images)
    made = images[:, 32:]
    assert made.shape == fresh.images.shape
    for run in (0, 1):
        old = dense(made[run], strategy.old[run], learner.network.sizes)
        leaf = before[run].clone().requires_grad_()
        sizes = learner.network.sizes
        new = dense(made[run], leaf, sizes)
        plain = dense(fresh.images[run], leaf, sizes)
        labels = fresh.labels[run]
        if scenario is Scenario.TASK:
            current = functional.cross_entropy(plain[:, 4:6], labels - 4)
            pairs = [(new[:, a : a + 2], old[:, a : a + 2]) for a in (0, 2)]
        elif scenario is Scenario.DOMAIN:
            current = functional.cross_entropy(plain, labels)
            pairs = [(new, old)]
        else:
            current = functional.cross_entropy(plain[:, :6], labels)
            nowhere = torch.full((32, 2), float("-inf"))
            pairs = [(new[:, :6], torch.cat([old[:, :4], nowhere], 1))]
        if distill:
            parts = [9 * functional.cross_entropy(n / 3, (o / 3).softmax(-1)) for n, o in pairs]
        else:
            parts = [functional.cross_entropy(n, o.argmax(-1)) for n, o in pairs]
        (current / 3 + 2 / 3 * sum(parts) / len(parts)).backward()
        expected = before[run] - 0.1 * leaf.grad
        torch.testing.assert_close(strategy.theta[run], expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_images_come_from_the_generator_of_the_last_tasks_end():
    strategy, task = by_hand(Scenario.CLASS, 1)
    learner, size = strategy.learner, strategy.generator.theta.shape[1]
    end = strategy.generator.decoder.clone()
    for batch in task.minibatches(32, 4):
        codes = learner.normal("codes", 32, 3)
        made = strategy.begin_step(batch).images[:, 32:]
        assert torch.equal(made, strategy.generator.images(codes, end))
        assert not torch.equal(made[0], made[1])
        step(strategy, batch)
    assert not torch.equal(strategy.generator.decoder, end)
    share, decoder = (n / learner.network.size for n in (size, end.shape[1]))
    alone = 1 + share
    both = 2 * (1 + share) + (1 + decoder) / 3
    extra = (1 + decoder) / 3  # of the calls of begin_step here
    expected = (6 * alone + 4 * (both + extra)) * 32 / 64
    assert learner.gradient_passes == pytest.approx(expected)


def test_dgr_tells_classes_apart_that_are_no_longer_seen():
    benchmark = {"name": "split-mnist", "tasks": 2, "train_samples": 8000, "scenario": "class"}
    found = {}
    for name in ("naive", "dgr"):
        (record,) = train([config(name, benchmark=benchmark, training={"iterations": 125})])
        last = record.accuracy.query("after_task == 1").set_index("task").accuracy
        found[name] = last[0]
    assert found["naive"] < 0.1
    assert found["dgr"] > found["naive"] + 0.15
