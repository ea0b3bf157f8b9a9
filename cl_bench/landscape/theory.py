"""The random landscape theory of the variance-flatness relation, in closed form and simulated.

Our reading of Feng & Tu (arXiv 2001.01678; PNAS 118, e2015617118). The paper's own equations were
not at hand; from its abstract and summaries we have the definitions of F_i, sigma_i^2 and T_i, and
that the noise strength and its correlation time "depend inversely on the landscape flatness".

Each minibatch mu sees, along each principal direction, a parabola of its own:

    L^mu(theta) = const + 1/2 sum_i H_i^mu (theta_i - theta_i^mu)^2,                         (1)

whose minimum theta_i^mu is random with mean 0 and variance s_i^2 (the spread), and whose curvature
H_i^mu = H_i (1 + c xi) is random, too (c = 0: only minima differ). On average
L = L0 + 1/2 sum_i H_i theta_i^2, so F_i^2 = 8 (e - 1) L0 / H_i. SGD takes theta_i to
theta_i - alpha H_i^mu (theta_i - theta_i^mu). From (1), exactly:

    T_i = alpha / 2 <(dL^mu / dtheta_i)^2> = alpha / 2 H_i^2 (1 + c^2) s_i^2    at the minimum,  (2)
    sigma_i^2 = alpha H_i (1 + c^2) s_i^2 / (2 - alpha H_i (1 + c^2)),                        (3)
    tau_i = 1 / (alpha H_i) - 1/2 steps,                                                     (4)

(3) and (4) for minibatches drawn independently and observed for ever. With one spread for all
directions T_i ~ F_i^-4, and psi = 2. Three things change psi:

* a spread that goes as s_i^2 ~ H_i^q gives psi = 2 + 2q in (3), so C_ii ~ H_ii^(2 + q) for the
  noise covariance C (1 <= 2 + q <= 2 in measurements, arXiv 2602.05600: psi from 0 to 2);
* minibatches drawn without replacement: an epoch's minima average to 0, and directions that relax
  more slowly than in an epoch of M steps keep only sigma_i^2 = alpha^2 H_i^2 s_i^2 M / 6, so that
  psi = 4 + 2q there (the anti-correlation of arXiv 2306.05300);
* a window of W steps shorter than the relaxation sees a random walk: alpha^2 H_i^2 s_i^2 W / 6 with
  replacement, psi = 4 + 2q again.

So in this reading psi = 4 belongs to minima of one spread in directions that relax slowly. Where it
departs from the paper: directions do not couple (the paper's minibatch Hessians, as we recall, have
off-diagonal elements), the minimum does not drift, and by (4) flat directions are slow, opposite
to the inverse relation of correlation time and flatness that the paper reports.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_bench.seeding import torch_generator


def curvature_of(flatness: Tensor, loss: Tensor | float) -> Tensor:
    """Return H_i = 8 (e - 1) L0 / F_i^2 of a quadratic loss whose minimum is L0."""
    return 8 * (math.e - 1) * loss / flatness.square()


def flatness_of(curvature: Tensor, loss: Tensor | float) -> Tensor:
    """Return F_i of a quadratic loss of curvature H_i whose minimum is L0."""
    return (8 * (math.e - 1) * loss / curvature).sqrt()


def spread_of(temperature: Tensor, curvature: Tensor, learning_rate: Tensor | float) -> Tensor:
    """Return the spread s_i^2 that a measured noise temperature implies, by (2) with c = 0."""
    return 2 * temperature / (learning_rate * curvature.square())


def predicted_temperature(
    curvature: Tensor, spread: Tensor, learning_rate: Tensor | float, jitter: float = 0.0
) -> Tensor:
    """Return T_i at the minimum, equation (2)."""
    return learning_rate / 2 * curvature.square() * (1 + jitter**2) * spread


def predicted_variance(
    curvature: Tensor,
    spread: Tensor,
    learning_rate: Tensor | float,
    *,
    window: int | None = None,
    epoch: int | None = None,
    jitter: float = 0.0,
) -> Tensor:
    """Return the stationary sigma_i^2, about its mean over the window, in expectation.

    Args:
        curvature: H_i, [..., k] with alpha H_i < 1 (no more than 2 with replacement).
        spread: s_i^2, of the same shape.
        learning_rate: alpha.
        window: snapshots, one a step, that the variance is taken over; None is infinitely many.
        epoch: M, minibatches an epoch, for sampling without replacement; None is with. A window
            must be whole epochs and begin with one.
        jitter: c, the relative spread of minibatches' curvatures; only with replacement.

    Returns:
        The variance of each direction, float64.
    """
    rate = (learning_rate * curvature).double()
    if epoch is None:
        strength = rate * (1 + jitter**2)
        lasting = strength / (2 - strength) * spread
        return lasting if window is None else lasting * _forgotten(rate, window)
    if jitter:
        raise ValueError("random curvatures have a closed form only with replacement")
    if window is not None and window % epoch:
        raise ValueError(f"a window of {window} steps is not whole epochs of {epoch}")
    return spread * _without_replacement(rate, epoch, window)


def _forgotten(rate: Tensor, window: int) -> Tensor:
    """Return the mean of 1 - a^|s - t| over a window's steps s and t, with a = 1 - rate."""
    last = -torch.expm1(window * torch.log1p(-rate))
    kept = window * (2 - rate) / rate - 2 * (1 - rate) * last / rate.square()
    # For slow directions this cancels: two terms of the series in rate do instead.
    lag, square = (window**2 - 1) / (3 * window), (window**2 - 1) / 6
    slow = rate * lag - rate.square() * (square - lag) / 2
    return torch.where(rate * window < 1e-3, slow, 1 - kept / window**2)


