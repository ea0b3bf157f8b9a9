"""OGD and GPM against dense linear algebra, and what a projection promises: outputs that stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cl_bench.config import Scenario
from cl_bench.engine.stack import step
from cl_bench.engine.tasks import TaskData
from tests.training import config, run_task, stack, train

RUN = 1


def drawn(streams, task, count, purpose):
    """Return images and labels of run 1 that a strategy sees at a task's end."""
    batch = next(iter(TaskData(streams, task).sample(count, purpose)))
    return batch.images[RUN], batch.labels[RUN]


def projected(strategy, gradient):
    """Return what a strategy makes of a gradient [R, D]."""
    found = gradient.clone()
    strategy.free(found)
    return found


# --- OGD ------------------------------------------------------------------------------------


def output_gradients(strategy, samples, variant):
    """Return the gradients of the kept outputs of run 1, one after another, [k, D]."""
    found = []
    for image, label in zip(*samples, strict=True):
        leaf = strategy.theta[RUN].clone().requires_grad_()
        logits = strategy.learner.network.forward(leaf[None], image[None, None])[0, 0]
        chosen = {"gtl": [logits[label]], "ave": [logits.mean()], "all": list(logits)}[variant]
        found += [torch.autograd.grad(y, leaf, retain_graph=True)[0] for y in chosen]
    return torch.stack(found).double()


