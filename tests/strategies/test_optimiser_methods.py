"""Methods that change how steps are taken: SAM, C-Flat, SWA, stable SGD, MC-SGD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.engine.stack import step
from cl_bench.engine.tasks import Batch, TaskData
from tests.training import config, run_task, stack, train

RATE = 0.1
BATCH = 32
LossOf = Callable[[Tensor], Tensor]


def loss_on(strategy, batch: Batch, run: int) -> LossOf:
    """Return the loss of one run's minibatch as a function of its weights [D], in plain torch."""
    network = strategy.learner.network

    def loss(theta: Tensor) -> Tensor:
        weights, value = network.unstack(theta), batch.images[run]
        last = len(network.sizes) - 2
        for i in range(last + 1):
            layer = weights[f"layers.{i}.weight"], weights[f"layers.{i}.bias"]
            value = functional.linear(value, *layer)
            if i < last:
                value = value.relu()
                if batch.gates is not None:
                    value = value * batch.gates[i][run]
        return functional.cross_entropy(value, batch.labels[run])

    return loss


def slope(loss: LossOf, theta: Tensor) -> Tensor:
    leaf = theta.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


def started(name: str, **settings):
    """Return a strategy that has begun its first task, and a minibatch of it."""
    strategy, streams = stack(name, hidden=(8, 7), **settings)
    task = TaskData(streams, 0)
    strategy.begin_task(task)
    return strategy, next(iter(task.minibatches(BATCH, 1)))


def passes(strategy) -> float:
    """Return the gradients taken, in minibatches of the size used here."""
    return strategy.learner.gradient_passes * strategy.learner.batch_size / BATCH


def test_sam_steps_along_the_gradient_uphill_of_each_run():
    strategy, batch = started("sam")
    strategy.rho = torch.tensor([[0.02], [1.5]])
    before = strategy.theta.clone()
    step(strategy, batch)
    for run, rho in enumerate((0.02, 1.5)):
        loss = loss_on(strategy, batch, run)
        g = slope(loss, before[run])
        expected = before[run] - RATE * slope(loss, before[run] + rho * g / g.norm())
        torch.testing.assert_close(strategy.theta[run], expected, rtol=1e-4, atol=1e-6)
    assert passes(strategy) == 2


def test_c_flat_steps_as_in_its_algorithm():
    strategy, batch = started("c-flat", rho=0.3, smoothing=0.7)
    before = strategy.theta.clone()
    step(strategy, batch)
    for run in range(2):
        loss, theta = loss_on(strategy, batch, run), before[run]
        g0 = slope(loss, theta)
        g1 = slope(loss, theta + 0.3 * g0 / g0.norm())
        there = theta + 0.3 * (g1 - g0) / (g1 - g0).norm()
        g2 = slope(loss, there)
        g3 = slope(loss, there + 0.3 * g2 / g2.norm())
        expected = theta - RATE * (g1 + 0.7 * (g3 - g2))
        torch.testing.assert_close(strategy.theta[run], expected, rtol=1e-4, atol=1e-6)
    assert passes(strategy) == 4


def test_c_flats_extra_term_lowers_the_length_of_the_gradient():
    rho, strength = 1e-3, 100.0
    found = []
    for smoothing in (0.0, strength):
        strategy, batch = started("c-flat", rho=rho, smoothing=smoothing)
        before = strategy.theta.clone()
        step(strategy, batch)
        found.append((before - strategy.theta)[0] / RATE)
    leaf = before[0].clone().requires_grad_()
    loss = loss_on(strategy, batch, 0)
    gradient = torch.autograd.grad(loss(leaf), leaf, create_graph=True)[0]
    expected = torch.autograd.grad(gradient.norm(), leaf)[0]
    term = (found[1] - found[0]) / (strength * rho)
    assert functional.cosine_similarity(term, expected, 0) > 0.98
    assert term.norm().item() == pytest.approx(expected.norm().item(), rel=0.1)


@pytest.mark.parametrize("name", ["sam", "c-flat"])
def test_sharpness_aware_minima_are_flatter(name):
    changes: dict[str, Any] = {
        "benchmark": {"tasks": 1, "train_samples": 4000},
        "network": {"hidden": (50,)},
        "training": {"epochs": 5},
    }
    flat, sharp = train([config(name, **changes)])[0], train([config("naive", **changes)])[0]
    assert rise_uphill(flat) < 0.9 * rise_uphill(sharp)
    assert mean_accuracy(flat) > mean_accuracy(sharp) - 0.02


def rise_uphill(record) -> float:
    """Return how far the loss on the first task rises at a distance of 0.3 uphill."""
    naive, streams = stack("naive", hidden=(50,))
    theta = torch.cat([torch.as_tensor(w).flatten() for w in record.weights.values()])
    loss = loss_on(naive, next(iter(TaskData(streams, 0).minibatches(500, 1))), 0)
    g = slope(loss, theta)
    return float(loss(theta + 0.3 * g / g.norm()) - loss(theta))


def mean_accuracy(record) -> float:
    table = record.accuracy
    return float(table[table.after_task == table.after_task.max()].accuracy.mean())


def test_swa_ends_a_task_at_the_mean_of_its_last_steps():
    strategy, streams = stack("swa", exploration_steps=4)
    visited, visit = [], strategy.visit

    def seen(step):
        visited.append(strategy.theta.clone())
        visit(step)

    strategy.visit = seen
    run_task(strategy, streams, 0)
    torch.testing.assert_close(strategy.theta, torch.stack(visited).mean(0))
    assert not torch.equal(strategy.theta, visited[-1])


