"""Quadratic methods as a user meets them: finite at any strength, equal terms, right formulas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch.nn import functional

from cl_bench.cli import main
from cl_bench.engine.networks import MLP
from cl_bench.engine.stack import step
from cl_bench.engine.state import State
from cl_bench.engine.tasks import TaskData
from cl_bench.instruments.flatness import flatness
from cl_bench.instruments.loss import mean_loss
from cl_bench.methods.consolidation import Consolidation
from cl_bench.methods.layerwise import layer_inputs
from cl_bench.methods.precision import Diagonal, LowRank
from cl_bench.planning import finding
from cl_bench.planning.resolving import settings_grid
from tests.training import config, run_task, stack, train

QUADRATIC = [
    name for name in finding.strategy_names() if issubclass(finding.load(name), Consolidation)
]
SHAPES = [("flatness", {"shape": s, "rank": 3, "kept_rank": 5}) for s in ("diagonal", "low-rank")]
SHAPES += [("flatness", {"shape": "low-rank+diagonal", "rank": 3, "kept_rank": 5})]
FORMS = [*[(name, {}) for name in QUADRATIC], *SHAPES, ("flatness", {"fluctuation": "deviations"})]
TINY: dict[str, Any] = {
    "network": {"hidden": (30,)},
    "benchmark": {"tasks": 3, "train_samples": 640},
}


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "settings"), FORMS)
def test_any_strength_gives_finite_numbers(strategy, settings):
    strengths = [10.0**k for k in range(-6, 10)]
    records = train(
        [config(strategy, settings={**settings, "strength": s}, **TINY) for s in strengths]
    )
    for record in records:
        assert all(np.isfinite(w).all() for w in record.weights.values())
        assert record.accuracy.accuracy.between(0, 1).all()
        assert np.isfinite(record.accuracy.loss).all()
    learnt = {r.weights_sha256 for r in records}
    assert len(learnt) > 8, "the strength changes what is learnt"


@pytest.mark.slow
# A few held directions (ldc) cannot hold a whole task.
@pytest.mark.parametrize("strategy", [name for name in QUADRATIC if name != "ldc"])
def test_a_strong_penalty_holds_the_first_task(strategy):
    changes: dict[str, Any] = {
        "benchmark": {"tasks": 2, "train_samples": 3000},
        "network": {"hidden": (50,)},
    }
    longer = {"exploration_steps": 90}
    low, high = train(
        [config(strategy, settings={**longer, "strength": s}, **changes) for s in (1e-6, 1e9)]
    )
    kept = [
        r.accuracy.query("task == 0 and after_task >= 0").accuracy.tolist() for r in (low, high)
    ]
    assert kept[1][0] - kept[1][1] < 0.05
    assert np.linalg.norm(moved(high)) < np.linalg.norm(moved(low))


def moved(record):
    network = MLP(784, (50,), 10)
    start = network.unstack(network.initial(record.config.seed))
    return np.concatenate([(w - start[k].numpy()).ravel() for k, w in record.weights.items()])


def test_explicit_form_is_the_gradient_of_the_penalised_loss():
    strategy, streams = stack("ewc", form="explicit", strength=30.0, exploration_steps=0)
    run_task(strategy, streams, 0)
    penalty = strategy.precision
    assert isinstance(penalty, Diagonal)
    theta = strategy.theta[1].clone()
    task = TaskData(streams, 1)
    strategy.begin_task(task)
    batch = next(iter(task.minibatches(32, 1)))
    leaf = theta.clone().requires_grad_()
    logits = strategy.learner.network.forward(leaf[None], batch.images[1:])
    gap = leaf - penalty.anchor[1]
    loss = functional.cross_entropy(logits[0], batch.labels[1])
    held = 30 / 2 * (penalty.omega[1] * gap.square()).sum()
    (slope,) = torch.autograd.grad(loss + held, leaf)
    step(strategy, batch)
    expected = theta - 0.1 * slope
    torch.testing.assert_close(strategy.theta[1], expected, rtol=1e-4, atol=1e-6)


def test_implicit_and_explicit_agree_where_the_penalty_is_weak():
    records = [
        train([config("ewc", settings={"form": form, "strength": 1.0}, **TINY)])[0]
        for form in ("implicit", "explicit")
    ]
    for a, b in zip(*(r.weights.values() for r in records), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


def watch(strategy):
    """Return a list that the weights after each exploration step are added to."""
    visited, visit = [], strategy.visit

    def both(step):
        visited.append(strategy.theta.clone())
        visit(step)

    strategy.visit = both
    return visited


def test_the_anchor_is_the_mean_of_the_exploration():
    strategy, streams = stack("l2", exploration_steps=5)
    visited = watch(strategy)
    run_task(strategy, streams, 0)
    assert len(visited) == 5
    del strategy.visit
    torch.testing.assert_close(strategy.theta, torch.stack(visited).mean(0))
    assert torch.equal(strategy.precision.anchor, strategy.theta)


def test_without_averaging_the_anchor_is_the_last_weights():
    strategy, streams = stack("l2", exploration_steps=5, average_weights=False)
    visited = watch(strategy)
    run_task(strategy, streams, 0)
    assert torch.equal(strategy.theta, visited[-1])


def test_ewc_keeps_an_anchor_for_each_task_and_online_ewc_the_last():
    strategy, streams = stack("ewc", exploration_steps=0)
    run_task(strategy, streams, 0)
    first = strategy.precision
    theta0 = strategy.theta.clone()
    run_task(strategy, streams, 1)
    second_omega = strategy.precision.omega - first.omega
    point = torch.randn_like(theta0)
    expected = first.omega * (point - theta0) + second_omega * (point - strategy.theta)
    torch.testing.assert_close(strategy.precision.gradient(point), expected, rtol=1e-3, atol=1e-5)
    online, streams = stack("online-ewc", exploration_steps=0, decay=0.5)
    run_task(online, streams, 0)
    before = online.precision.omega
    run_task(online, streams, 1)
    assert torch.equal(online.precision.anchor, online.theta)
    assert (online.precision.omega >= 0.5 * before - 1e-9).all()


def test_si_integrates_the_gradient_along_the_path():
    strategy, streams = stack("si", exploration_steps=0, damping=0.1)
    task = TaskData(streams, 0)
    strategy.begin_task(task)
    start = strategy.theta.clone()
    path = torch.zeros_like(start)
    for batch in task.minibatches(32, 4):
        before = strategy.theta.clone()
        step(strategy, batch)
        path -= strategy.learner.gradient * (strategy.theta - before)
    strategy.end_task(task)
    expected = path.clamp(min=0) / ((strategy.theta - start).square() + 0.1)
    torch.testing.assert_close(strategy.precision.omega, expected)


def test_si_can_follow_the_whole_gradient():
    strategy, streams = stack(
        "si", exploration_steps=0, damping=0.1, strength=5.0, form="explicit", path="total",
        clamp=False,
    )  # fmt: skip
    run_task(strategy, streams, 0)
    first = strategy.precision.omega.clone()
    task = TaskData(streams, 1)
    strategy.begin_task(task)
    start, path = strategy.theta.clone(), torch.zeros_like(strategy.theta)
    for batch in task.minibatches(32, 4):
        before = strategy.theta.clone()
        step(strategy, batch)
        path -= strategy.learner.gradient * (strategy.theta - before)  # the penalty's included
    strategy.end_task(task)
    expected = first + path / ((strategy.theta - start).square() + 0.1)
    torch.testing.assert_close(strategy.precision.omega, expected)


def test_mas_of_minibatches_is_the_mean_of_their_absolute_gradients():
    strategy, streams = stack("mas", exploration_steps=0, samples=128, gradients="batch-mean")
    run_task(strategy, streams, 0)
    size = strategy.learner.batch_size
    total, batches = torch.zeros_like(strategy.theta[1]), 0
    for batch in TaskData(streams, 0).sample(128, "sensitivity", size):
        leaf = strategy.theta[1].clone().requires_grad_()
        outputs = strategy.learner.network.forward(leaf[None], batch.images[1:2])
        total += torch.autograd.grad(outputs.square().mean(), leaf)[0].abs()
        batches += 1
    assert batches > 1
    found = strategy.precision.omega[1]
    torch.testing.assert_close(found, total / batches, rtol=1e-4, atol=1e-8)


def test_settings_that_came_later_leave_old_addresses_alone():
    (settings,) = settings_grid("mas", {})
    assert "gradients" not in settings
    (settings,) = settings_grid("mas", {"gradients": "batch-mean"})
    assert settings["gradients"] == "batch-mean"


def test_mas_is_the_mean_absolute_gradient_of_the_squared_outputs():
    strategy, streams = stack("mas", exploration_steps=0, samples=10)
    run_task(strategy, streams, 0)
    images = next(iter(TaskData(streams, 0).sample(10, "sensitivity"))).images[1]
    total = torch.zeros_like(strategy.theta[1])
    for image in images:
        leaf = strategy.theta[1].clone().requires_grad_()
        strategy.learner.network.forward(leaf[None], image[None, None]).square().sum().backward()
        total += leaf.grad.abs()
    torch.testing.assert_close(strategy.precision.omega[1], total / 10, rtol=1e-4, atol=1e-6)


def test_ldc_holds_measured_directions_by_their_inverse_square_flatness():
    strategy, streams = stack("ldc", directions=3)
    run_task(strategy, streams, 0, steps=100)
    held = strategy.precision
    assert isinstance(held, LowRank)
    identity = torch.eye(3).expand(2, 3, 3)
    torch.testing.assert_close(
        torch.bmm(held.directions, held.directions.transpose(1, 2)), identity, atol=1e-4, rtol=0
    )
    batch = next(iter(TaskData(streams, 0).sample(200, "flatness")))
    network = strategy.learner.network

    def loss(theta):
        logits = network.forward(theta, batch.images)
        return torch.stack(
            [functional.cross_entropy(x, y) for x, y in zip(logits, batch.labels, strict=True)]
        )

    theta, direction = strategy.theta, held.directions[:, 1]
    target = math.e * loss(theta)[0]

    def above(distance):
        return float(loss(theta + distance * direction)[0] - target)

    wide = brentq(above, 0, 4) - brentq(above, -4, 0)
    assert held.scale[0, 1].rsqrt().item() == pytest.approx(wide, rel=0.01)
    run_task(strategy, streams, 1)
    assert strategy.precision.directions.shape[1] == 6


def test_ldc_stops_the_directions_it_holds_and_no_others():
    strategy, streams = stack("ldc", directions=3, strength=1e9, every=1)
    run_task(strategy, streams, 0, steps=50)
    anchor, held = strategy.theta.clone(), strategy.precision.directions
    task = TaskData(streams, 1)
    strategy.begin_task(task)
    for batch in task.minibatches(32, 30):
        step(strategy, batch)
    move = strategy.theta - anchor
    assert move.norm(dim=1).min() > 0.1
    assert torch.bmm(held, move.unsqueeze(-1)).abs().max() < 1e-3


@pytest.mark.parametrize("strategy", ["ewc", "ldc"])
def test_held_hidden_layers_stay_and_the_others_are_free(strategy):
    given = {"layers": "hidden", "strength": 1e12, "every": 1}
    held, streams = stack(strategy, hidden=(8, 6), **given)
    run_task(held, streams, 0, steps=50)
    anchor = held.theta.clone()
    task = TaskData(streams, 1)
    held.begin_task(task)
    for batch in task.minibatches(32, 30):
        step(held, batch)
    move = held.learner.network.unstack(held.theta - anchor)
    assert move["layers.0.weight"].norm() > 0.1
    inner = move["layers.1.weight"].flatten(1)
    if strategy == "ewc":
        # What the Fisher information says nothing of is free: units that never answer.
        silent = held.precision.inner.omega == 0
        assert (~silent).any()
        assert inner[~silent].abs().max() < 1e-3
    else:
        directions = held.precision.inner.directions
        assert directions.shape[2] == 48
        assert torch.bmm(directions, inner.unsqueeze(-1)).abs().max() < 1e-3
    assert held.bytes_kept() < stack_bytes(strategy, streams) / 20


def test_ldc_measures_the_hidden_layers_in_the_whole_network_s_loss():
    strategy, streams = stack("ldc", hidden=(8, 6), layers="hidden", directions=3)
    run_task(strategy, streams, 0, steps=100)
    held = strategy.precision
    batches = list(TaskData(streams, 0).sample(200, "flatness"))
    width = flatness(
        mean_loss(strategy.learner.network, batches),
        strategy.theta,
        held.part.spread(held.inner.directions),
    )
    torch.testing.assert_close(held.inner.scale, width.pow(-2), rtol=0.03, atol=0)


def stack_bytes(strategy, streams):
    """Return what a strategy keeps after a task that holds all layers."""
    whole, _ = stack(strategy, hidden=(8, 6), every=1)
    run_task(whole, streams, 0)
    return whole.bytes_kept()


def test_ewc_may_hold_only_the_weights_of_most_fisher_information():
    whole, streams = stack("ewc")
    run_task(whole, streams, 0)
    most, _ = stack("ewc", most=5)
    run_task(most, streams, 0)
    held = most.precision.omega
    assert (held > 0).sum(1).tolist() == [5, 5]
    for mine, all_of in zip(held, whole.precision.omega, strict=True):
        assert torch.equal(mine[mine > 0].sort().values, all_of.topk(5).values.flip(0))


@pytest.mark.parametrize("strategy", ["ewc", "ldc"])
def test_layers_that_are_not_there_are_refused_before_any_work(strategy, capsys):
    words = ["run", f"--strategy={strategy}", f"--set={strategy}.layers=hidden"]
    assert main([*words, "--benchmark=permuted-mnist-5k", "--set=network.hidden=[30]"]) == 2
    told = capsys.readouterr().err
    assert "layers=hidden: network.hidden = [30] has no weights between hidden layers" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(("strategy", "new"), [("ewc", ("layers", "most")), ("ldc", ("layers",))])
def test_settings_that_came_later_leave_ids_as_they_were(strategy, new):
    (default,) = settings_grid(strategy, {})
    (told,) = settings_grid(strategy, {"layers": "all"})
    assert default == told
    assert not set(new) & set(default)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "settings"), FORMS)
def test_state_round_trips(strategy, settings):
    first, streams = stack(strategy, **settings)
    run_task(first, streams, 0)
    second, _ = stack(strategy, **settings)
    second.theta.copy_(first.theta)
    kept = first.state()
    second.load_state(State(kept.tree, {k: v.clone() for k, v in kept.tensors.items()}))
    for one in (first, second):
        run_task(one, streams, 1)
    assert torch.equal(first.theta, second.theta)
    assert first.bytes_kept() > 0


def test_flatness_holds_what_comes_in_by_how_the_rows_move():
    short: dict[str, Any] = {"exploration_steps": 12, "snapshot_every": 2, "input_samples": 60}
    strategy, streams = stack("flatness", row_floor=2.0, **short)
    data, learner = TaskData(streams, 0), strategy.learner
    strategy.begin_task(data)
    blocks, seen = learner.network.layer_blocks, []
    for number, batch in enumerate(data.minibatches(32, 12), start=1):
        step(strategy, batch)
        strategy.visit(number)
        if number % 2 == 0:
            seen.append(strategy.theta.double().clone())
    strategy.end_task(data)
    precision = strategy.precision
    samples = torch.cat([batch.images for batch in data.sample(60, "inputs")], 1)
    inputs = layer_inputs(learner.network, precision.anchor, samples)
    moves = torch.stack(seen, 1).diff(dim=1)
    size = (moves**2).sum(2).sum(1) / moves.shape[2]
    for layer in range(len(blocks)):
        for run in range(2):
            steps = blocks.block(moves, layer)[run]
            rows = (steps @ steps.mT).sum(0)
            came = inputs[layer][run].double()
            columns = came.T @ came / came.square().sum()
            basis = precision.bases[layer]
            left, right = basis.left[run].double(), basis.right[run].double()
            expected = torch.outer(
                (left.T @ rows @ left).diag(), (right.T @ columns @ right).diag()
            )
            found = precision.scale[layer][run].double() * size[run]
            torch.testing.assert_close(
                found, expected, rtol=1e-3, atol=1e-5 * float(expected.max())
            )
    assert (precision.row_floor == 0).all()
    learner.task = 1
    strategy.begin_task(TaskData(streams, 1))
    rows, _ = precision.bases[-1].factors()
    ratio = rows.diagonal(dim1=1, dim2=2).sum(1) ** 2 / rows.square().sum((1, 2))
    torch.testing.assert_close(precision.row_floor, 2 / ratio.unsqueeze(1) ** 2, rtol=1e-4, atol=0)
    learner.outputs.of_task[0, 5:], learner.outputs.of_task[1, :5] = False, False
    strategy.begin_task(TaskData(streams, 1))
    assert (precision.row_floor == 0).all(), "outputs of a task's own get no floor"


def test_flatness_keeps_constant_memory():
    strategy, streams = stack("flatness")
    kept = []
    for task in range(3):
        run_task(strategy, streams, task)
        kept.append(strategy.bytes_kept())
    assert len(set(kept)) == 1


def test_ewc_is_short():
    file = finding.folder("strategies") / "ewc.py"
    source = [line for line in Path(file).read_text().splitlines() if line.strip()]
    assert len(source) <= 35
