"""A whole small study: the same by itself, in company, and resumed; its record; its controls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cl_bench.cli.app import run_app
from cl_bench.config import NetworkConfig, OptimizerConfig
from cl_bench.errors import UserError
from cl_bench.instruments.flatness import sides
from cl_bench.landscape import findings, study
from cl_bench.landscape.controls import layer_alone, noise_power, random_walk
from cl_bench.landscape.dynamics import Dynamics
from cl_bench.landscape.layer import Landscape, Studied
from cl_bench.landscape.setting import NAMED, Setting, named
from cl_bench.landscape.sketch import Sketch
from cl_bench.landscape.trajectory import Moments, Snapshots, follow

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def small(**changes):
    return Setting(
        **{
            "dataset": "mnist-5k",
            "train_samples": 400,
            "network": NetworkConfig(hidden=(12, 10)),
            "batch_size": 20,
            "epochs": 4,
            "window_epochs": 5,
            "seeds": 2,
            "leading": 6,
            "last": 20,
            "spread": 3,
            "looks": 5,
            **changes,
        }
    )


def silent(what, share):
    pass


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    study.measure(study.Part(small(), (0, 1), folder), silent)
    return folder


@pytest.fixture(scope="module")
def found(together):
    return study.finish(small(), together, datetime.now(UTC))


def test_every_source_has_its_directions(found):
    rows = found.tables["directions"]
    assert set(rows["source"]) == {
        "sgd",
        "random",
        "walk",
        "permuted",
        "layer",
        "isotropic",
        "local",
    }
    own = rows.query("source == 'sgd' and analysis == 'raw' and seed == 0")
    assert list(own["index"]) == small().directions(120)
    assert (own["variance"].diff().dropna() <= 0).all()
    assert (own["error"] <= 0.02 * own["flatness"]).all()
    assert [verdict.verdict for verdict in found.verdicts] == ["too few seeds"] * 3
    training = found.tables["training"].set_index(["seed", "epoch"])["loss"]
    assert training[0, 9.0] < training[0, 4.0]


def test_noise_and_annealing_are_in_the_record(found):
    own = found.tables["directions"].query("source == 'sgd'")
    noise = found.tables["noise"]
    assert noise["variance"].tolist() == own["variance"].tolist()
    real = np.isfinite(noise["flatness"])
    assert noise["flatness"][real].tolist() == own["flatness"].to_numpy()[real].tolist()
    assert (noise[["temperature", "gradient_power", "correlation_time"]] > 0).all(axis=None)
    assert (noise["gradient_power"] >= noise["temperature"] * (1 - 1e-6)).all()
    assert noise["predicted"].notna().any()
    assert set(found.tables["annealing"]["source"]) == {"sgd", "quiet"}
    assert {"noise_relations", "theory", "annealing_figures"} <= set(found.tables)
    assert {"fixed_relations", "residual_exponents"} <= set(found.tables)


def test_training_and_simulations_are_seen_along_the_same_directions(found):
    fixed = found.tables["fixed_basis"].query("basis == 'hessian' and seed == 1")
    seen = fixed.pivot_table(index="index", columns=["source", "sampling"], values="curvature")
    assert {"training", "layer alone", "measured", "turned", "whole"} <= set(seen.columns.levels[0])
    assert (seen.nunique(axis=1) == 1).all()
    assert (seen.diff().dropna() <= 1e-7).all(axis=None)
    assert (fixed["variance"] > 0).all()


def test_isotropic_noise_takes_the_place_of_the_minibatches_noise():
    with torch.no_grad():
        dynamics = Dynamics(small(seeds=1), (0,))
        dynamics.train_to(60)
        studied = Studied(dynamics.network, 1)
        landscape = Landscape(studied, dynamics.learner.theta, dynamics.sweep())
        rate = float(dynamics.setting.optimizer.learning_rate)
        steps, weights = [], [landscape.weights.clone()]

        class Steps(Moments):
            def __init__(self):
                pass

            def add(self, now):
                steps.append((now - weights[-1]) / rate)
                weights.append(now.clone())

        layer_alone(landscape, dynamics, 20, Steps(), isotropic=True)
        power = float(noise_power(landscape, dynamics, landscape.weights))
        moved = torch.cat(steps).double()
        spread = (moved - moved.mean(0)).square().sum(0) * 20 / 19 / 20
        # The total is the minibatches' own, and no direction has more than its share.
        assert float(spread.sum()) == pytest.approx(power, rel=0.2)
        share = torch.linalg.eigvalsh(torch.cov(moved.T))[-1] / power
        plain = minibatch_share(landscape, dynamics)
        assert float(share) < 0.25 < plain


def minibatch_share(landscape, dynamics):
    """Return the share of minibatch noise's power in its first principal direction."""
    rows = torch.arange(400).split(20)
    each = [landscape.gradient(landscape.weights, part.unsqueeze(0)) for part in rows]
    covariance = torch.cov(torch.cat(each).T.double())
    return float(torch.linalg.eigvalsh(covariance)[-1] / covariance.trace())


