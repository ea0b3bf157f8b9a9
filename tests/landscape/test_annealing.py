"""A short training looked at on its way: what is found fits together and disturbs nothing."""

from __future__ import annotations

import pytest
import torch

from cl_bench.config import NetworkConfig
from cl_bench.landscape.annealing import annealing, look
from cl_bench.landscape.dynamics import Dynamics
from cl_bench.landscape.phases import Phases
from cl_bench.landscape.scene import Scene, log_spaced
from cl_bench.landscape.setting import Setting

SETTING = Setting(
    train_samples=1000,
    network=NetworkConfig(hidden=(12, 10)),
    epochs=10,
    window_epochs=5,
    leading=5,
    last=5,
    looks=4,
)
SEEDS = (0, 1, 2)


def looked_at(seeds, folder):
    with torch.no_grad():
        scene = Scene(Dynamics(SETTING, seeds), Phases(folder, seeds), lambda what, share: None)
        return scene, annealing(scene)["annealing"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return looked_at(SEEDS, tmp_path_factory.mktemp("annealing"))


def test_looks_are_from_the_start_to_the_end_and_dense_at_first():
    assert log_spaced(1000, 4) == [0, 1, 10, 100, 1000]
    assert log_spaced(5, 20) == [0, 1, 2, 3, 4, 5]
    assert log_spaced(0, 20) == [0]


def test_there_is_a_row_for_each_look_and_seed_of_training_and_of_its_control(trained):
    scene, rows = trained
    assert scene.looked_at == [0, 1, 6, 34, 200]
    steps = {"sgd": [0, 1, 6, 34, 200, 300], "quiet": [0, 1, 6, 34]}
    expected = [(name, t, s) for name, all_ in steps.items() for t in all_ for s in SEEDS]
    assert [(r["source"], r["step"], r["seed"]) for r in rows] == expected
    for row in rows:
        assert row["loss"] > 0
        assert 0 <= row["error"] <= 1
        assert row["temperature"] >= max(row["temperature_sharpest"], row["temperature_noisiest"])
        assert row["temperature_noisiest"] >= row["temperature_sharpest"] * 0.999
        assert row["sharpness"] >= row["curvature_noisiest"] - row["sharpness_error"] - 1e-4
        assert min(row["flatness_sharpest"], row["flatness_noisiest"]) > 0
    first, last = rows[0], rows[len(SEEDS) * 5]
    assert last["loss"] < first["loss"] / 3
    for name in ("loss", "sharpness", "temperature"):  # both start from the same weights
        assert rows[len(SEEDS) * 6][name] == first[name]


def test_keeping_weights_to_look_at_changes_nothing_in_the_training(trained):
    scene, _ = trained
    alone = Dynamics(SETTING, SEEDS)
    with torch.no_grad():
        alone.train_to(300)
    assert torch.equal(alone.learner.theta, scene.theta)


def test_a_row_does_not_depend_on_the_other_seeds(trained, tmp_path):
    _, rows = trained
    _, one = looked_at((1,), tmp_path)
    assert one == [row for row in rows if row["seed"] == 1]


def test_noise_falls_with_the_size_of_minibatches(trained):
    scene, _ = trained
    dynamics, studied = scene.dynamics, scene.studied
    sample = list(dynamics.task.sample(500, "test"))
    rate = dynamics.learner.learning_rate

    def total(size):
        parts = dynamics.task.minibatches(size, 1000 // size, "test")
        return look(studied, scene.theta, sample, parts, rate, dynamics.seeds).temperature

    # Without replacement: variance goes as 1/B - 1/1000.
    ratio = (1 / 10 - 1 / 1000) / (1 / 50 - 1 / 1000)
    torch.testing.assert_close(
        total(10) / total(50), torch.full((3,), ratio).double(), rtol=0.25, atol=0
    )
