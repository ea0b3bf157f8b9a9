"""RWalk and Kronecker-factored Laplace against plain computations, sample by sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from cl_bench import benchmarks
from cl_bench.config import BenchmarkConfig, Protocol, TrainingConfig
from cl_bench.engine.stack import step
from cl_bench.engine.tasks import TaskData
from cl_bench.errors import UserError
from cl_bench.methods.kronecker import Kronecker
from cl_bench.methods.precision import Several
from cl_bench.planning.resolving import runs_of
from tests.training import config, run_task, stack, train

RUN = 1


def log_p(strategy, theta, image):
    """Return the log-probabilities of one image of run 1, [C]."""
    logits = strategy.learner.network.forward(theta[None], image[None, None])[0, 0]
    return functional.log_softmax(logits, 0)


def gradients(strategy, theta, image, outputs):
    """Return d log p(y | image) / d theta for some outputs, [K, D]."""
    found = []
    for y in outputs:
        leaf = theta.clone().requires_grad_()
        log_p(strategy, leaf, image)[y].backward()
        found.append(leaf.grad)
    return torch.stack(found)


# --- RWalk ----------------------------------------------------------------------------------


def plain_rwalk_task(strategy, task, steps, fisher):
    """Train a task; return the Fisher and the score that the paper's formulas give for run 1."""
    strategy.learner.task, strategy.learner.step_number = task.index, 0
    strategy.begin_task(task)
    score = 0.0
    for number, batch in enumerate(task.minibatches(32, steps)):
        before = strategy.theta[RUN].clone()
        if number % 3 == 0:
            start, gain = before, 0.0
            pairs = zip(batch.images[RUN], batch.labels[RUN], strict=True)
            single = [gradients(strategy, before, x, [y])[0].square() for x, y in pairs]
            new = torch.stack(single).mean(0)
            fisher = new if fisher is None else 0.8 * new + 0.2 * fisher
        leaf = before.clone().requires_grad_()
        logits = strategy.learner.network.forward(leaf[None], batch.images[RUN:])[0]
        functional.cross_entropy(logits, batch.labels[RUN]).backward()
        step(strategy, batch)
        gain = gain - leaf.grad * (strategy.theta[RUN] - before)
        if number % 3 == 2:
            distance = 0.5 * fisher * (strategy.theta[RUN] - start) ** 2
            score = score + functional.relu(gain) / (distance + 1e-3)
    strategy.end_task(task)
    return fisher, score


@pytest.mark.parametrize(("form", "strength"), [("implicit", 2.0), ("explicit", 15.0)])
def test_rwalk_is_the_papers_formulas(form, strength):
    # At 15 the explicit penalty overshoots: part of the way raises the loss and counts nothing.
    settings: dict[str, Any] = {"exploration_steps": 0, "interval": 3, "fisher_rate": 0.8}
    strategy, streams = stack("rwalk", form=form, strength=strength, **settings)
    fisher = score = None
    for index in range(3):
        fisher, new = plain_rwalk_task(strategy, TaskData(streams, index), 7, fisher)
        score = new if score is None else (score + new) / 2
        expected = fisher / fisher.max() + score / score.max()
        torch.testing.assert_close(strategy.precision.omega[RUN], expected, rtol=1e-3, atol=1e-5)
        assert torch.equal(strategy.precision.anchor, strategy.theta)


def test_an_interval_that_no_task_is_long_enough_for_is_refused():
    benchmark = benchmarks.get(BenchmarkConfig(tasks=2), download=False)

    def planned(interval):
        settings = {"interval": interval, "exploration_steps": 10}
        return runs_of(
            Protocol(training=TrainingConfig(iterations=40), strategies={"rwalk": settings}),
            benchmark,
        )

    with pytest.raises(UserError, match=r"rwalk\.interval=51: a task takes only 50 steps"):
        planned(51)
    assert planned(50)


# --- Kronecker-factored Laplace -------------------------------------------------------------


def fisher_times(strategy, images, vector):
    """Return the exact Fisher information of run 1 times a vector [D], from single gradients."""
    total = torch.zeros_like(vector)
    theta = strategy.theta[RUN]
    for image in images:
        g = gradients(strategy, theta, image, range(10))
        p = log_p(strategy, theta, image).exp()
        total += g.T @ (p * (g @ vector))
    return total / len(images)


def drawn(strategy, streams, task, count):
    """Return the images of run 1 that the Fisher of a task is taken over."""
    return next(iter(TaskData(streams, task).sample(count, "fisher"))).images[RUN]


