"""NCL and OWM against the papers' updates in float64, and the sum of two Kronecker products."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cl_bench.config import Scenario
from cl_bench.engine.stack import step
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.kronecker_sums import kronecker_sum
from tests.strategies.test_rwalk_kfac import drawn, plain_factors
from tests.training import config, run_task, stack, train

RUN = 1


def positive(size, seed, rank=None):
    """Return a symmetric matrix [1, size, size] of float64, not negative."""
    rows = np.random.default_rng(seed).normal(size=(rank or 2 * size, size))
    return torch.from_numpy(rows.T @ rows / len(rows))[None]


def divergence(made, first, second):
    """Return KL(N(0, made^-1) || N(0, (first + second)^-1)) by dense matrices."""
    q = np.kron(*(m[0].numpy() for m in made))
    p = sum(np.kron(*(m[0].numpy() for m in pair)) for pair in (first, second))
    logs = np.linalg.slogdet(q)[1] - np.linalg.slogdet(p)[1]
    return 0.5 * (np.trace(p @ np.linalg.inv(q)) - len(q) + logs)


# --- the sum of two Kronecker products ------------------------------------------------------


def test_the_kl_sum_is_the_least_divergence():
    first = positive(4, 0), positive(6, 1)
    second = positive(4, 2, rank=2), 5 * positive(6, 3, rank=3)
    made = kronecker_sum(first, second, "kl")
    least = divergence(made, first, second)
    assert least < divergence(kronecker_sum(first, second, "trace"), first, second) - 0.01
    for seed in range(20):
        side, size = seed % 2, (4, 6)[seed % 2]
        moved = list(made)
        moved[side] = moved[side] + (-1) ** (seed // 2) * 1e-2 * positive(size, 10 + seed)
        assert divergence(moved, first, second) > least


def test_a_sum_of_multiples_of_one_product_is_exact():
    first = positive(4, 0), positive(6, 1)
    for rule in ("kl", "trace"):
        made = kronecker_sum(first, (3 * first[0], 2 * first[1]), rule)
        found = np.kron(*(m[0].numpy() for m in made))
        once = np.kron(*(m[0].numpy() for m in first))
        if rule == "kl":
            np.testing.assert_allclose(found, 7 * once, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_allclose(found, (1 + 6**0.5) ** 2 * once, rtol=1e-9, atol=1e-12)


def test_nothing_added_changes_nothing():
    first = positive(4, 0), positive(6, 1)
    for rule in ("kl", "trace"):
        made = kronecker_sum(first, (0 * first[0], 0 * first[1]), rule)
        np.testing.assert_allclose(
            np.kron(*(m[0].numpy() for m in made)),
            np.kron(*(m[0].numpy() for m in first)),
            rtol=1e-9,
            atol=1e-12,
        )


# --- NCL ------------------------------------------------------------------------------------


def begun(name, **settings):
    """Return a strategy one task on, that task's images for the measure, and the next task."""
    strategy, streams = stack(name, (8, 6), **settings)
    run_task(strategy, streams, 0)
    task = TaskData(streams, 1)
    strategy.learner.task, strategy.learner.step_number = 1, 0
    strategy.begin_task(task)
    return strategy, streams, task


def dense(*factors):
    return [factor.double().numpy() for factor in factors]


@pytest.mark.parametrize("rule", ["trace", "kl"])
def test_ncl_steps_in_the_metric_of_the_past(rule):
    prior, strength = 1e-2, 40.0
    strategy, streams, task = begun(
        "ncl", every=1, prior=prior, strength=strength, sum=rule, fisher_samples=20
    )
    anchor = strategy.theta.clone()
    learner, blocks = strategy.learner, strategy.learner.network.layer_blocks
    metrics = []
    for layer in range(3):
        b, a = plain_factors(strategy, drawn(strategy, streams, 0, 20), layer)
        before = [prior**0.5 * torch.eye(len(f), dtype=torch.float64)[None] for f in (b, a)]
        made = kronecker_sum(tuple(before), (b.double()[None], a.double()[None]), rule)
        metrics.append(dense(made[0][0], made[1][0]))
    for batch in task.minibatches(32, 3):
        start = strategy.theta.clone()
        step(strategy, batch)
        for layer, (rows, columns) in enumerate(metrics):
            gradient, old, held, new = (
                blocks.block(flat, layer)[RUN].double().numpy()
                for flat in (learner.gradient, start, anchor, strategy.theta)
            )
            natural = np.linalg.solve(rows, np.linalg.solve(columns, gradient.T).T)
            # The anchor's pull is implicit: x = old - rate * prior * (natural + lambda (x - held)).
            stiff = 0.1 * prior * strength
            expected = (old - 0.1 * prior * natural + stiff * held) / (1 + stiff)
            assert np.abs(expected - old).max() > 1e-4
            np.testing.assert_allclose(new, expected, rtol=0, atol=2e-5)


