"""Flatness along directions where the answer is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from cl_bench.landscape.flatness import flatness

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