def test_a_seed_is_the_same_in_any_company(together, found, tmp_path):
    study.measure(study.Part(small(), (1,), tmp_path), silent)
    own = [study.Phases(tmp_path, (1,)).tables(name, dict) for name in study.MEASUREMENTS]
    for name in ("directions", "noise", "annealing", "fixed_basis", "residuals"):
        alone = pd.DataFrame([row for tables in own for row in tables.get(name, [])])
        beside = found.tables[name].query("seed == 1").reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, beside, check_exact=True)


def test_what_was_finished_is_not_done_again(together, monkeypatch):
    def never(scene):
        raise AssertionError("measured again")

    monkeypatch.setattr(study, "MEASUREMENTS", dict.fromkeys(study.MEASUREMENTS, never))
    monkeypatch.setattr(Dynamics, "train_to", never)
    study.measure(study.Part(small(), (0, 1), together), silent)


def test_a_study_that_was_stopped_goes_on_with_the_same_numbers(together, found, tmp_path):
    calls = []

    def stop(what, share):
        calls.append(what)
        if what == "random":
            raise KeyboardInterrupt

    part = study.Part(small(), (0, 1), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        study.measure(part, stop)
    calls.clear()
    study.measure(part, lambda what, share: calls.append(what))
    assert "train" not in calls
    again = study.finish(small(), tmp_path, datetime.now(UTC))
    pd.testing.assert_frame_equal(
        again.tables["directions"], found.tables["directions"], check_exact=True
    )


def test_the_record_comes_back_as_it_was_written(found, tmp_path):
    path = findings.write(tmp_path, found)
    back = findings.read(path)
    assert back.setting == found.setting
    assert back.verdicts == found.verdicts
    for name, frame in found.tables.items():
        pd.testing.assert_frame_equal(back.tables[name], frame, check_exact=True)
    assert findings.exists(tmp_path, small())
    (path / "directions.parquet").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"directions\.parquet is damaged"):
        findings.read(path)
    assert not findings.exists(tmp_path, small())
    findings.write(tmp_path, found)
    assert findings.exists(tmp_path, small())


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_by_layer_the_loss_is_that_of_the_whole_network(layer):
    with torch.no_grad():
        dynamics = Dynamics(small(), (0, 1))
        dynamics.train_to(30)
        studied = Studied(dynamics.network, layer)
        landscape = Landscape(studied, dynamics.learner.theta, dynamics.sweep())
        move = dynamics.normal("test", 3, studied.size)
        directions = move / move.norm(dim=2, keepdim=True)
        at = landscape.weights.unsqueeze(1) + 0.1 * move
        whole = studied.put(dynamics.learner.theta.unsqueeze(1), at)
        for k in range(3):
            expected, _ = dynamics.loss_and_error(whole[:, k].contiguous())
            torch.testing.assert_close(landscape.loss(at)[:, k], expected, rtol=1e-5, atol=0)
        fast = landscape.sides(directions, relative_error=0.002)
        slow = sides(landscape.loss, landscape.weights, directions, relative_error=0.002)
        torch.testing.assert_close(fast.left, slow.left, rtol=0.005, atol=0)
        torch.testing.assert_close(fast.right, slow.right, rtol=0.005, atol=0)


