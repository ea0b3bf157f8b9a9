"""Methods that act on the weights as such, and the warm upper reference."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from cl_bench.engine.stack import step
from cl_bench.engine.tasks import TaskData
from cl_bench.planning import finding
from tests.training import config, run_task, stack, train


def test_l2_init_adds_the_squared_distance_to_the_initial_weights():
    strategy, streams = stack("l2-init", form="explicit", strength=0.6, exploration_steps=0)
    task, initial = TaskData(streams, 0), strategy.learner.initial[1]
    strategy.theta.add_(0.05)  # away from where the penalty is zero
    theta = strategy.theta[1].clone()
    strategy.begin_task(task)
    batch = next(iter(task.minibatches(32, 1)))
    leaf = theta.clone().requires_grad_()
    logits = strategy.learner.network.forward(leaf[None], batch.images[1:])[0]
    loss = functional.cross_entropy(logits, batch.labels[1])
    (slope,) = torch.autograd.grad(loss + 0.3 * (leaf - initial).square().sum(), leaf)
    step(strategy, batch)
    torch.testing.assert_close(strategy.theta[1], theta - 0.1 * slope, rtol=1e-4, atol=1e-6)


def test_l2_init_pulls_in_every_task_towards_the_same_weights():
    strategy, streams = stack("l2-init", strength=1e6, exploration_steps=0)
    initial = strategy.theta.clone()
    for task in range(2):
        run_task(strategy, streams, task)
        torch.testing.assert_close(strategy.theta, initial, rtol=0, atol=1e-5)
    assert strategy.bytes_kept() < 100


def test_l2_init_stays_near_its_start_and_still_learns():
    changes: dict[str, Any] = {
        "benchmark": {"tasks": 3, "train_samples": 3000},
        "network": {"hidden": (50,)},
    }
    runs = train(
        [config("l2-init", settings={"strength": s}, **changes) for s in (0.0, 0.003, 0.1)]
    )
    strategy, _ = stack("naive", hidden=(50,))
    start = strategy.learner.initial[0]
    weights = [torch.cat([torch.as_tensor(w).flatten() for w in r.weights.values()]) for r in runs]
    free, weak, strong = ((w - start).norm().item() for w in weights)
    assert strong < 0.8 * weak < 0.8 * free
    for record in runs[:2]:
        assert record.accuracy.query("after_task == 2 and task == 2").accuracy.item() > 0.75


def test_shrink_and_perturb_mixes_in_fresh_initial_weights():
    strategy, streams = stack("shrink-and-perturb")
    strategy.shrink = torch.tensor([[0.5], [0.0]])
    strategy.perturb = torch.tensor([[0.3], [1.0]])
    initial = strategy.learner.initial
    run_task(strategy, streams, 0)
    learnt = strategy.theta.clone()
    strategy.learner.task, strategy.learner.step_number = 1, 0
    strategy.begin_task(TaskData(streams, 1))
    scale = strategy.perturb
    fresh = (strategy.theta - strategy.shrink * learnt) / scale
    for parameter in strategy.learner.network.parameters:
        new, old = parameter.view(fresh).flatten(1), parameter.view(initial).flatten(1)
        torch.testing.assert_close(new.sort(1).values, old.sort(1).values, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(new, old)
    first = fresh.clone()
    strategy.theta.copy_(learnt)
    strategy.learner.task = 2
    strategy.begin_task(TaskData(streams, 2))
    again = (strategy.theta - strategy.shrink * learnt) / scale
    assert not torch.allclose(first, again), "each task has noise of its own"


def test_shrink_and_perturb_leaves_the_first_task_alone():
    strategy, streams = stack("shrink-and-perturb", shrink=0.1)
    strategy.begin_task(TaskData(streams, 0))
    assert torch.equal(strategy.theta, strategy.learner.initial)


def test_shrinking_keeps_what_is_said_and_lowers_how_surely():
    strategy, streams = stack("shrink-and-perturb", hidden=(50,), shrink=0.6, perturb=0.01)
    run_task(strategy, streams, 0, steps=300)
    images = next(iter(TaskData(streams, 0).minibatches(300, 1))).images
    before = strategy.predict(images, None).softmax(-1).max(-1)
    strategy.learner.task, strategy.learner.step_number = 1, 0
    strategy.begin_task(TaskData(streams, 1))
    after = strategy.predict(images, None).softmax(-1).max(-1)
    assert (before.indices == after.indices).float().mean() > 0.85
    assert after.values.mean() < before.values.mean() - 0.2


def test_cumulative_trains_on_all_tasks_and_goes_on_from_where_it_was(monkeypatch):
    kind = finding.load("cumulative")
    seen = []
    for hook in ("begin_task", "end_task"):
        own = getattr(kind, hook)

        def spy(self, task, own=own):
            own(self, task)
            seen.append(self.theta.clone())

        monkeypatch.setattr(kind, hook, spy)
    changes: dict[str, Any] = {
        "benchmark": {"name": "split-mnist", "tasks": 5, "scenario": "class", "train_samples": 640},
        "network": {"hidden": (50,)},
    }
    (record,) = train([config("cumulative", **changes)])
    assert len(seen) == 10
    assert all(torch.equal(seen[i], seen[i + 1]) for i in (1, 3, 5, 7))
    steps = sum(10 * (task + 1) + 12 for task in range(5))
    assert record.cost["samples_seen"] == 64 * steps
    assert record.accuracy.query("after_task == 4").accuracy.min() > 0.5
    (short,) = train([config("cumulative", settings={"iterations": 7}, **changes)])
    assert short.cost["samples_seen"] == 64 * 5 * (7 + 12), "as long at each task"