def test_ncl_takes_in_each_task():
    strategy, streams, _ = begun("ncl", fisher_samples=20, sum="trace", exploration_steps=0)
    before = [tuple(f.clone() for f in pair) for pair in strategy.factors]
    run_task(strategy, streams, 1)
    b, a = plain_factors(strategy, drawn(strategy, streams, 1, 20), 1)
    rows, columns = (f[RUN].double() for f in before[1])
    balance = (rows.trace() * a.trace() / (b.trace() * columns.trace())).sqrt()
    found = strategy.factors[1]
    torch.testing.assert_close(found[0][RUN].double(), rows + balance * b, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found[1][RUN].double(), columns + a / balance, rtol=1e-3, atol=1e-4)
    assert torch.equal(strategy.anchor, strategy.theta)


def test_the_first_task_of_ncl_is_plain_training():
    ours, streams = stack("ncl", exploration_steps=0)
    plain, others = stack("naive")
    for strategy, each in ((ours, streams), (plain, others)):
        run_task(strategy, each, 0)
    assert torch.equal(ours.theta, plain.theta)


# --- OWM ------------------------------------------------------------------------------------


def plain_owm(strategy, task, projectors, alpha, decay):
    """Return each layer's P of run 1 after the paper's recursion over a task's minibatches."""
    network = strategy.learner.network
    named = {k: v.double().numpy() for k, v in network.unstack(strategy.theta[RUN]).items()}
    batches = [b.images[RUN].double().numpy() for b in task.minibatches(64, 10, "sample", "inputs")]
    for number, value in enumerate(batches, start=1):
        for layer in range(len(projectors)):
            x = np.append(value.mean(0), 1.0)
            k = projectors[layer] @ x
            k = k / (alpha * decay ** (number / len(batches)) + x @ k)
            projectors[layer] = projectors[layer] - np.outer(k, x @ projectors[layer])
            bias = named[f"layers.{layer}.bias"]
            value = np.maximum(value @ named[f"layers.{layer}.weight"].T + bias, 0)
    return projectors


@pytest.mark.parametrize("scenario", [Scenario.DOMAIN, Scenario.TASK])
def test_owm_projects_by_the_papers_recursion(scenario):
    strategy, streams = stack("owm", (8, 6), alpha=0.1, decay=0.01, every=1)
    strategy.learner.outputs.scenario = scenario
    projectors = [np.eye(n) for n in (785, 9, 7)][: 3 - (scenario is Scenario.TASK)]
    for index in (0, 1):
        run_task(strategy, streams, index)
        projectors = plain_owm(strategy, TaskData(streams, index), projectors, 0.1, 0.01)
    task, blocks = TaskData(streams, 2), strategy.learner.network.layer_blocks
    strategy.learner.task = 2
    strategy.begin_task(task)
    for batch in task.minibatches(32, 2):
        start = strategy.theta.clone()
        step(strategy, batch)
        for layer in range(3):
            gradient, old, new = (
                blocks.block(flat, layer)[RUN].double().numpy()
                for flat in (strategy.learner.gradient, start, strategy.theta)
            )
            expected = gradient @ projectors[layer] if layer < len(projectors) else gradient
            np.testing.assert_allclose(new, old - 0.1 * expected, rtol=0, atol=1e-5)


# --- both -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ncl", "owm"])
def test_each_part_of_the_way_is_multiplied_once(name):
    strategy, _, task = begun(name, every=3, **({"strength": 0.0} if name == "ncl" else {}))
    start = strategy.theta.clone()
    raw = torch.zeros_like(start)
    for number, batch in enumerate(task.minibatches(32, 6), start=1):
        before = strategy.theta.clone()
        step(strategy, batch)
        raw -= 0.1 * strategy.learner.gradient
        if number % 3:
            torch.testing.assert_close(strategy.theta - before, -0.1 * strategy.learner.gradient)
    strategy.free(raw)
    assert raw.norm() > 1e-3
    torch.testing.assert_close(strategy.theta - start, raw, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ncl", "owm"])
def test_what_is_held_forgets_less_than_plain_training(name):
    benchmark = {"train_samples": 3000, "test_samples": 1000, "tasks": 3}
    forgot = {}
    for each in ("naive", name):
        table = train([config(each, benchmark=benchmark)])[0].accuracy
        after = table.query("after_task == 2 and task < 2").accuracy.mean()
        learnt = table.query("after_task == task and task < 2").accuracy.mean()
        forgot[each] = learnt - after
    assert forgot[name] < 0.6 * forgot["naive"]