def test_the_gradient_by_the_layer_is_that_of_its_loss():
    with torch.no_grad():
        dynamics = Dynamics(small(seeds=1), (0,))
        dynamics.train_to(30)
        studied = Studied(dynamics.network, 1)
        landscape = Landscape(studied, dynamics.learner.theta, dynamics.sweep())
        rows = torch.arange(landscape.inputs.shape[1]).unsqueeze(0)
        gradient = landscape.gradient(landscape.weights, rows)
        move = gradient / gradient.norm()
        ends = torch.stack([landscape.weights + s * 1e-2 * move for s in (1, -1)], 1)
        up, down = landscape.loss(ends)[0]
    assert float(gradient.norm()) == pytest.approx(float((up - down) / 2e-2), rel=1e-2)


@pytest.mark.parametrize(
    "changes",
    [
        {"layer": None},
        {"layer": 3, "network": NetworkConfig(name="convnet", hidden=(8,)), "epochs": 1},
    ],
    ids=["all weights", "convnet"],
)
def test_other_weights_can_be_studied(changes, tmp_path):
    setting = small(window_epochs=1, leading=3, last=5, seeds=1, **changes)
    study.measure(study.Part(setting, (0,), tmp_path), silent)
    rows = study.finish(setting, tmp_path, datetime.now(UTC)).tables["directions"]
    assert np.isfinite(rows[["variance", "flatness"]].to_numpy()).all()


@pytest.mark.parametrize("sampling", ["with", "without"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "rmsprop"])
def test_training_goes_on_from_a_state_with_the_same_bits(name, sampling):
    optimizer = OptimizerConfig(name=name, learning_rate=0.01)
    with torch.no_grad():
        dynamics = Dynamics(small(optimizer=optimizer, sampling=sampling), (0, 1))
        dynamics.train_to(25)
        state = dynamics.state()
        dynamics.train_to(60)
        first = dynamics.learner.theta.clone()
        dynamics.load_state(state)
        assert not torch.equal(first, dynamics.learner.theta)
        dynamics.train_to(60)
        assert torch.equal(first, dynamics.learner.theta)


def test_without_replacement_every_image_comes_once_an_epoch_and_with_it_not():
    def times(sampling):
        dynamics = Dynamics(small(sampling=sampling, seeds=1), (0,))
        images = torch.cat([b.images[0] for b in dynamics.minibatches(0, dynamics.steps(1))])
        return torch.unique(images, dim=0, return_counts=True)[1]

    assert int(times("without").max()) == 1
    assert int(times("with").max()) > 1


def test_a_walk_has_the_covariance_it_is_given():
    dynamics = Dynamics(small(seeds=1), (0,))
    factor = torch.tensor([[[2.0, 1.0], [0.0, 0.5]]])
    points: list[torch.Tensor] = []
    random_walk(dynamics, factor, 20_000, lambda at: points.append(at.clone()))
    assert len(points) == 20_000
    steps = torch.stack(points, 1).double().diff(dim=1)[0]
    expected = (factor[0].T @ factor[0]).double()
    torch.testing.assert_close(steps.T @ steps / len(steps), expected, rtol=0.05, atol=0.02)


