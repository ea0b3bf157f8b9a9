"""The landscape in continual learning: right, without influence, alike in company and resumed."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal
from scipy.optimize import brentq
from scipy.sparse.linalg import LinearOperator, eigsh

import cl_bench
from cl_bench import benchmarks
from cl_bench.config import EvaluationConfig
from cl_bench.engine import train_stack
from cl_bench.engine.checkpoint import Checkpoint
from cl_bench.engine.learner import cross_entropy
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.errors import UserError
from cl_bench.landscape.loss import loss_along, mean_loss
from cl_bench.landscape.probe import LandscapeProbe
from cl_bench.plan import make_plan
from cl_bench.protocol import read
from cl_bench.results.store import RunStore
from tests.training import config, run_task, stack

SMALL = {
    "benchmark": {"train_samples": 640, "tasks": 3, "test_samples": 200},
    "network": {"hidden": (10,)},
    "training": {"batch_size": 32},
    "evaluation": {"landscape": 100},
}
PROBE = partial(LandscapeProbe, samples=100)


def train(configs, probe=PROBE, **options):
    return train_stack(configs, device="cpu", make_probe=probe, **options)


@pytest.fixture(scope="module")
def found():
    return train([config("ewc", seed, **SMALL) for seed in (0, 1)])


def test_every_task_is_measured_at_its_end_and_after_each_later_one(found):
    table = found[0].landscape
    places = list(zip(table["after_task"], table["task"], strict=True))
    assert sorted(places) == [(i, j) for i in range(3) for j in range(i + 1)]
    own = table[table["after_task"] == table["task"]]
    at = ["loss", "sharpness", "trace", "flatness", "flatness_sharpest", "variance"]
    assert (own[at] > 0).all(axis=None)
    later = table[table["after_task"] > table["task"]]
    assert (later[["loss", "distance"]] > 0).all(axis=None)
    assert later["sharpness"].isna().all()
    assert found[0].cost["landscape_bytes"] > 0
    assert found[0].cost["seconds"]["landscape"] > 0


@pytest.mark.parametrize("name", ["ewc", "er", "gdumb", "joint"])
def test_training_is_not_touched(name):
    configs = [config(name, 0, **SMALL)]
    (with_probe,), (without,) = train(configs), train(configs, probe=None)
    assert with_probe.weights_sha256 == without.weights_sha256
    assert_frame_equal(with_probe.accuracy, without.accuracy, check_exact=True)
    for cost in ("gradient_passes", "bytes_kept", "samples_seen"):
        assert with_probe.cost[cost] == without.cost[cost]
    assert without.landscape is None


def test_a_run_is_measured_alike_alone_and_in_a_stack(found):
    (alone,) = train([config("ewc", 1, **SMALL)])
    assert_frame_equal(alone.landscape, found[1].landscape, check_exact=True)


def test_a_stopped_run_is_measured_alike(found, tmp_path):
    class Stops(Checkpoint):
        def write(self, *args):
            super().write(*args)
            raise KeyboardInterrupt

    path = tmp_path / "c.safetensors"
    configs = [config("ewc", seed, **SMALL) for seed in (0, 1)]
    for steps in (15, 37):  # within the window of the first task, and of the second
        with pytest.raises(KeyboardInterrupt):
            train(configs, checkpoint=Stops(path, seconds=None, steps=steps))
    for again, whole in zip(train(configs, checkpoint=Checkpoint(path)), found, strict=True):
        assert again.weights_sha256 == whole.weights_sha256
        assert_frame_equal(again.landscape, whole.landscape, check_exact=True)


def test_curvature_flatness_and_the_quadratic_are_those_of_autograd_and_scipy():
    with torch.no_grad():
        strategy, streams = stack("naive")
        learner = strategy.learner
        probe = LandscapeProbe(learner, 100)
        task = TaskData(streams, 0)
        generator = torch.Generator().manual_seed(0)
        before = learner.theta.clone()
        for _ in range(8):  # a fluctuation with known directions
            noise = torch.randn(before.shape, generator=generator)
            learner.theta.copy_(before + 0.01 * noise)
            probe.look()
        batches = list(task.sample(100, "landscape"))
        own = probe.end_task(task)[0]
        minimum = learner.theta.clone()
        run_task(strategy, streams, 1)
        probe.look()
        left = probe.end_task(TaskData(streams, 1))[0]
    images = torch.cat([b.images for b in batches], 1)
    labels = torch.cat([b.labels for b in batches], 1)
    for run in range(2):

        def loss(weights, run=run):
            logits = learner.network.forward(weights.unsqueeze(0), images[run : run + 1])
            return cross_entropy(logits, Batch(images, labels[run : run + 1], task.mask)).sum()

        def product(vector, run=run, loss=loss):
            vector = torch.as_tensor(vector, dtype=torch.float32)
            return torch.autograd.functional.vhp(loss, minimum[run], vector)[1]

        size = learner.network.size
        operator = LinearOperator((size, size), matvec=lambda v, p=product: p(v).numpy())
        values, vectors = eigsh(operator, k=1, which="LA", tol=1e-4)
        top = torch.from_numpy(vectors[:, 0]).float()
        assert float(own["sharpness"][run]) == pytest.approx(values[0], rel=1e-3)
        step = learner.theta[run] - minimum[run]
        assert float(left["distance"][run]) == pytest.approx(float(step.norm()), rel=1e-5)
        quadratic = float(step @ product(step)) / 2
        assert float(left["quadratic"][run]) == pytest.approx(quadratic, rel=1e-3, abs=1e-6)
        assert float(left["loss"][run]) == pytest.approx(float(loss(learner.theta[run])), rel=1e-5)
        level = float(loss(minimum[run]))

        def growth(distance, sign, run=run, top=top, level=level, loss=loss):
            at = loss(minimum[run] + sign * distance * top)
            return float(np.log(float(at) / level)) - 1

        width = sum(brentq(growth, 0, 1e3, args=(sign,)) for sign in (1, -1))
        assert float(own["flatness_sharpest"][run]) == pytest.approx(width, rel=0.02)


def test_the_loss_along_lines_is_the_loss_of_the_weights_there():
    strategy, streams = stack("naive")
    learner = strategy.learner
    batches = list(TaskData(streams, 0).sample(100, "test"))
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(2, 3, learner.network.size, generator=generator) / 50
    distance = torch.rand(2, 6, generator=generator)
    along = loss_along(learner.network, learner.theta, batches, directions)(distance)
    both = torch.cat([directions, -directions], 1)
    at = learner.theta.unsqueeze(1) + distance.unsqueeze(-1) * both
    torch.testing.assert_close(along, mean_loss(learner.network, batches)(at), rtol=1e-5, atol=0)


def test_addresses_are_as_they_were_where_nothing_is_measured():
    assert "landscape" not in EvaluationConfig().model_dump(mode="json")
    assert EvaluationConfig(landscape=200).model_dump()["landscape"] == 200
    assert (
        config("ewc", 0, **SMALL).run_id != config("ewc", 0, **{**SMALL, "evaluation": {}}).run_id
    )


def test_the_table_comes_back_from_the_store(found, tmp_path):
    store = RunStore(tmp_path)
    for record in found:
        store.write(record)
    back = store.read(store.directory(found[0].config))
    assert_frame_equal(back.landscape, found[0].landscape, check_exact=True)
    tidy = cl_bench.load(tmp_path, table="landscape")
    assert set(tidy["seed"]) == {0, 1}
    assert len(tidy) == 2 * len(found[0].landscape)


def test_another_librarys_loop_is_refused():
    (protocol,) = read(
        None, strategies=["avalanche:Naive"], options={}, assignments=["evaluation.landscape=100"]
    )
    with pytest.raises(UserError, match=r"avalanche:Naive.*landscape"):
        make_plan(
            [protocol],
            lambda c: benchmarks.get(c, download=False),
            workers=1,
            is_stored=lambda c: False,
        )
