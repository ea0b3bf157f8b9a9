"""SGD in the quadratic of a network: its samples against the loss's own derivatives, its variance
against closed forms, its noises against what they keep and what they forget."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from cl_bench.config import NetworkConfig
from cl_bench.landscape import quadratic
from cl_bench.landscape.dynamics import Dynamics
from cl_bench.landscape.layer import Landscape, Studied
from cl_bench.landscape.same_landscape import fixed_relations, residual_exponents
from cl_bench.landscape.setting import Setting
from cl_bench.landscape.theory import predicted_variance
from cl_bench.landscape.trajectory import Moments, MovingMean, Projections

RATE, BATCH, IMAGES = 0.1, 5, 200
CURVATURE = torch.tensor([5.0, 0.5, 0.1, 0.01], dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gradients(size=4, images=IMAGES):
    """Per-sample gradients of mean 0 whose directions go together."""
    mix = torch.randn(size, size, generator=generator(1), dtype=torch.float64)
    drawn = torch.randn(images, size, generator=generator(2), dtype=torch.float64) @ mix
    return drawn - drawn.mean(0)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_samples_make_up_the_loss_of_the_network(layer):
    setting = Setting(
        dataset="mnist-5k",
        train_samples=400,
        network=NetworkConfig(hidden=(12, 10)),
        batch_size=20,
    )
    with torch.no_grad():
        dynamics = Dynamics(setting, (0, 1))
        dynamics.train_to(60)
        studied = Studied(dynamics.network, layer)
        landscape = Landscape(studied, dynamics.learner.theta, dynamics.sweep())
        drawn = dynamics.normal("test", 3, studied.size)
        directions = drawn / drawn.norm(dim=2, keepdim=True)
        hessian = directions @ landscape.hessian()(directions).transpose(1, 2)
        rows = torch.arange(400).expand(2, -1)
        gradient = directions @ landscape.gradient(landscape.weights, rows).unsqueeze(2)
        for run in range(2):
            found = quadratic.samples(landscape, run, directions[run])
            mean = torch.einsum("nck,ncl->kl", found.roots, found.roots) / 400
            torch.testing.assert_close(mean, hessian[run], rtol=1e-3, atol=1e-6)
            torch.testing.assert_close(
                found.gradients.mean(0).float(), gradient[run, :, 0], rtol=1e-3, atol=1e-6
            )
            single = landscape.gradient(landscape.weights, rows[:, 7:8])[run]
            torch.testing.assert_close(
                found.gradients[7].float(), directions[run] @ single, rtol=1e-3, atol=1e-6
            )


@pytest.mark.parametrize("replacement", [False, True])
def test_the_variance_is_the_closed_forms(replacement):
    epoch, own = IMAGES // BATCH, gradients()
    spread = quadratic.minibatch_variance(own, BATCH) / CURVATURE.square()
    steps = 10 * epoch
    expected = predicted_variance(
        CURVATURE, spread, RATE, window=steps, epoch=None if replacement else epoch
    )
    found = []
    for seed in range(150):
        path = quadratic.sgd(
            CURVATURE,
            own,
            RATE,
            batch=BATCH,
            steps=steps,
            generator=generator(seed),
            replacement=replacement,
        )
        found.append(path.var(0, correction=0))
    each = torch.stack(found)
    error = each.std(0) / len(found) ** 0.5
    # With replacement batches hold a sample twice: their variance is larger by 1 + (B - 1) / n.
    assert ((each.mean(0) - expected).abs() < 4 * error + 0.03 * expected).all()


def test_noises_keep_the_power_and_forget_what_they_say():
    own = gradients(30, 2000)
    own = own * torch.logspace(0, -2, 30, dtype=torch.float64)
    power = own.square().sum(1).mean()
    for name, change in quadratic.NOISES.items():
        made = change(own, generator())
        assert float(made.square().sum(1).mean() / power) == pytest.approx(1, rel=0.02), name
        assert float(made.mean(0).abs().max()) < 1e-9
    apart = quadratic.apart(own, generator())
    torch.testing.assert_close(apart.square().mean(0), own.square().mean(0))
    before, after = (abs(np.corrcoef(g.T.numpy()) - np.eye(30)).mean() for g in (own, apart))
    assert after < 0.03 < before
    dealt = quadratic.dealt(own, generator())
    strengths = [g.square().sum(0).sort().values for g in (dealt, own)]
    torch.testing.assert_close(*strengths)
    spectrum = [torch.linalg.eigvalsh(g.T @ g) for g in (own, quadratic.turned(own, generator()))]
    torch.testing.assert_close(spectrum[0], spectrum[1])
    alike = quadratic.white(own, generator()).square().mean(0)
    assert float(alike.max() / alike.min()) < 1.5


def test_samples_of_one_hessian_step_by_the_mean_one():
    roots = CURVATURE.sqrt().float().diag().expand(IMAGES, -1, -1).contiguous()
    paths = [
        quadratic.sgd(
            CURVATURE,
            gradients(),
            RATE,
            batch=BATCH,
            steps=100,
            generator=generator(),
            replacement=False,
            hessians=hessians,
            roots=roots,
        )
        for hessians in ("mean", "diagonal", "whole")
    ]
    for path in paths[1:]:
        torch.testing.assert_close(path, paths[0], rtol=1e-4, atol=1e-5)


def test_residuals_are_as_long_as_the_power_of_their_length():
    lengths = torch.rand(50, generator=generator(), dtype=torch.float64)
    unit = torch.randn(50, 3, generator=generator(), dtype=torch.float64)
    found = quadratic.Samples(unit * lengths.unsqueeze(1), torch.empty(0), lengths)
    torch.testing.assert_close(found.rescaled(0.0), unit - unit.mean(0))
    half = unit * lengths.sqrt().unsqueeze(1)
    torch.testing.assert_close(found.rescaled(0.5), half - half.mean(0))


def test_a_moving_mean_takes_slow_drift_of_any_shape_away():
    time = torch.arange(200.0)
    noise = torch.randn(200, 1, 3, generator=generator())
    bent = (time / 200).square().mul(100)[:, None, None]
    moments = Moments(1, 3, torch.device("cpu"))
    around = MovingMean(20, moments)
    points = Projections(torch.eye(3).unsqueeze(0), torch.zeros(1, 3), 200)
    for snapshot in noise + bent:
        around.add(snapshot)
        points.add(snapshot)
    torch.testing.assert_close(points.path[0], (noise + bent)[:, 0])
    assert moments.count == 181
    summed = torch.stack([(noise + bent)[i : i + 20].mean(0) for i in range(181)])
    left = ((noise + bent)[10:191] - summed)[:, 0]
    found = moments.covariance(detrended=False)[0].diagonal()
    torch.testing.assert_close(found.float(), left.var(0, correction=0), rtol=1e-3, atol=0)
    assert (found < 1.5).all()


def test_exponents_along_the_basis_are_those_put_in():
    rng = np.random.default_rng(0)
    curvature = np.geomspace(1, 1e-3, 60)
    common = {"index": range(60), "curvature": curvature}
    fixed, residuals = [], []
    for seed in range(5):
        jitter = rng.lognormal(0, 0.05, 60)
        fixed.append(
            pd.DataFrame(
                {
                    **common,
                    "seed": seed,
                    "source": "measured",
                    "sampling": "without",
                    "basis": "hessian",
                    "flatness": curvature**-0.5,
                    "variance": curvature**1.5 * jitter,
                    "correlation_time": 3.0 * jitter,
                    "predicted": np.nan,
                }
            )
        )
        for power, q in ((1.0, 1.2), (0.0, 1.0)):
            noise = curvature**q * jitter
            residuals.append(
                pd.DataFrame(
                    {**common, "seed": seed, "power": power, "basis": "hessian", "noise": noise}
                )
            )
    rows = pd.DataFrame(fixed_relations(pd.concat(fixed)))
    assert set(rows["quantity"]) == {"variance", "correlation_time"}
    whole = rows.query("quantity == 'variance' and range == 'all'").iloc[0]
    assert whole["psi"] == pytest.approx(3, abs=0.05)
    found = pd.DataFrame(residual_exponents(pd.concat(residuals))).query("range == 'all'")
    by_power = found.set_index("power")
    assert by_power["q"].to_dict() == pytest.approx({1.0: 1.2, 0.0: 1.0}, abs=0.02)
    assert by_power["less"].to_dict()[0.0] == pytest.approx(0.2, abs=1e-6)
