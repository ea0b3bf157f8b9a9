"""The random landscape theory: closed forms against its own SGD and against known limits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from cl_bench.landscape.theory import (
    curvature_of,
    local_exponent,
    predicted_temperature,
    predicted_variance,
    simulate,
    spread_of,
)

RATE, EPOCH, WINDOW = 0.1, 20, 100
CURVATURE = torch.tensor([1e-3, 1e-2, 0.1, 0.5, 2.0, 5.0], dtype=torch.float64)
SPREAD = torch.tensor([4.0, 1.0, 0.3, 2.0, 1.0, 1.0], dtype=torch.float64)
SEEDS = range(400)


@pytest.mark.parametrize(
    ("replacement", "jitter"), [(True, 0.0), (True, 0.4), (False, 0.0)], ids=str
)
def test_the_simulation_does_what_the_closed_form_says(replacement, jitter):
    found = simulate(
        CURVATURE,
        SPREAD,
        RATE,
        seeds=SEEDS,
        window=WINDOW,
        epoch=EPOCH,
        replacement=replacement,
        jitter=jitter,
    )
    expected = predicted_variance(
        CURVATURE,
        SPREAD,
        RATE,
        window=WINDOW,
        epoch=None if replacement else EPOCH,
        jitter=jitter,
    )
    error = found.variance.std(0) / len(SEEDS) ** 0.5
    assert (error < 0.1 * expected).all()
    assert ((found.variance.mean(0) - expected).abs() < 3.5 * error).all()
    # On the way, too, gradients are at least as strong as at the minimum.
    floor = predicted_temperature(CURVATURE, SPREAD, RATE, jitter)
    torch.testing.assert_close(found.temperature.mean(0)[:3], floor[:3], rtol=0.05, atol=0)
    torch.testing.assert_close(spread_of(floor, CURVATURE, RATE), SPREAD * (1 + jitter**2))


def test_a_long_window_sees_the_lasting_variance():
    fast = CURVATURE[2:]
    long = predicted_variance(fast, SPREAD[2:], RATE, window=10**8)
    lasting = predicted_variance(fast, SPREAD[2:], RATE)
    torch.testing.assert_close(long, lasting, rtol=1e-4, atol=0)
    torch.testing.assert_close(lasting, RATE * fast * SPREAD[2:] / (2 - RATE * fast))
    whole = predicted_variance(fast, SPREAD[2:], RATE, epoch=EPOCH, window=EPOCH * 2000)
    torch.testing.assert_close(
        whole, predicted_variance(fast, SPREAD[2:], RATE, epoch=EPOCH), rtol=1e-2, atol=0
    )


def test_slow_directions_have_the_limits_that_are_stated():
    slow = torch.tensor([1e-7, 1e-6, 1e-5], dtype=torch.float64)
    kick = (RATE * slow).square()
    bridge = predicted_variance(slow, torch.ones(3), RATE, epoch=1000)
    torch.testing.assert_close(bridge / kick, torch.full_like(slow, 1000 / 6), rtol=0.01, atol=0)
    walk = predicted_variance(slow, torch.ones(3), RATE, window=1000)
    torch.testing.assert_close(walk / kick, torch.full_like(slow, 1000 / 6), rtol=0.01, atol=0)


def test_sharp_directions_forget_the_order_of_minibatches():
    sharp = torch.tensor([3.0], dtype=torch.float64)
    without = predicted_variance(sharp, torch.ones(1), RATE, epoch=10_000)
    torch.testing.assert_close(
        without, predicted_variance(sharp, torch.ones(1), RATE), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5])
@pytest.mark.parametrize(
    ("how", "base"), [({}, 2), ({"epoch": 1000}, 4), ({"window": 1000}, 4)], ids=str
)
def test_the_exponent_is_the_one_predicted(power, how, base):
    width = torch.logspace(2, 3, 30, dtype=torch.float64)
    curvature = curvature_of(width, 0.001)
    variance = predicted_variance(curvature, curvature**power, RATE, **how)
    psi = local_exponent(width, variance)
    torch.testing.assert_close(psi, torch.full_like(psi, base + 2 * power), rtol=0, atol=0.02)


def test_the_curvature_of_a_flatness():
    curvature = curvature_of(torch.tensor(2.0), 0.5)
    distance = torch.tensor(1.0)
    assert 0.5 + float(curvature * distance**2) / 2 == pytest.approx(0.5 * math.e)


def test_the_bits_of_a_replica_do_not_depend_on_its_company():
    arguments: dict[str, Any] = {"window": 40, "epoch": 20, "jitter": 0.3}
    three = simulate(CURVATURE, SPREAD, RATE, seeds=[4, 5, 6], **arguments)
    one = simulate(CURVATURE, SPREAD, RATE, seeds=[5], **arguments)
    assert torch.equal(three.variance[1:2], one.variance)
    assert torch.equal(three.temperature[1:2], one.temperature)


def test_what_has_no_closed_form_is_refused():
    with pytest.raises(ValueError, match="only with replacement"):
        predicted_variance(CURVATURE, SPREAD, RATE, epoch=10, jitter=0.1)
    with pytest.raises(ValueError, match="not whole epochs of 10"):
        predicted_variance(CURVATURE, SPREAD, RATE, epoch=10, window=15)
    with pytest.raises(ValueError, match="even number"):
        simulate(CURVATURE, SPREAD, RATE, seeds=[0], window=15, epoch=15)