@pytest.mark.parametrize("variant", ["gtl", "ave", "all"])
def test_ogd_projects_on_the_complement_of_all_kept_gradients(variant):
    strategy, streams = stack("ogd", (8, 6), variant=variant, memory=40)
    many = 10 if variant == "all" else 1
    run_task(strategy, streams, 0)
    first = output_gradients(strategy, drawn(streams, 0, 40 // many, "directions"), variant)
    gradient = torch.randn_like(strategy.theta)
    for kept in (first, None):
        if kept is None:
            run_task(strategy, streams, 1)
            new = output_gradients(strategy, drawn(streams, 1, 20 // many, "directions"), variant)
            kept = torch.cat([first[:20], new])
        g = gradient[RUN].double()
        held = kept.T @ torch.linalg.lstsq(kept.T, g, driver="gelsd").solution
        assert held.norm() > 0.01 * g.norm()
        torch.testing.assert_close(
            projected(strategy, gradient)[RUN].double(), g - held, rtol=0, atol=2e-4
        )


def test_ogd_shares_its_memory_among_the_tasks():
    strategy, streams = stack("ogd", memory=31)
    sizes = []
    for task in range(3):
        run_task(strategy, streams, task, steps=2)
        sizes.append(strategy.counts)
        assert strategy.factors[0][0].shape[:2] == (2, sum(strategy.counts))
    assert sizes == [(31,), (15, 15), (10, 10, 10)]


def test_ogd_gives_a_gradient_that_is_kept_twice_no_weight():
    strategy, streams = stack("ogd", memory=20)
    run_task(strategy, streams, 0)
    gradient = torch.randn_like(strategy.theta)
    once = projected(strategy, gradient)
    rows = [torch.cat([a, a[:, :3]], 1) for pair in strategy.factors for a in pair]
    strategy.keep(list(zip(rows[::2], rows[1::2], strict=True)))
    torch.testing.assert_close(projected(strategy, gradient), once, rtol=0, atol=1e-4)


# --- GPM ------------------------------------------------------------------------------------


def plain_gpm(bases, inputs, shares):
    """Return the bases [in + 1, r] that the paper's steps give, by numpy's SVD."""
    found = []
    for basis, columns, share in zip(bases, inputs, shares, strict=True):
        rest = columns - basis @ (basis.T @ columns)
        u, s, _ = np.linalg.svd(rest, full_matrices=False)
        total = (columns**2).sum()
        held = total - (rest**2).sum()
        rank = 0
        while held < share * total:
            held += s[rank] ** 2
            rank += 1
        found.append(np.concatenate([basis, u[:, :rank]], 1))
    return found


def inputs_of(strategy, images):
    """Return the inputs of every layer of run 1 as columns, a 1 at the end of each."""
    network = strategy.learner.network
    named = {k: v.double().numpy() for k, v in network.unstack(strategy.theta[RUN]).items()}
    value, found = images.double().numpy().T, []
    for i in range(len(named) // 2):
        found.append(np.concatenate([value, np.ones((1, value.shape[1]))]))
        bias = named[f"layers.{i}.bias"][:, None]
        value = np.maximum(named[f"layers.{i}.weight"] @ value + bias, 0)
    return found


def test_gpm_holds_the_inputs_that_the_svd_finds():
    settings = {"samples": 50, "input_threshold": 0.9, "threshold": 0.95, "increase": 0.01}
    strategy, streams = stack("gpm", (12, 9), **settings)
    bases = [np.zeros((n, 0)) for n in (785, 13, 10)]
    for task in range(3):
        run_task(strategy, streams, task)
        images, _ = drawn(streams, task, 50, "representation")
        shares = np.array([0.9, 0.95, 0.95]) + 0.01 * task
        bases = plain_gpm(bases, inputs_of(strategy, images), shares)
        for layer, basis in enumerate(bases):
            assert strategy.ranks[layer][RUN] == basis.shape[1]
            found = strategy.bases[layer][RUN].double().numpy()
            np.testing.assert_allclose(found @ found.T, basis @ basis.T, atol=1e-4)
            assert not found[:, basis.shape[1] :].any()
    gradient = torch.randn_like(strategy.theta)
    blocks = strategy.learner.network.layer_blocks
    for layer, basis in enumerate(bases):
        before = blocks.block(gradient, layer)[RUN].double().numpy()
        after = blocks.block(projected(strategy, gradient), layer)[RUN].numpy()
        np.testing.assert_allclose(after, before - before @ basis @ basis.T, atol=1e-4)


def test_gpm_at_full_threshold_leaves_what_was_seen_as_it_was():
    # Fewer samples than a layer has units: their inputs do not span everything.
    strategy, streams = stack("gpm", (60, 50), samples=25, input_threshold=1.0, threshold=1.0)
    run_task(strategy, streams, 0, steps=20)
    image = next(iter(TaskData(streams, 0).sample(25, "representation"))).images
    before, start = strategy.learner.network.forward(strategy.theta, image), strategy.theta.clone()
    run_task(strategy, streams, 1, steps=20)
    assert (strategy.theta - start).norm() > 0.5
    after = strategy.learner.network.forward(strategy.theta, image)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)


def test_gpm_widened_for_another_run_gives_the_same_bits():
    strategy, streams = stack("gpm", (100, 100))
    run_task(strategy, streams, 0)
    gradient = torch.randn_like(strategy.theta)
    narrow = projected(strategy, gradient)
    strategy.widths = [width + 128 for width in strategy.widths]
    assert torch.equal(projected(strategy, gradient), narrow)


# --- both -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ogd", "gpm"])
def test_at_every_step_the_gradient_is_projected(name):
    strategy, streams = stack(name, every=1)
    run_task(strategy, streams, 0)
    task = TaskData(streams, 1)
    strategy.learner.task, strategy.learner.step_number = 1, 0
    strategy.begin_task(task)
    for batch in task.minibatches(32, 3):
        before = strategy.theta.clone()
        step(strategy, batch)
        free = projected(strategy, strategy.learner.gradient)
        assert (free - strategy.learner.gradient).norm() > 0.1 * free.norm()
        torch.testing.assert_close(strategy.theta, before - 0.1 * free, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["ogd", "gpm"])
def test_a_tasks_way_is_free_at_its_end_whenever_it_was_projected(name):
    strategy, streams = stack(name, every=4)
    run_task(strategy, streams, 0)
    start = strategy.theta.clone()
    kept, strategy.remember = strategy.remember, lambda task: None
    run_task(strategy, streams, 1, steps=6)
    move = strategy.theta - start
    assert move.norm() > 0.1
    torch.testing.assert_close(projected(strategy, move), move, rtol=0, atol=1e-5)
    strategy.remember = kept


@pytest.mark.parametrize("name", ["ogd", "gpm"])
def test_runs_of_different_ranks_have_the_bits_they_have_alone(name):
    changes = {"benchmark": {"name": "split-mnist", "scenario": "domain", "train_samples": 640}}
    settings = {"memory": 200} if name == "ogd" else {}
    configs = [config(name, seed, settings=settings, **changes) for seed in range(3)]
    together = train(configs)
    for number in (0, 2):
        alone = train([configs[number]])[0]
        assert alone.weights_sha256 == together[number].weights_sha256
        assert alone.cost["bytes_kept"] == together[number].cost["bytes_kept"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ogd", "gpm"])
@pytest.mark.parametrize("scenario", [Scenario.TASK, Scenario.DOMAIN])
def test_a_projection_forgets_less_than_plain_training(name, scenario):
    benchmark = {"train_samples": 3000, "test_samples": 1000, "tasks": 3, "scenario": scenario}
    if scenario is Scenario.TASK:
        benchmark |= {"name": "split-mnist", "tasks": 5, "train_samples": 6000}
    last = benchmark["tasks"] - 1
    forgot = {}
    for each in ("naive", name):
        table = train([config(each, benchmark=benchmark)])[0].accuracy
        after = table.query(f"after_task == {last} and task < {last}").accuracy.mean()
        learnt = table.query(f"after_task == task and task < {last}").accuracy.mean()
        forgot[each] = learnt - after
    assert forgot[name] < 0.6 * forgot["naive"]
