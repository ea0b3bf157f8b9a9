"""Moments of a trajectory against NumPy's singular value decomposition of the whole of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cl_bench.landscape.sketch import Sketch
from cl_bench.landscape.trajectory import Moments

RUNS, STEPS, SIZE = 2, 700, 12


@pytest.fixture(scope="module")
def path():
    """A random walk with a drift and very different scales, far from 0."""
    rng = np.random.default_rng(0)
    scale = 10.0 ** (-np.arange(SIZE) / 3)
    steps = rng.normal(size=(RUNS, STEPS, SIZE)) * scale
    drift = np.linspace(0, 0.5, STEPS)[:, None] * rng.normal(size=SIZE)
    return (5 + np.cumsum(steps, 1) * 0.1 + drift).astype(np.float32)


@pytest.fixture(scope="module")
def moments(path):
    found = Moments(RUNS, SIZE, torch.device("cpu"))
    for step in range(STEPS):
        found.add(torch.from_numpy(path[:, step]))
    return found


@pytest.mark.parametrize("detrended", [False, True])
def test_components_are_those_of_the_whole_trajectory(path, moments, detrended):
    whole = path.astype(np.float64)
    gap = whole - whole.mean(1, keepdims=True)
    if detrended:
        time = np.arange(STEPS) - (STEPS - 1) / 2
        slope = np.einsum("t,rtn->rn", time, gap) / (time**2).sum()
        gap = gap - time[None, :, None] * slope[:, None]
        np.testing.assert_allclose(moments.drift.numpy(), slope, rtol=1e-9)
    found = moments.components(detrended=detrended)
    for run in range(RUNS):
        _, singular, rows = np.linalg.svd(gap[run], full_matrices=False)
        np.testing.assert_allclose(
            found.variances[run].numpy(), singular**2 / STEPS, rtol=1e-6, atol=1e-14
        )
        cosine = np.abs((rows * found.directions[run].numpy()).sum(1))
        np.testing.assert_allclose(cosine, 1, atol=1e-6)


def test_the_mean_is_the_mean(path, moments):
    np.testing.assert_allclose(moments.mean.numpy(), path.astype(np.float64).mean(1), rtol=1e-12)


def test_random_projections_find_what_exact_moments_find():
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(0, -3, 200)
    path = 5 + (torch.randn(RUNS, STEPS, 200, generator=generator) * scale).cumsum(1)
    exact = Moments(RUNS, 200, torch.device("cpu"))
    sketch = Sketch(torch.randn(RUNS, 200, 60, generator=generator))
    for step in range(STEPS):
        exact.add(path[:, step])
        sketch.add(path[:, step])
    for detrended in (False, True):
        a = exact.components(detrended=detrended, count=10)
        b = sketch.components(detrended=detrended, count=10)
        np.testing.assert_allclose(a.variances, b.variances, rtol=0.01)
        cosine = (a.directions * b.directions).sum(2).abs()
        np.testing.assert_allclose(cosine, 1, atol=0.01)
        np.testing.assert_allclose(
            sketch.variance_along(a.directions, detrended=detrended), a.variances, rtol=0.01
        )
    whole = exact.covariance(detrended=False).float()
    factor = sketch.factor()
    error = (factor.transpose(1, 2) @ factor - whole).norm() / whole.norm()
    assert float(error) < 1e-3