def test_thinned_snapshots_find_what_exact_moments_find():
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(0, -2, 30)
    path = (torch.randn(1, 900, 30, generator=generator) * scale).cumsum(1)
    exact, thinned = Moments(1, 30, CPU), Snapshots(1, 30, CPU, 900)
    for step in range(900):
        exact.add(path[:, step])
        thinned.add(path[:, step])
    for detrended in (False, True):
        a = exact.components(detrended=detrended, count=5)
        b = thinned.components(detrended=detrended, count=5)
        np.testing.assert_allclose(a.variances.float(), b.variances, rtol=1e-3)
        cosine = (a.directions.float() * b.directions).sum(2).abs()
        np.testing.assert_allclose(cosine, 1, atol=1e-3)
        along = exact.variance_along(a.directions, detrended=detrended)
        np.testing.assert_allclose(along, a.variances, rtol=1e-6)
        full = exact.components(detrended=detrended).variances[:, :5]
        np.testing.assert_allclose(a.variances, full, rtol=1e-9)


def test_how_a_trajectory_is_followed_goes_by_the_number_of_weights_or_as_is_said():
    dynamics = Dynamics(small(), (0, 1))
    cases: list[Any] = [
        (None, 100, Moments),
        (None, 3000, Snapshots),
        ("sketch", 3000, Sketch),
        ("exact", 3000, Moments),
    ]
    for kind, size, expected in cases:
        assert isinstance(follow(kind, dynamics, size, expected=10, count=5), expected)


def test_directions_are_all_of_the_leading_ones_and_some_of_the_rest():
    chosen = Setting().directions(2500)
    assert chosen[:50] == list(range(50))
    assert chosen[-1] == 399
    assert len(chosen) == len(set(chosen)) == 50 + len(chosen[50:]) > 90
    assert Setting().directions(30) == list(range(30))


def test_named_settings_are_settings_and_differ():
    ids = {Setting(**named(name)).setting_id for name in NAMED}
    assert len(ids) == len(NAMED)
    with pytest.raises(UserError, match="did you mean paper"):
        named("papers")


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="layers 0 to 2"):
        Setting(layer=3)


def run(out, *options):
    return run_app(["landscape", "--out", str(out), *options])


@pytest.mark.filterwarnings("error")
def test_the_command_measures_once_and_prints_relations_and_verdict(tmp_path, capsys):
    options = ["--setting", "quick", "--seeds", "2", "--workers", "2", "--format", "json"]
    for change in small().model_dump(mode="json", exclude={"seeds", "network"}).items():
        options += ["--set", f"{change[0]}={json.dumps(change[1])}"]
    options += ["--set", "network.hidden=[12, 10]"]
    assert run(tmp_path, *options) == 0
    first = capsys.readouterr()
    assert json.loads(first.out)["verdicts"][0]["verdict"] == "too few seeds"
    page = (tmp_path / "landscape" / "landscape.html").read_text()
    assert "Plotly.newPlot" in page
    assert "too few seeds" in page
    pictures = list((tmp_path / "landscape").glob("quick-*.png"))
    assert len(pictures) == 5 or "no PNG files" in first.err
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert run(tmp_path, *options) == 0
    second = capsys.readouterr()
    assert "nothing to measure" in second.err
    assert second.out == first.out
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("landscape-")] == [
        f"landscape-{small().setting_id}"
    ]


def test_an_interrupted_study_says_that_it_goes_on(tmp_path):
    command = [
        sys.executable,
        "-m",
        "cl_bench",
        "landscape",
        "--setting",
        "quick",
        "--workers",
        "2",
    ]
    command += ["--set", "epochs=9999", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    while not (line := process.stderr.readline()).endswith(": train\n"):
        assert line
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=90)
    assert process.returncode == 130
    assert "the same command goes on from there" in rest
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--setting", "papers"], "did you mean paper"),
        (["--set", "batch=5"], "did you mean batch_size"),
        (["--set", "batch_size=0"], "batch_size"),
        (["--set", "layer=7"], "layers 0 to 2"),
        (["--set", "optimizer.name=lion"], "optimizer.name"),
        (["--seeds", "0"], "seeds"),
    ],
)
def test_mistakes_are_one_line(options, message, tmp_path, capsys):
    assert run(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
