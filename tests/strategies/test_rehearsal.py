"""Methods that keep samples: what they minimise, where they may go, and that it helps."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch.nn import functional

from cl_bench.config import Scenario
from cl_bench.engine.linalg import nonnegative_minimum
from cl_bench.engine.stack import step
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.kronecker import Kronecker
from tests.training import config, run_task, stack, train

RATE = 0.1


def begun(name, tasks=1, scenario=None, **settings):
    """Return a strategy about to step on the task after so many, and a minibatch of it."""
    strategy, streams = stack(name, hidden=(8, 7), **settings)
    if scenario is Scenario.TASK:  # as if each task had three outputs of its own, and one shared
        outputs = streams.outputs
        outputs.scenario = scenario
        outputs.of_task = torch.zeros(3, 10, dtype=torch.bool)
        for task in range(3):
            outputs.of_task[task, 3 * task : 3 * task + 4] = True
    for task in range(tasks):
        run_task(strategy, streams, task)
    learner = strategy.learner
    learner.task, learner.step_number = tasks, 0
    data = TaskData(streams, tasks)
    strategy.begin_task(data)
    return strategy, next(iter(data.minibatches(32, 1)))


def forward(strategy, theta, images):
    """Return one run's logits [B, C] at weights [D], in plain torch."""
    weights = strategy.learner.network.unstack(theta)
    value = images
    for layer in range(3):
        value = functional.linear(
            value, weights[f"layers.{layer}.weight"], weights[f"layers.{layer}.bias"]
        )
        value = value.relu() if layer < 2 else value
    return value


def cross_entropy(strategy, theta, batch, run):
    logits = forward(strategy, theta, batch.images[run])
    if batch.mask is not None:
        mask = batch.mask if batch.mask.dim() == 1 else batch.mask[run]
        logits = logits.masked_fill(~mask, float("-inf"))
    return functional.cross_entropy(logits, batch.labels[run])


def slope(loss, theta):
    leaf = theta.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


# --- dark experience replay -----------------------------------------------------------------


@pytest.mark.parametrize("scenario", [Scenario.DOMAIN, Scenario.TASK])
@pytest.mark.parametrize("name", ["der", "der++"])
def test_dark_replay_minimises_equation_6_or_7(name, scenario):
    strategy, batch = begun(name, scenario=scenario, buffer_size=60, replay_batch_size=20)
    strategy.alpha = torch.tensor([[0.7], [3.0]])
    if name == "der++":
        strategy.beta = torch.tensor([[0.2], [1.5]])
    kept, labelled = strategy.replayed(), strategy.replayed("replay labels")
    assert not torch.equal(kept.images, labelled.images)
    assert (kept.labels.shape, kept.extra["logits"].shape) == ((2, 20), (2, 20, 10))
    before = strategy.theta.clone()
    for run in (0, 1):

        def loss(theta, run=run):
            now, then = forward(strategy, theta, kept.images[run]), kept.extra["logits"][run]
            if scenario is Scenario.TASK:  # four outputs of ten; all samples are of the first task
                now, then = now[:, :4], then[:, :4]
            total = cross_entropy(strategy, theta, batch, run)
            total = total + strategy.alpha[run] * functional.mse_loss(now, then)
            if name == "der++":
                total = total + strategy.beta[run] * cross_entropy(strategy, theta, labelled, run)
            return total

        expected = before[run] - RATE * slope(loss, before[run])
        if run == 0:
            step(strategy, batch)
        torch.testing.assert_close(strategy.theta[run], expected, rtol=1e-4, atol=1e-6)


def test_dark_replay_keeps_the_logits_a_sample_had_when_it_was_trained_on():
    strategy, batch = begun("der", tasks=0, buffer_size=200)
    for later in (0, 1):
        before = strategy.buffer.extra["logits"][:, :32].clone() if later else None
        then = strategy.theta.clone()
        step(strategy, batch)
        kept = strategy.buffer.extra["logits"][:, 32 * later : 32 * later + 32]
        expected = torch.stack([forward(strategy, then[r], batch.images[r]) for r in (0, 1)])
        torch.testing.assert_close(kept, expected, rtol=1e-5, atol=1e-6)
    assert before is not None
    assert torch.equal(strategy.buffer.extra["logits"][:, :32], before), "they are not renewed"
    assert strategy.buffer.filled == 64


# --- experience replay ----------------------------------------------------------------------


def test_a_buffer_filled_at_each_task_s_end_holds_past_tasks_alone_as_many_of_each():
    strategy, batch = begun("er", tasks=2, buffer_size=60, replay_batch_size=20, fill="task")
    for _ in range(3):
        step(strategy, batch)
    counts = [(strategy.buffer.tasks == task).sum(1).tolist() for task in range(3)]
    assert counts == [[30, 30], [30, 30], [0, 0]]
    assert set(strategy.replayed().tasks.flatten().tolist()) == {0, 1}
    stream, _ = begun("er", tasks=2, buffer_size=60, replay_batch_size=20)
    step(stream, batch)
    assert (stream.buffer.tasks == 2).any(), "a reservoir takes samples as they come"


