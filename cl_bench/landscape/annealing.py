"""SGD as its own annealing: noise, flatness and curvature along a whole training.

Feng & Tu (arXiv 2001.01678): the noise is strong where the landscape is sharp, and falls as flat
minima are found. Looked at are the weights that training kept at log-spaced steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cl_bench.engine.tasks import Batch
from cl_bench.instruments.curvature import leading_eigenvalues, probes, trace
from cl_bench.instruments.loss import loss_and_error
from cl_bench.instruments.temperature import GradientNoise
from cl_bench.landscape.layer import Landscape, Studied
from cl_bench.methods.fluctuation import principal_components

if TYPE_CHECKING:
    from cl_bench.landscape.phases import Rows, Tables
    from cl_bench.landscape.scene import Scene

SAMPLES = 2000
"""Training images in the loss, its Hessian and its flatness."""
MINIBATCHES = 100
"""How many, of the training's size, the noise is measured on."""
QUIETER = 10
"""The control trains on minibatches so many times as large: with so much less noise."""
QUIET_EPOCHS = 3
"""How long, in the setting's own epochs: so many steps, not so many images."""


def annealing(scene: Scene) -> Tables:
    """Look at noise and landscape from the first step to the window's end.

    The control ("quiet") starts from the same weights and takes as many steps at the same rate
    with a tenth of the noise. At its weights the noise that the setting's minibatches would make
    is measured, which it hardly was moved by: where that goes with flatness just as in training,
    noise falls because the loss does, not because it finds flat places.
    """
    setting, dynamics = scene.setting, scene.dynamics
    if not setting.looks:
        return {}
    end = scene.first_step + scene.window_steps
    theta = torch.cat([scene.looks, scene.theta.unsqueeze(1)], 1)
    rows = _looks(scene, "sgd", [*scene.looked_at, end], theta)
    if setting.controls:
        last = min(scene.first_step, dynamics.steps(QUIET_EPOCHS))
        steps = [step for step in scene.looked_at if step <= last]
        dynamics.start_again()
        kept = []
        for number, step in enumerate(steps):
            scene.report("annealing: quiet training", number / len(steps))
            dynamics.train_to(step, larger=QUIETER)
            kept.append(dynamics.learner.theta.clone())
        rows += _looks(scene, "quiet", steps, torch.stack(kept, 1))
    return {"annealing": rows}


def _looks(scene: Scene, source: str, steps: Sequence[int], theta: Tensor) -> Rows:
    """Return a row a step and seed, of all weights [R, n, D] at n steps."""
    dynamics, rows = scene.dynamics, []
    some = list(dynamics.task.sample(SAMPLES, "annealing"))
    for number, step in enumerate(steps):
        scene.report(f"annealing: {source}", number / len(steps))
        minibatches = dynamics.minibatches(0, MINIBATCHES, "annealing")
        at, rate = theta[:, number].contiguous(), dynamics.learner.effective_rate
        found = vars(look(scene.studied, at, some, minibatches, rate, dynamics.seeds))
        for run, seed in enumerate(dynamics.seeds):
            values = {name: float(value[run]) for name, value in found.items()}
            rows.append({"seed": seed, "source": source, "step": step, **values})
    return rows


@dataclass(frozen=True)
class Look:
    """What the landscape and SGD's noise are like at some weights, each [R].

    Two directions are followed: the sharpest (the Hessian's first eigenvector) and the noisiest
    (the first principal component of minibatch gradients).
    """

    loss: Tensor
    error: Tensor
    temperature: Tensor
    """alpha / 2 times the trace of the gradients' covariance."""
    temperature_sharpest: Tensor
    """The noise part along the direction, as for the noisiest."""
    temperature_noisiest: Tensor
    flatness_sharpest: Tensor
    """F along the direction, as for the noisiest."""
    flatness_noisiest: Tensor
    sharpness: Tensor
    """The Hessian's largest eigenvalue."""
    sharpness_error: Tensor
    """Its residual."""
    curvature_noisiest: Tensor
    trace: Tensor
    """Of the Hessian."""
    trace_error: Tensor


def look(
    studied: Studied,
    theta: Tensor,
    samples: Sequence[Batch],
    minibatches: Iterable[Batch],
    learning_rate: Tensor,
    seeds: Sequence[int],
    *,
    eigen_steps: int = 15,
    signs: int = 8,
) -> Look:
    """Return what the landscape and SGD's noise are like at some weights.

    Args:
        studied: the weights that everything but loss and error is about.
        theta: all weights, [R, D].
        samples: the images in the loss.
        minibatches: of the training's size.
        learning_rate: alpha, [R, 1].
        seeds: the runs' seeds: they name the random start of Lanczos's and Hutchinson's methods.
        eigen_steps: of Lanczos's method.
        signs: vectors for Hutchinson's trace.
    """
    landscape = Landscape(studied, theta, samples)
    product = landscape.hessian()
    start = probes("lanczos", seeds, 1, studied.size).to(theta)[:, 0]
    sharpest = leading_eigenvalues(product, start, 1, eigen_steps)
    traced = trace(product, probes("hutchinson", seeds, signs, studied.size).to(theta))
    gradients = torch.stack(list(landscape.minibatch_gradients(minibatches)), 1)
    noisiest = principal_components(gradients - gradients.mean(1, keepdim=True), 1).directions
    directions = torch.cat([sharpest.vectors, noisiest], 1)
    noise = GradientNoise(directions)
    for gradient in gradients.unbind(1):
        noise.add(gradient)
    warm = noise.temperature(learning_rate)
    width = landscape.sides(directions).flatness
    loss, error = loss_and_error(studied.network, theta, samples)
    return Look(
        loss=loss,
        error=error,
        temperature=warm.trace,
        temperature_sharpest=warm.noise[:, 0],
        temperature_noisiest=warm.noise[:, 1],
        flatness_sharpest=width[:, 0],
        flatness_noisiest=width[:, 1],
        sharpness=sharpest.values[:, 0],
        sharpness_error=sharpest.residuals[:, 0],
        curvature_noisiest=(noisiest * product(noisiest)).sum((1, 2)),
        trace=traced.value,
        trace_error=traced.error,
    )
