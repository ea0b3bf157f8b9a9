"""Temperatures by brute force, correlation times of processes where they are known."""

from __future__ import annotations

import math

import pytest
import torch

from cl_bench.engine.networks import MLP
from cl_bench.engine.tasks import Batch
from cl_bench.instruments.temperature import (
    GradientNoise,
    correlation_time,
    temperature,
)

RUNS, IMAGES, SIZE = 2, 60, 6
LINEAR = MLP(SIZE, (), 3)


@pytest.fixture
def data():
    generator = torch.manual_seed(3)
    images = torch.rand(RUNS, IMAGES, SIZE, generator=generator)
    labels = torch.randint(3, (RUNS, IMAGES), generator=generator)
    directions = torch.randn(RUNS, 4, LINEAR.size, generator=generator)
    directions /= directions.norm(dim=2, keepdim=True)
    theta = torch.stack([LINEAR.initial(seed) for seed in range(RUNS)])
    parts = zip(images.split(5, 1), labels.split(5, 1), strict=True)
    return theta, [Batch(*part, None) for part in parts], directions


def brute_force(theta, batches, run):
    """Return each minibatch's gradient of softmax regression, one image at a time."""
    weight = theta[run, : 3 * SIZE].view(3, SIZE).double()
    bias = theta[run, 3 * SIZE :].double()
    rows = []
    for batch in batches:
        total = torch.zeros(LINEAR.size, dtype=torch.float64)
        for x, y in zip(batch.images[run].double(), batch.labels[run], strict=True):
            signal = (weight @ x + bias).softmax(0)
            signal[y] -= 1
            total += torch.cat([torch.outer(signal, x).flatten(), signal])
        rows.append(total / len(batch.labels[run]))
    return torch.stack(rows)


def test_temperature_is_that_of_gradients_taken_one_by_one(data):
    theta, batches, directions = data
    rate = torch.tensor([[0.1], [0.5]])
    found = temperature(LINEAR, theta, batches, directions, rate)
    assert found.minibatches == 12
    for run in range(RUNS):
        half = float(rate[run, 0]) / 2
        gradients = brute_force(theta, batches, run)
        along = gradients @ directions[run].double().T
        total, noise = half * along.square().mean(0), half * along.var(0, correction=0)
        torch.testing.assert_close(found.total[run], total, rtol=1e-4, atol=1e-9)
        torch.testing.assert_close(found.noise[run], noise, rtol=1e-4, atol=1e-9)
        error = half * along.square().std(0, correction=0) / 12**0.5
        torch.testing.assert_close(found.error[run], error, rtol=1e-4, atol=1e-9)
        trace = half * gradients.var(0, correction=0).sum()
        torch.testing.assert_close(found.trace[run], trace, rtol=1e-4, atol=1e-9)


def test_a_span_is_that_part_of_the_gradient(data):
    theta, batches, _ = data
    basis = torch.eye(LINEAR.size).expand(RUNS, -1, -1)
    rate, span = torch.full((RUNS, 1), 0.1), slice(4, 15)
    every = temperature(LINEAR, theta, batches, basis, rate)
    some = temperature(LINEAR, theta, batches, torch.eye(11).expand(RUNS, -1, -1), rate, span)
    assert torch.equal(some.noise, every.noise[:, span])
    torch.testing.assert_close(some.noise.sum(1), some.trace, rtol=1e-6, atol=0)


def autoregressive(memory: torch.Tensor, steps: int, runs: int = RUNS) -> torch.Tensor:
    """Return x' = a x + normal noise from its stationary state, [R, T, k]: sampled OU processes."""
    generator = torch.manual_seed(5)
    kicks = torch.randn(steps, runs, len(memory), generator=generator, dtype=torch.float64)
    value = kicks[0] / (1 - memory.square()).sqrt()
    path = [value]
    for kick in kicks[1:]:
        value = memory * value + kick
        path.append(value)
    return torch.stack(path, 1)


def test_correlation_time_of_ornstein_uhlenbeck():
    times = torch.tensor([3.0, 10.0, 40.0], dtype=torch.float64)
    memory = (-1 / times).exp()
    path = autoregressive(memory, 20_000, runs=10)
    found = correlation_time(path.float())
    assert found.converged.all()
    assert ((found.steps - times).abs() < 3.5 * found.error).all()
    assert ((found.steps.mean(0) - times).abs() < 3 * found.error.mean(0) / 10**0.5).all()


def test_independent_numbers_have_half_a_step_and_a_still_direction_too():
    path = autoregressive(torch.zeros(1), 5000)
    assert correlation_time(path).steps == pytest.approx(0.5, abs=0.03)
    assert torch.equal(
        correlation_time(torch.ones(1, 100, 2)).steps, torch.full((1, 2), 0.5).double()
    )


def test_a_drift_is_remembered_until_it_is_taken_away():
    path = autoregressive(torch.tensor([math.exp(-1 / 5)]), 5000)
    drifting = path + torch.linspace(0, 60, 5000)[:, None]
    assert not correlation_time(drifting).converged.any()
    straight = correlation_time(drifting, detrended=True)
    torch.testing.assert_close(straight.steps, correlation_time(path).steps, rtol=0.05, atol=0)


def test_the_bits_of_a_run_do_not_depend_on_its_company(data):
    _, batches, directions = data
    path = autoregressive(torch.linspace(0, 0.9, 19), 700, runs=3)
    together, alone = (
        correlation_time(path, detrended=True),
        correlation_time(path[1:2], detrended=True),
    )
    assert torch.equal(together.steps[1:2], alone.steps)
    noise, one = GradientNoise(directions), GradientNoise(directions[1:])
    for batch in batches:
        gradient = batch.images.flatten(1)[:, :21]
        noise.add(gradient)
        one.add(gradient[1:])
    rate = torch.full((RUNS, 1), 0.3)
    for name in ("total", "noise", "error", "trace"):
        all_runs = getattr(noise.temperature(rate), name)
        assert torch.equal(all_runs[1:], getattr(one.temperature(rate[1:]), name))