def test_a_memory_that_gives_each_task_so_many_places_fills_up_task_by_task():
    for tasks, shared in ((1, [60, 0]), (2, [30, 30])):
        strategy, _ = begun("a-gem", tasks=tasks, buffer_size=60, per_task=20)
        divided, _ = begun("a-gem", tasks=tasks, buffer_size=60)
        kept = [(s.buffer.tasks == t).sum(1).tolist() for s in (strategy, divided) for t in (0, 1)]
        fixed = [20, 20 * (tasks - 1)]
        assert kept == [[count, count] for count in fixed + shared]


# --- gradient episodic memory ---------------------------------------------------------------


def slopes(strategy, run, *batches):
    """Return the gradients of one run on minibatches, [len(batches), D]."""
    theta = strategy.theta[run]
    found = [slope(lambda t, b=b: cross_entropy(strategy, t, b, run), theta) for b in batches]
    return torch.stack(found).double()


def test_a_gem_projects_the_gradient_off_the_memory_s_where_they_are_opposed():
    strategy, batch = begun("a-gem", tasks=2, buffer_size=80, replay_batch_size=30)
    kept = strategy.replayed()
    assert set(kept.tasks.unique().tolist()) == {0, 1}
    reference = torch.cat([slopes(strategy, run, kept) for run in (0, 1)])
    other = 0.1 * reference.norm() * functional.normalize(reference.flip(1), dim=1)
    gradient = (other + torch.tensor([[-0.7], [0.3]]) * reference).float()
    g, r = gradient.double(), reference
    assert g[0] @ r[0] < 0 < g[1] @ r[1]
    strategy.adjust_gradient(gradient, batch)
    projected = g[0] - (g[0] @ r[0]) / (r[0] @ r[0]) * r[0]
    torch.testing.assert_close(gradient[0].double(), projected, rtol=1e-4, atol=1e-6)
    assert torch.equal(gradient[1].double(), g[1])
    own, memory = 12 * 32, 7 * 30
    assert strategy.learner.gradient_passes == (own + memory) / strategy.learner.batch_size