def _without_replacement(rate: Tensor, epoch: int, window: int | None) -> Tensor:
    """Return sigma_i^2 / s_i^2 of theta' = a theta + rate x, where each epoch's x add up to 0.

    Within an epoch of M steps <x_s x_t> = s^2 (M delta_st - 1) / (M - 1); between epochs it is 0.
    """
    log = torch.log1p(-rate).unsqueeze(-1)
    steps = torch.arange(epoch, dtype=rate.dtype, device=rate.device)
    powers = (steps * log).exp()
    start = _epoch_variance(rate.unsqueeze(-1) * powers) / -torch.expm1(2 * epoch * log[..., 0])
    # After n steps the kicks of this epoch are weighed by rate * a^0 … rate * a^(n - 1).
    weight = rate.unsqueeze(-1) * powers
    square, plain = weight.square().cumsum(-1) - weight.square(), weight.cumsum(-1) - weight
    kicked = (epoch * square - plain.square()) / (epoch - 1)
    mean_square = (powers.square() * start.unsqueeze(-1) + kicked).mean(-1)
    if window is None:
        return mean_square
    # What the sum over the window takes from its start and from each kick within it.
    left = window - 1 - torch.arange(window, dtype=rate.dtype, device=rate.device)
    taken = -torch.expm1(left * log).unflatten(-1, (-1, epoch))
    whole = -torch.expm1(window * log[..., 0]) / rate
    mean = whole.square() * start + _epoch_variance(taken).sum(-1)
    return mean_square - mean / window**2


def _epoch_variance(weights: Tensor) -> Tensor:
    """Return the variance of sum_t weights_t x_t over one epoch, [..., M], in units of s^2."""
    gap = weights - weights.mean(-1, keepdim=True)
    count = weights.shape[-1]
    return gap.square().sum(-1) * count / (count - 1)


def local_exponent(flatness: Tensor, variance: Tensor) -> Tensor:
    """Return psi between neighbouring points of a curve, -d ln sigma^2 / d ln F, [..., k - 1]."""
    return -variance.log().diff(dim=-1) / flatness.log().diff(dim=-1)