def test_one_layer_and_one_sample_give_the_exact_fisher():
    strategy, streams = stack("kfac-laplace", hidden=(), fisher_samples=1, exploration_steps=0)
    run_task(strategy, streams, 0)
    vector = torch.randn_like(strategy.theta)
    found = strategy.precision.gradient(strategy.theta + vector)[RUN]
    expected = fisher_times(strategy, drawn(strategy, streams, 0, 1), vector[RUN])
    assert expected.norm() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def plain_factors(strategy, images, layer):
    """Return B and A of a layer of run 1, by autograd, sample by sample."""
    network = strategy.learner.network
    named = network.unstack(strategy.theta[RUN])
    layers = len(named) // 2
    b = a = torch.zeros(())
    for image in images:
        p = log_p(strategy, strategy.theta[RUN], image).exp()
        for y in range(10):
            value, inputs, outputs = image, [], []
            for i in range(layers):
                inputs.append(torch.cat([value, torch.ones(1)]))
                value = named[f"layers.{i}.weight"] @ value + named[f"layers.{i}.bias"]
                value.requires_grad_()
                outputs.append(value)
                value = functional.relu(value)
            loss = functional.log_softmax(outputs[-1], 0)[y]
            signal = torch.autograd.grad(loss, outputs[layer])[0]
            b = b + p[y] * torch.outer(signal, signal)
        a = a + torch.outer(inputs[layer], inputs[layer]).detach()
    return b / len(images), a / len(images)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_layers_penalty_is_that_of_its_factors(layer):
    strategy, streams = stack("kfac-laplace", (8, 6), fisher_samples=20, exploration_steps=0)
    run_task(strategy, streams, 0)
    b, a = plain_factors(strategy, drawn(strategy, streams, 0, 20), layer)
    blocks = strategy.learner.network.layer_blocks
    gap = torch.randn_like(strategy.theta)
    found = blocks.block(strategy.precision.gradient(strategy.theta + gap), layer)[RUN]
    expected = b @ blocks.block(gap, layer)[RUN] @ a
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_online_adds_the_decayed_past_about_the_newest_weights():
    strategy, streams = stack(
        "kfac-laplace", fisher_samples=10, exploration_steps=0, decay=0.5, strength=0.0
    )
    run_task(strategy, streams, 0)
    b0, a0 = plain_factors(strategy, drawn(strategy, streams, 0, 10), 0)
    run_task(strategy, streams, 1)
    b1, a1 = plain_factors(strategy, drawn(strategy, streams, 1, 10), 0)
    held = strategy.precision
    assert isinstance(held, Kronecker)
    assert torch.equal(held.anchor, strategy.theta)
    u, v = held.bases[0].left[RUN], held.bases[0].right[RUN]

    def spread(factor, basis):
        return (basis * (factor @ basis)).sum(0)

    past = torch.outer(spread(b0, u), spread(a0, v))
    new = torch.outer(spread(b1, u), spread(a1, v))
    largest = float(new.max())
    torch.testing.assert_close(held.scale[0][RUN], 0.5 * past + new, rtol=1e-2, atol=1e-4 * largest)
    turned = u.T @ (0.5 * b0 + b1) @ u
    torch.testing.assert_close(turned, torch.diag(turned.diagonal()), rtol=0, atol=1e-5)


def test_per_task_keeps_each_penalty_and_its_anchor():
    strategy, streams = stack("kfac-laplace", variant="per-task", exploration_steps=0)
    run_task(strategy, streams, 0)
    first, anchor = strategy.precision.parts[0], strategy.theta.clone()
    run_task(strategy, streams, 1)
    held = strategy.precision
    assert isinstance(held, Several)
    assert len(held.parts) == 2
    assert isinstance(held.parts[0], Kronecker)
    assert torch.equal(held.parts[0].anchor, anchor)
    point = torch.randn_like(anchor)
    expected = first.gradient(point) + held.parts[1].gradient(point)
    torch.testing.assert_close(held.gradient(point), expected)
    theta, zero = point.clone(), torch.full((2, 1), 1e-4)
    held.prepare(zero)
    held.pull(theta)
    torch.testing.assert_close((point - theta) / 1e-4, expected, rtol=1e-2, atol=1e-2)


def test_a_sampled_fisher_is_the_exact_one_on_average():
    scales = {}
    for fisher in ("exact", "sampled", "empirical"):
        strategy, streams = stack(
            "kfac-laplace", fisher=fisher, fisher_samples=640, exploration_steps=0
        )
        run_task(strategy, streams, 0, steps=3)
        scales[fisher] = strategy.precision.bases[1].left_values.sum(1)
    torch.testing.assert_close(scales["sampled"], scales["exact"], rtol=0.1, atol=0)
    assert not torch.equal(scales["empirical"], scales["exact"])


# --- what they are for ----------------------------------------------------------------------


def test_both_forget_less_than_plain_training():
    changes: dict[str, Any] = {
        "benchmark": {"tasks": 3, "train_samples": 3000, "test_samples": 1000}
    }
    final = {}
    for name in ("naive", "rwalk", "kfac-laplace"):
        settings = {} if name == "naive" else {"exploration_steps": 60}
        record = train([config(name, settings=settings, **changes)])[0]
        final[name] = record.accuracy.query("after_task == 2 and task < 2").accuracy.mean()
    assert final["rwalk"] > final["naive"] + 0.02
    assert final["kfac-laplace"] > final["naive"] + 0.05