def test_the_mean_of_swa_is_better_than_the_last_weights():
    changes: dict[str, Any] = {
        "benchmark": {"tasks": 1},
        "optimizer": {"learning_rate": 0.5},
        "training": {"epochs": 10, "batch_size": 16},
    }
    losses = []
    for averaged in (True, False):
        settings = {"exploration_steps": 60, "average_weights": averaged}
        records = train([config("swa", seed, settings=settings, **changes) for seed in (0, 1, 2)])
        losses.append([r.accuracy.query("after_task == 0").loss.item() for r in records])
    assert np.mean(losses[0]) < 0.95 * np.mean(losses[1])


def test_stable_sgd_lowers_the_rate_at_each_new_task():
    strategy, streams = stack("stable-sgd")
    strategy.decay = torch.tensor([[0.5], [0.2]])
    for task, expected in enumerate(([0.1, 0.1], [0.05, 0.02], [0.025, 0.004])):
        run_task(strategy, streams, task, steps=1)
        torch.testing.assert_close(strategy.learner.learning_rate, torch.tensor(expected)[:, None])


def test_stable_sgd_leaves_out_hidden_units_and_tests_with_all():
    strategy, batch = started("stable-sgd")
    strategy.dropout = torch.tensor([[0.5], [0.2]])
    used = []
    strategy.adjust_gradient = lambda gradient, batch: used.append(batch)
    for _ in range(2):
        before = strategy.theta.clone()
        step(strategy, batch)
        for run, kept in enumerate((0.5, 0.8)):
            gates = torch.cat([layer[run] for layer in used[-1].gates], 1)
            assert gates.shape == (32, 8 + 7)
            torch.testing.assert_close(gates.unique(), torch.tensor([0.0, 1 / kept]))
            assert (gates > 0).float().mean().item() == pytest.approx(kept, abs=0.07)
            expected = before[run] - RATE * slope(loss_on(strategy, used[-1], run), before[run])
            torch.testing.assert_close(strategy.theta[run], expected, rtol=1e-4, atol=1e-6)
    assert not torch.equal(used[0].gates[0], used[1].gates[0])
    plain = strategy.learner.network.forward(strategy.theta, batch.images)
    assert torch.equal(strategy.predict(batch.images, None), plain)


def test_stable_sgd_forgets_less_than_naive():
    split = {"name": "split-mnist", "tasks": 5, "scenario": "domain", "train_samples": 3000}
    stable, naive = (
        mean_accuracy(train([config(name, benchmark=split)])[0]) for name in ("stable-sgd", "naive")
    )
    assert stable > naive + 0.05


def mc_sgd_in_its_second_task(**settings):
    """Return MC-SGD after a first task and the ordinary steps of a second, and that task."""
    strategy, streams = stack(
        "mc-sgd", hidden=(8, 7), buffer_size=40, replay_batch_size=BATCH, line_steps=2, **settings
    )
    run_task(strategy, streams, 0)
    task, learner = TaskData(streams, 1), strategy.learner
    learner.task, learner.step_number = 1, 0
    strategy.begin_task(task)
    past = strategy.theta.clone()
    for batch in task.minibatches(BATCH, 4):
        step(strategy, batch)
    return strategy, task, past


def test_mc_sgd_lowers_the_loss_along_both_lines():
    strategy, task, past = mc_sgd_in_its_second_task(path_points=3, start=0.4)
    first, second = task.minibatches(BATCH, 2, "exploration")
    step(strategy, first)
    new = strategy.theta.clone()
    strategy.visit(1)
    torch.testing.assert_close(strategy.theta, past + 0.4 * (new - past))
    before, kept = strategy.theta.clone(), strategy.replayed()
    assert (kept.tasks == 0).all()
    so_far = passes(strategy)
    step(strategy, second)
    assert passes(strategy) == so_far + 6
    for run in range(2):
        on_past, on_new = loss_on(strategy, kept, run), loss_on(strategy, second, run)

        def along(w: Tensor, run: int = run, ends=(on_past, on_new)) -> Tensor:
            alphas = (1 / 3, 2 / 3, 1.0)
            old = [ends[0](past[run] + a * (w - past[run])) for a in alphas]
            own = [ends[1](new[run] + a * (w - new[run])) for a in alphas]
            return torch.stack(old).mean() / 2 + torch.stack(own).mean() / 2

        expected = before[run] - RATE * slope(along, before[run])
        torch.testing.assert_close(strategy.theta[run], expected, rtol=1e-4, atol=1e-6)


def test_mc_sgd_keeps_as_many_samples_of_each_task():
    strategy, streams = stack("mc-sgd", buffer_size=30, line_steps=1)
    for task in range(3):
        run_task(strategy, streams, task, steps=2)
        counts = [strategy.buffer.tasks[1].tolist().count(t) for t in range(task + 1)]
        assert counts == [30 // (task + 1)] * (task + 1)


def test_mc_sgd_remembers_what_naive_forgets():
    changes: dict[str, Any] = {
        "benchmark": {
            "name": "split-mnist",
            "tasks": 5,
            "scenario": "class",
            "train_samples": 1000,
        },
        "network": {"hidden": (50,)},
        "training": {"outputs": "all"},
    }
    settings = {"buffer_size": 200, "line_steps": 40, "path_points": 3}
    (ours,) = train([config("mc-sgd", settings=settings, **changes)])
    (naive,) = train([config("naive", **changes)])
    assert mean_accuracy(ours) > mean_accuracy(naive) + 0.3
