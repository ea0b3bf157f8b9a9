"""Null controls: what must not show the variance-flatness relation if training is what makes it.

PCA alone orders directions by variance, and that of a random walk falls like a power law
(Antognini & Sohl-Dickstein 2018), so each control goes through the same PCA and bracketing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from cl_bench.engine.optimizers import build_optimizer
from cl_bench.landscape.dynamics import Dynamics
from cl_bench.landscape.layer import Landscape
from cl_bench.landscape.trajectory import Projections, Trajectory

_BLOCK = 256
_CHUNK = 1000


def random_walk(
    dynamics: Dynamics, factor: Tensor, steps: int, add: Callable[[Tensor], None]
) -> None:
    """Walk so many independent normal steps of a covariance, from 0.

    Args:
        dynamics: gives the random numbers.
        factor: [R, m, N] with factor^T factor the covariance of a step.
        steps: how many.
        add: is given each point, [R, N].
    """
    at = factor.new_zeros(factor.shape[0], factor.shape[2])
    for block in range(-(-steps // _BLOCK)):
        normal = dynamics.normal("walk", _BLOCK, factor.shape[1], block=block)
        path = torch.bmm(normal, factor).cumsum(1) + at.unsqueeze(1)
        at = path[:, -1].clone()
        for step in range(min(_BLOCK, steps - block * _BLOCK)):
            add(path[:, step])


def random_directions(dynamics: Dynamics, count: int, size: int) -> Tensor:
    """Return unit vectors, evenly spread over all directions, [R, count, size]."""
    drawn = dynamics.normal("directions", count, size)
    return drawn / drawn.norm(dim=2, keepdim=True)


def noise_power(landscape: Landscape, dynamics: Dynamics, weights: Tensor) -> Tensor:
    """Return the mean square of minibatch noise summed over the studied weights, [R, 1].

    Over one epoch's minibatches at fixed weights [R, N]: <|g^mu - <g>|^2>.
    """
    total = torch.zeros_like(weights, dtype=torch.float64)
    square = total[:, :1].clone()
    steps = min(dynamics.steps(1), 1000)
    for rows in _rows(dynamics, landscape, steps, dynamics.setting.batch_size, "noise"):
        gradient = landscape.gradient(weights, rows).double()
        total += gradient
        square += gradient.square().sum(1, keepdim=True)
    return (square / steps - (total / steps).square().sum(1, keepdim=True)).float()


def layer_alone(
    landscape: Landscape,
    dynamics: Dynamics,
    steps: int,
    trajectory: Trajectory | Projections,
    *,
    isotropic: bool,
) -> Tensor:
    """Train the studied weights alone from the landscape's w0, all others held.

    Args:
        landscape: the loss.
        dynamics: the setting and the random numbers.
        steps: how many.
        trajectory: is given the weights after each step.
        isotropic: put minibatch noise out, and normal noise of the same total power, alike in
            all directions, in its place. A minibatch's gradient is corrected by what it is at the
            weights of the epoch's start less the full gradient there (Johnson & Zhang 2013), which
            leaves of its noise only what the way since then makes.

    Returns:
        The last weights, [R, N].
    """
    weights = landscape.weights.clone()
    configs = [dynamics.setting.run_config(seed).optimizer for seed in dynamics.seeds]
    optimizer = build_optimizer(configs, dynamics.device)
    if isotropic:
        deviation = (noise_power(landscape, dynamics, weights) / weights.shape[1]).sqrt()
    size, images = dynamics.setting.batch_size, landscape.inputs.shape[1]
    epoch = max(1, images // size)
    purpose = "isotropic" if isotropic else "alone"
    for step, rows in enumerate(_rows(dynamics, landscape, steps, size, purpose)):
        gradient = landscape.gradient(weights, rows)
        if isotropic:
            if step % epoch == 0:
                anchor, full = weights.clone(), _full_gradient(landscape, weights)
            if step % _BLOCK == 0:
                noise = dynamics.normal("isotropic", _BLOCK, weights.shape[1], block=step // _BLOCK)
            gradient += full - landscape.gradient(anchor, rows)
            gradient += deviation * noise[:, step % _BLOCK]
        optimizer.step(weights, gradient)
        trajectory.add(weights)
    return weights


def _full_gradient(landscape: Landscape, weights: Tensor) -> Tensor:
    """Return the gradient [R, N] of the loss of all images."""
    runs, images = landscape.labels.shape
    total = torch.zeros_like(weights)
    for rows in torch.arange(images, device=weights.device).split(_CHUNK):
        total += landscape.gradient(weights, rows.expand(runs, -1)) * (len(rows) / images)
    return total


def _rows(
    dynamics: Dynamics, landscape: Landscape, steps: int, size: int, purpose: str
) -> Iterator[Tensor]:
    """Yield rows [R, size] of the landscape's images, without replacement in each epoch."""
    count = landscape.inputs.shape[1]
    each = max(1, count // size)
    for step in range(steps):
        epoch, within = divmod(step, each)
        if within == 0:
            order = dynamics.permutation(purpose, count, epoch)
        yield order[:, within * size : (within + 1) * size]
