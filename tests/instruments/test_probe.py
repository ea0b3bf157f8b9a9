"""The probe: right against dense algebra, blind to company and stops, and no part of training."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal
from scipy.optimize import brentq

from cl_bench import benchmarks
from cl_bench.conformance.stops import Stopped, Stops
from cl_bench.engine.checkpoint import Checkpoint
from cl_bench.engine.learner import Learner
from cl_bench.engine.losses import masked
from cl_bench.engine.networks import MLP
from cl_bench.engine.probe import Probe
from cl_bench.engine.stack import step
from cl_bench.engine.tasks import Streams, TaskData
from cl_bench.instruments.curvature import probes
from cl_bench.instruments.loss import loss_along, mean_loss
from cl_bench.instruments.probe import DIRECTIONS, SIGNS, LandscapeProbe
from cl_bench.planning import finding
from tests.training import config, train

CPU = torch.device("cpu")
SMALL = {"benchmark": {"train_samples": 640, "tasks": 3}, "network": {"hidden": (12,)}}
CLASSES = {
    "benchmark": {"name": "split-mnist", "scenario": "class", "tasks": 5, "train_samples": 320},
    "network": {"hidden": (12,)},
}
MAKE = partial(LandscapeProbe, samples=150)


def measured(configs, **given):
    return train(configs, make_probe=MAKE, **given)


def same(a, b):
    assert a.weights_sha256 == b.weights_sha256
    assert_frame_equal(a.landscape, b.landscape, check_exact=True)
    for name in ("gradient_passes", "bytes_kept", "landscape_bytes"):
        assert a.cost[name] == b.cost[name]


class Golden:
    """One seed of a tiny network in training, and all that the probe measures, done again."""

    def __init__(self, scenario):
        name = "permuted-mnist" if scenario == "domain" else "split-mnist"
        changes = {"name": name, "tasks": 2, "scenario": scenario, "train_samples": 640}
        run = config("naive", 3, benchmark=changes)
        benchmark = benchmarks.get(run.benchmark, download=False)
        self.streams = Streams(benchmark, [3], CPU)
        self.network = MLP(784, (2,), benchmark.n_outputs)
        self.learner = Learner(self.network, [run], self.streams.outputs, CPU)
        self.probe = LandscapeProbe(self.learner, 120)
        self.path: list[torch.Tensor] = []

    def train(self, index, steps=40):
        strategy = finding.load("naive")(self.learner, {})
        task = TaskData(self.streams, index)
        self.learner.task, self.learner.step_number, self.path = index, 0, []
        for number, batch in enumerate(task.minibatches(32, steps), start=1):
            step(strategy, batch)
            if self.probe.due(number, steps):
                self.probe.look()
                self.path.append(self.learner.theta[0].double())
        return self.probe.end_task(task)

    def loss(self, index):
        """Return the loss of a task by the weights [D] of one network, in float64."""
        batches = list(TaskData(self.streams, index).sample(120, "landscape"))
        (first, bias), (second, shift) = self.network.layers

        def of(theta):
            found = []
            for batch in batches:
                hidden = (batch.images[0].double() @ first.view(theta).T + bias.view(theta)).relu()
                logits = masked(hidden @ second.view(theta).T + shift.view(theta), batch.mask)
                right = logits.gather(-1, batch.labels[0][:, None])[:, 0]
                found.append(logits.logsumexp(-1) - right)
            return torch.cat(found).mean()

        return of


def flat_width(loss, theta, direction):
    level = float(loss(theta))

    def risen(distance):
        return math.log(float(loss(theta + distance * direction)) / level) - 1

    sides = []
    for sign in (1, -1):
        far = 0.1
        while risen(sign * far) < 0:
            far *= 1.5
        sides.append(brentq(lambda d, sign=sign: risen(sign * d), 0, far, xtol=1e-8))
    return sum(sides)


@pytest.mark.parametrize("scenario", ["domain", "class"])
def test_agrees_with_dense_algebra_and_root_finding(scenario):
    """Every column, in the scenario where all outputs compete and in one where they do not."""
    golden = Golden(scenario)
    (found,) = golden.train(0).values()
    figures = {name: float(value) for name, value in found.items()}
    theta, loss = golden.learner.theta[0].double(), golden.loss(0)
    hessian = torch.func.hessian(loss)(theta)
    values, vectors = torch.linalg.eigh(hessian)
    assert figures["loss"] == pytest.approx(float(loss(theta)), rel=1e-5)
    assert figures["sharpness"] == pytest.approx(float(values[-1]), rel=1e-3)
    signs = probes("hutchinson 0", [3], SIGNS, golden.network.size)[0].double()
    estimate = float(((signs @ hessian) * signs).sum(1).mean())
    error = math.sqrt(2 * float(hessian.square().sum() - hessian.diagonal().square().sum()) / SIGNS)
    assert figures["trace"] == pytest.approx(estimate, rel=1e-4)
    assert estimate == pytest.approx(float(hessian.trace()), abs=4 * error)

    moves = torch.stack(golden.path).numpy()
    moves = moves - moves.mean(0)
    directions = np.linalg.svd(moves, full_matrices=False)[2][:DIRECTIONS]
    widths = [flat_width(loss, theta, torch.from_numpy(each)) for each in directions]
    assert figures["variance"] == pytest.approx(np.mean(moves**2, 0).sum(), rel=1e-4)
    assert figures["flatness"] == pytest.approx(math.exp(np.log(widths).mean()), rel=0.01)
    sharp = flat_width(loss, theta, vectors[:, -1])
    assert figures["flatness_sharpest"] == pytest.approx(sharp, rel=0.01)

    later = golden.train(1)[0]
    step = golden.learner.theta[0].double() - theta
    assert float(later["loss"]) == pytest.approx(float(loss(theta + step)), rel=1e-5)
    assert float(later["distance"]) == pytest.approx(float(step.norm()), rel=1e-5)
    assert float(later["quadratic"]) == pytest.approx(float(step @ hessian @ step / 2), rel=1e-3)


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5)])
def test_the_loss_along_lines_is_the_loss_there(hidden):
    streams = Golden("class").streams
    network = MLP(784, hidden, 10)
    theta = network.initial(0)[None]
    directions = torch.nn.functional.normalize(torch.randn(1, 3, network.size), dim=2)
    batches = list(TaskData(streams, 0).sample(100, "test", 50))
    distance = torch.tensor([[0.5, 3.0, 20.0, 0.1, 2.0, 7.0]])
    at = theta[:, None] + distance[..., None] * torch.cat([directions, -directions], 1)
    along = loss_along(network, theta, batches, directions)(distance)
    torch.testing.assert_close(along, mean_loss(network, batches)(at), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ewc", "er", "gdumb", "joint"])
def test_training_does_not_feel_it(strategy):
    run = config(strategy, 1, **CLASSES)
    plain, watched = train([run])[0], measured([run])[0]
    assert plain.weights_sha256 == watched.weights_sha256
    for table in ("accuracy", "predictions"):
        assert_frame_equal(getattr(plain, table), getattr(watched, table), check_exact=True)
    for name in ("samples_seen", "gradient_passes", "bytes_kept"):
        assert plain.cost[name] == watched.cost[name]
    assert (plain.landscape, watched.cost["seconds"]["landscape"] > 0) == (None, True)
    assert plain.cost.keys() == watched.cost.keys() - {"landscape_bytes"}
    weights = sum(w.nbytes for w in watched.weights.values())
    # Each task's weights, and 150 images of a byte a pixel with their labels.
    assert watched.cost["landscape_bytes"] == 5 * (weights + 150 * (784 + 8))


@pytest.mark.slow
def test_a_convnets_figures_do_not_depend_on_company():
    changes = {
        "network": {"name": "convnet", "hidden": (4,)},
        "benchmark": {"train_samples": 32, "tasks": 2},
        "training": {"batch_size": 16},
    }
    make = partial(LandscapeProbe, samples=16)
    configs = [config("naive", seed, **changes) for seed in (1, 2)]
    together = train(configs, make_probe=make)
    same(together[1], train(configs[1:], make_probe=make)[0])
    landscape = together[0].landscape
    assert landscape is not None
    assert landscape["sharpness"][0] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "changes"), [("ewc", CLASSES), ("flatness", SMALL)])
def test_figures_do_not_depend_on_company_or_stops(tmp_path, strategy, changes):
    configs = [config(strategy, seed, **changes) for seed in (4, 1, 2)]
    together, alone = measured(configs), measured(configs[1:2])[0]
    same(together[1], alone)
    # A stop between two snapshots of the second task; two of the three runs go on from there.
    task = together[0].cost["samples_seen"] // 64 // len(together[0].tasks)
    stopping = Stops(tmp_path, {task + task // 3}, stopping=True)
    with pytest.raises(Stopped):
        measured(configs, checkpoint=stopping)
    rest = measured([configs[2], configs[1]], checkpoint=Checkpoint(stopping.path, seconds=None))
    for again, whole in zip(rest, (together[2], together[1]), strict=True):
        same(again, whole)


def test_a_row_for_every_task_after_every_task():
    table = measured([config("naive", 0, **SMALL)])[0].landscape.set_index(["after_task", "task"])
    assert list(table.index) == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    own = table[[after == task for after, task in table.index]]
    past = table.drop(own.index)
    left = ["distance", "quadratic"]
    assert own.drop(columns=left).notna().all(axis=None)
    assert own[left].isna().all(axis=None)
    assert past[["loss", *left]].notna().all(axis=None)
    assert past.drop(columns=["loss", *left]).isna().all(axis=None)


def test_a_run_that_diverges_has_no_figures_and_leaves_the_others_alone():
    good, wild = (
        config("ewc", 0, settings={"form": "explicit", "strength": strength}, **SMALL)
        for strength in (1.0, 1e12)
    )
    found = measured([good, wild])
    same(found[0], measured([good])[0])
    figures = found[1].landscape.set_index(["after_task", "task"])
    assert figures.loc[(0, 0)].notna().sum() == 6
    assert figures.loc[[(1, 1), (2, 2)]].isna().all(axis=None)


@pytest.mark.parametrize("strategy", ["naive", "joint"])
def test_a_probe_is_given_each_tasks_own_data(strategy):
    seen = []

    class Sizes(Probe):
        def due(self, step, steps):
            return False

        def look(self):
            raise AssertionError

        def end_task(self, task):
            seen.append((task.index, task.sizes))
            return {}

    (record,) = train([config(strategy, 0, **SMALL)], make_probe=Sizes)
    assert seen == [(task, [640]) for task in range(3)]
    assert record.landscape is None


@pytest.mark.parametrize(("steps", "first", "count"), [(1000, 804, 50), (78, 2, 39), (3, 1, 3)])
def test_the_window_is_the_last_steps_of_a_task(steps, first, count):
    probe = LandscapeProbe(Golden("domain").learner, 100)
    due = [step for step in range(1, steps + 1) if probe.due(step, steps)]
    assert (due[0], due[-1], len(due)) == (first, steps, count)
    assert len(set(np.diff(due))) == 1
