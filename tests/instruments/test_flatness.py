"""Flatness along directions where the answer is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from cl_bench.instruments.flatness import flatness, sides

CURVATURES = torch.tensor([[1e-4, 0.3, 8.0, 5e4], [2e-2, 1.0, 50.0, 3.0]])


def quadratic_log_loss(theta: torch.Tensor) -> torch.Tensor:
    """L = 0.01 exp(1/2 sum_i h_i w_i^2), so that ln L has curvature h_i along weight i."""
    return 0.01 * (0.5 * CURVATURES.unsqueeze(1) * theta.square()).sum(-1).clamp(max=50).exp()


def test_is_the_root_of_eight_over_the_curvature():
    directions = torch.eye(4).expand(2, 4, 4)
    found = flatness(quadratic_log_loss, torch.zeros(2, 4), directions)
    torch.testing.assert_close(found, (8 / CURVATURES).sqrt(), rtol=0.01, atol=0)


def test_both_sides_count():
    def skewed(theta):
        x = theta[..., 0]
        return torch.where(x > 0, 1 + 3 * x, 1 - 0.5 * x)

    found = flatness(skewed, torch.zeros(1, 2), torch.tensor([[[1.0, 0.0]]]))
    assert found.item() == pytest.approx((math.e - 1) * (1 / 3 + 2), rel=0.01)


def test_a_direction_without_a_wall_is_as_wide_as_the_limit():
    found = flatness(
        lambda theta: torch.ones(theta.shape[:2]),
        torch.zeros(1, 3),
        torch.eye(3)[None],
        limit=100.0,
    )
    assert found.isfinite().all()
    assert (found >= 200).all()


def test_a_direction_is_measured_alike_in_any_company():
    directions = torch.eye(4).expand(2, 4, 4)
    all_four = flatness(quadratic_log_loss, torch.zeros(2, 4), directions)
    one = flatness(quadratic_log_loss, torch.zeros(2, 4), directions[:, 2:3])
    assert torch.equal(all_four[:, 2:3], one)


@pytest.mark.parametrize("level", [1e-4, 0.5])
def test_a_quadratic_loss_has_its_closed_form(level):
    curvatures = CURVATURES.double().unsqueeze(1)

    def quadratic_loss(theta):
        return level + 0.5 * (curvatures * theta.square()).sum(-1)

    directions = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    found = sides(quadratic_loss, torch.zeros(2, 4, dtype=torch.float64), directions)
    expected = 2 * (2 * (math.e - 1) * level / curvatures.squeeze(1)).sqrt()
    torch.testing.assert_close(found.flatness.double(), expected, rtol=0.01, atol=0)
    assert ((found.flatness - expected).abs() <= found.error * 1.0001).all()
    assert (found.error <= 0.0051 * found.flatness).all()


def test_each_side_is_its_own_and_within_its_error():
    """ln L = h d^2 / 2 with one h on the right and another on the left."""
    right, left = torch.tensor([0.3, 200.0]), torch.tensor([40.0, 1e-3])

    def lopsided(theta):
        bend = torch.where(theta > 0, right, left)
        return 0.01 * (0.5 * bend * theta.square()).sum(-1).clamp(max=50).exp()

    found = sides(lopsided, torch.zeros(1, 2), torch.eye(2)[None], relative_error=0.001)
    torch.testing.assert_close(found.right, (2 / right).sqrt()[None], rtol=0.002, atol=0)
    torch.testing.assert_close(found.left, (2 / left).sqrt()[None], rtol=0.002, atol=0)
    expected = (2 / right).sqrt() + (2 / left).sqrt()
    assert ((found.flatness - expected).abs() <= found.error * 1.001).all()


def test_a_side_without_a_wall_has_no_bound_on_its_error():
    found = sides(
        lambda theta: theta[..., 0].clamp(min=0) + 1, torch.zeros(1, 1), torch.ones(1, 1, 1)
    )
    assert found.right.item() == pytest.approx(math.e - 1, rel=0.01)
    assert found.left.item() >= 1e4
    assert found.error.item() == math.inf
