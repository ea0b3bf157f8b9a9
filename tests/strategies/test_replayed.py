"""ER-ACE, FDR and MIR against their papers' losses and choices, run by run in plain torch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cl_bench.config import Scenario
from cl_bench.engine.stack import step
from tests.strategies.test_rehearsal import RATE, begun, cross_entropy, forward, slope


def follows(strategy, batch, loss):
    """Check that a step is one of gradient descent on loss(theta, run)."""
    before = strategy.theta.clone()
    expected = [
        before[run] - RATE * slope(lambda theta, run=run: loss(theta, run), before[run])
        for run in (0, 1)
    ]
    step(strategy, batch)
    assert (strategy.theta - before).norm() > 1e-3
    torch.testing.assert_close(strategy.theta, torch.stack(expected), rtol=1e-4, atol=1e-6)


def one_task_on(name, scenario=None, **settings):
    """Return a strategy after a task, and a minibatch of few classes of the next."""
    strategy, batch = begun(name, scenario=scenario, buffer_size=60, **settings)
    few = batch.labels[:, :4].sort(1).values
    assert (few[0] != few[1]).any()
    batch.images, batch.labels = batch.images[:, :4], batch.labels[:, :4]
    return strategy, batch


# --- ER-ACE ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [Scenario.DOMAIN, Scenario.TASK])
def test_er_ace_lets_new_samples_compete_among_their_own_classes(scenario):
    strategy, batch = one_task_on("er-ace", scenario, replay_batch_size=20)
    kept = strategy.replayed()

    def loss(theta, run):
        logits, labels = forward(strategy, theta, batch.images[run]), batch.labels[run]
        present = labels.unique()
        place = (labels.unsqueeze(1) == present).long().argmax(1)
        new = functional.cross_entropy(logits[:, present], place)
        return new + cross_entropy(strategy, theta, kept, run)

    follows(strategy, batch, loss)


def test_er_ace_begins_as_plain_training():
    strategy, batch = begun("er-ace", tasks=0, buffer_size=60)
    follows(strategy, batch, lambda theta, run: cross_entropy(strategy, theta, batch, run))


# --- FDR ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [Scenario.DOMAIN, Scenario.TASK])
def test_fdr_holds_the_probabilities_of_each_tasks_end(scenario):
    strategy, batch = one_task_on("fdr", scenario, replay_batch_size=20)
    strategy.alpha = torch.tensor([[0.7], [3.0]])
    kept, old = strategy.replayed(), strategy.theta.clone()
    assert (kept.tasks == 0).all()

    def said(theta, run):
        logits = forward(strategy, theta, kept.images[run])
        return (logits[:, :4] if scenario is Scenario.TASK else logits).softmax(1)

    strategy.theta.add_(0.02 * torch.randn_like(old))  # the task has gone on for a while

    def loss(theta, run):
        change = (said(theta, run) - said(old[run], run)).norm(dim=1).mean()
        return cross_entropy(strategy, theta, batch, run) + strategy.alpha[run] * change

    follows(strategy, batch, loss)


# --- MIR ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [Scenario.DOMAIN, Scenario.TASK])
def test_mir_replays_what_a_trial_step_harms_most(scenario):
    strategy, batch = one_task_on("mir", scenario, replay_batch_size=8, candidates=40)
    drawn = strategy.buffer.draw(40, "candidates")
    chosen = []
    for run in (0, 1):
        theta = strategy.theta[run]
        new = slope(lambda t, run=run: cross_entropy(strategy, t, batch, run), theta)
        harm = []
        for number in range(40):
            one = strategy.buffer.draw(40, "candidates")
            one.images, one.labels = (v[:, number : number + 1] for v in (one.images, one.labels))
            if one.mask is not None and one.mask.dim() == 3:
                one.mask = one.mask[:, number : number + 1]
            after, before = (
                cross_entropy(strategy, at, one, run) for at in (theta - RATE * new, theta)
            )
            harm.append(float(after - before))
        chosen.append(torch.tensor(harm).topk(8).indices)
    joined = strategy.begin_step(batch)
    for run in (0, 1):
        found = joined.parts["replay"]
        assert torch.equal(found.images[run], drawn.images[run][chosen[run]])
        assert torch.equal(found.labels[run], drawn.labels[run][chosen[run]])
    assert joined.parts["fresh"] is batch


def test_mir_trains_on_all_that_is_kept_while_that_is_little():
    strategy, batch = begun("mir", tasks=0, buffer_size=60, replay_batch_size=40)
    step(strategy, batch)
    assert strategy.buffer.filled == 32
    joined = strategy.begin_step(batch)
    assert joined.parts["replay"].labels.shape == (2, 40)


def test_a_trial_step_is_counted_as_cost():
    strategy, batch = begun("mir", buffer_size=60, replay_batch_size=32, candidates=48)
    before = strategy.learner.gradient_passes
    size = strategy.learner.batch_size
    step(strategy, batch)
    spent = strategy.learner.gradient_passes - before
    assert spent == pytest.approx((32 + 64) / size + 2 * 48 / size / 3)