def test_a_gem_remembers_as_much_of_every_past_task_and_nothing_of_this_one():
    strategy, batch = begun("a-gem", tasks=2, buffer_size=80)
    step(strategy, batch)
    counts = functional.one_hot(strategy.buffer.tasks, 3).sum(1)
    assert counts.tolist() == [[40, 40, 0]] * 2


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_gem_takes_the_nearest_step_that_opposes_no_past_task(margin):
    strategy, batch = begun("gem", tasks=2, memory_per_task=40, margin=margin)
    memories = [memory.all() for memory in strategy.memories]
    assert [set(m.tasks.unique().tolist()) for m in memories] == [{0}, {1}]
    assert memories[0].labels.shape == (2, 40)
    rows = torch.stack([slopes(strategy, run, *memories) for run in (0, 1)])
    # The first run's gradient opposes the first task and not the second; the other's neither.
    weights = torch.tensor([[[-2.0, 1.0]], [[0.5, 0.5]]], dtype=torch.float64)
    gradient = (weights @ rows).squeeze(1).float()
    g = gradient.double()
    assert ((rows @ g.unsqueeze(2)).squeeze(2) > 0).tolist() == [[False, True], [True, True]]
    strategy.adjust_gradient(gradient, batch)
    least = g[0] + margin * rows[0].sum(0)
    v, _ = nnls(rows[0].T.numpy(), -least.numpy())
    assert (v[0] > 0.1) and (margin or v[1] == 0)
    expected = least + rows[0].T @ torch.from_numpy(v)
    torch.testing.assert_close(gradient[0].double(), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(gradient[1].double(), g[1])


def test_gem_never_opposes_a_past_task():
    """As long as steps are short, no loss on a memory rises (the paper's eq. 4)."""
    strategy, batch = begun("gem", tasks=2, memory_per_task=40, margin=0.0)
    gradient = torch.stack([slopes(strategy, run, batch)[0] for run in (0, 1)]).float()
    memories = [memory.all() for memory in strategy.memories]
    rows = torch.stack([slopes(strategy, run, *memories) for run in (0, 1)])
    gradient -= 3 * rows.mean(1).float()
    strategy.adjust_gradient(gradient, batch)
    along = torch.bmm(rows, gradient.double().unsqueeze(2)).squeeze(2)
    assert (along > -1e-5 * rows.norm(dim=2)).all()


def stacks_of_gradients():
    generator = torch.Generator().manual_seed(0)
    for size in (1, 2, 3, 7, 19):
        for rank in {size, max(1, size - 1), max(1, size // 2)}:
            wide = rank if rank < size else size + 4
            rows = torch.randn(12, size, wide, generator=generator, dtype=torch.float64)
            rows *= torch.logspace(-2, 2, size, dtype=torch.float64).unsqueeze(1)
            aim = torch.randn(12, wide, generator=generator, dtype=torch.float64)
            yield rows, aim


def test_the_least_squares_with_nonnegative_weights_are_scipy_s():
    for rows, aim in stacks_of_gradients():
        inner, linear = rows @ rows.mT, (rows @ aim.unsqueeze(2)).squeeze(2)
        found = nonnegative_minimum(inner, linear)
        assert (found >= 0).all()
        for run in range(12):
            best = nnls(rows[run].T.numpy(), -aim[run].numpy())[1] ** 2
            left = (rows[run].T @ found[run] + aim[run]).square().sum().item()
            assert left == pytest.approx(best, rel=1e-9, abs=1e-9)
            alone = nonnegative_minimum(inner[run : run + 1], linear[run : run + 1])
            assert torch.equal(alone[0], found[run])


def test_a_run_that_is_not_finite_leaves_the_others_alone():
    inner = torch.eye(2, dtype=torch.float64).repeat(3, 1, 1)
    inner[1, 0, 1] = float("nan")
    linear = torch.tensor([[-1.0, 2.0]] * 3, dtype=torch.float64)
    expected = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(nonnegative_minimum(inner, linear), expected)


# --- experience replay ----------------------------------------------------------------------


def test_balanced_replay_keeps_as_many_of_every_class():
    strategy, _ = begun("er-balanced", tasks=2, buffer_size=50)
    counts = functional.one_hot(strategy.buffer.labels, 10).sum(1)
    assert torch.equal(counts, torch.full((2, 10), 5))


def test_flatness_with_replay_trains_on_both_and_pulls_as_flatness_does():
    short: dict[str, Any] = {"exploration_steps": 12, "snapshot_every": 2}
    strategy, batch = begun("flatness-er", strength=5.0, every=1, buffer_size=40, **short)
    assert strategy.buffer.filled == 40
    strategy.replay_weight = torch.tensor([[0.3], [2.0]])
    kept, expected = strategy.replayed(), strategy.theta.clone()
    for run in (0, 1):
        new, old = slopes(strategy, run, batch, kept)
        expected[run] -= RATE * (new + strategy.replay_weight[run] * old)
    strategy.precision.pull(expected)
    step(strategy, batch)
    torch.testing.assert_close(strategy.theta, expected, rtol=1e-4, atol=1e-6)
    assert (strategy.buffer.tasks == 1).any()


def test_flatness_with_replay_measures_what_flatness_measures():
    short: dict[str, Any] = {"exploration_steps": 12, "snapshot_every": 2, "gamma": 0.7}
    both, streams = stack("flatness-er", **short)
    plain, _ = stack("flatness", columns="motion", **short)
    for task in (0, 1):
        data = TaskData(streams, task)
        for strategy in (both, plain):
            strategy.learner.task, strategy.learner.step_number = task, 0
            strategy.begin_task(data)
            step(strategy, next(iter(data.minibatches(32, 1))))
        for number, batch in enumerate(data.minibatches(32, 12), start=1):
            step(both, batch)
            plain.theta.copy_(both.theta)
            both.visit(number)
            plain.visit(number)
        for strategy in (both, plain):
            strategy.end_task(data)
        assert isinstance(both.precision, Kronecker)
        for a, b in zip(both.precision.scale, plain.precision.scale, strict=True):
            assert torch.equal(a, b)


# --- that it helps --------------------------------------------------------------------------


def split(name, scenario, seeds=(0, 1), **settings):
    """Return the mean accuracy over five short tasks of split MNIST at their end."""
    changes = {
        "benchmark": {
            "name": "split-mnist",
            "tasks": 5,
            "scenario": scenario,
            "train_samples": 640,
        },
        "training": {"epochs": 1, "batch_size": 32, "outputs": "all"},
        "network": {"hidden": (50,)},
    }
    records = train([config(name, seed, settings=settings, **changes) for seed in seeds])
    last = [r.accuracy.query("after_task == 4").accuracy.mean() for r in records]
    return np.array(last)


@cache
def naive(scenario):
    return split("naive", scenario)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scenario", "better"),
    [
        ("er-balanced", "class", 0.2),
        ("der", "domain", 0.05),
        ("der++", "class", 0.2),
        ("a-gem", "domain", 0.02),
        ("gem", "class", 0.4),
        ("flatness-er", "class", 0.2),
    ],
)
def test_it_forgets_less_than_naive_training(name, scenario, better):
    gain = split(name, scenario) - naive(scenario)
    assert (gain > better).all(), gain