@dataclass(frozen=True)
class Simulated:
    """What the theory's SGD did, each replica a row."""

    variance: Tensor
    """sigma_i^2 about each window's mean, [R, k]."""
    temperature: Tensor
    """alpha / 2 times the mean square of minibatch gradients along the way, [R, k]."""


def simulate(
    curvature: Tensor,
    spread: Tensor,
    learning_rate: float,
    *,
    seeds: Sequence[int],
    window: int,
    epoch: int,
    replacement: bool = False,
    jitter: float = 0.0,
) -> Simulated:
    """Run the theory's SGD, one replica of all directions a seed, and measure as on a network.

    A replica's landscape is M minibatches with minima (and curvatures) of its own, of mean and
    variance exactly as stated; SGD goes through them in a new order each epoch, or draws them
    independently. It starts in the stationary state (of c = 0, where it has no closed form).

    Args:
        curvature: H_i, [k].
        spread: s_i^2, [k].
        learning_rate: alpha.
        seeds: one for each replica.
        window: steps, whole epochs.
        epoch: M, even; minibatches.
        replacement: draw minibatches independently.
        jitter: c; curvatures H_i (1 + c) and H_i (1 - c) are equally frequent.
    """
    if window % epoch or epoch % 2:
        raise ValueError("the window must be whole epochs, of an even number of minibatches each")
    rate, spread = learning_rate * curvature.double(), spread.double()
    size = curvature.shape[0]
    generators = [torch_generator("random landscape", seed) for seed in seeds]

    def normal(*shape: int) -> Tensor:
        drawn = [torch.randn(*shape, generator=g, dtype=torch.float64) for g in generators]
        return torch.stack(drawn).to(curvature.device)

    minima = _minima(normal(epoch // 2, size), spread)
    signs = torch.ones(epoch, 1, dtype=torch.float64, device=curvature.device)
    signs[epoch // 2 :] = -1
    kicks = (rate * (1 + jitter * signs)).expand(epoch, size)
    begin = _start_variance(rate, spread, None if replacement else epoch, jitter)
    theta = normal(size) * begin.sqrt()
    total, square, power = (torch.zeros_like(theta) for _ in range(3))
    for _ in range(window // epoch):
        order = _order(generators, epoch, replacement).to(curvature.device)
        centres = minima.take_along_dim(order.unsqueeze(2), 1)
        strengths = kicks[order]
        for step in range(epoch):
            total += theta
            square.addcmul_(theta, theta)
            move = strengths[:, step] * (theta - centres[:, step])
            power.addcmul_(move, move)
            theta = theta - move
    variance = square / window - (total / window).square()
    return Simulated(variance, power / (2 * learning_rate * window))


def _order(generators: Sequence[torch.Generator], epoch: int, replacement: bool) -> Tensor:
    """Return the numbers of the minibatches of one epoch, each replica's a row [R, M]."""
    if replacement:
        return torch.stack([torch.randint(epoch, (epoch,), generator=g) for g in generators])
    return torch.stack([torch.randperm(epoch, generator=g) for g in generators])


def _minima(drawn: Tensor, spread: Tensor) -> Tensor:
    """Return a landscape's minima [R, M, k], of mean 0 and variance `spread`, from half as many."""
    minima = drawn - drawn.mean(1, keepdim=True)
    minima *= (spread / minima.square().mean(1, keepdim=True)).sqrt()
    # Every minimum comes with either curvature: the two are then uncorrelated, exactly.
    return torch.cat([minima, minima], 1)


def _start_variance(rate: Tensor, spread: Tensor, epoch: int | None, jitter: float) -> Tensor:
    """Return the stationary variance at the start of an epoch."""
    if epoch is None:
        strength = rate * (1 + jitter**2)
        return strength / (2 - strength) * spread
    log = torch.log1p(-rate).unsqueeze(-1)
    powers = (torch.arange(epoch, dtype=rate.dtype, device=rate.device) * log).exp()
    kicked = _epoch_variance(rate.unsqueeze(-1) * powers)
    return spread * kicked / -torch.expm1(2 * epoch * log[..., 0])
