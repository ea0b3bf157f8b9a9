"""Variance along one fixed basis, the Hessian's, of training and of SGD in the same landscape.

Training, the studied layer's training by itself, and SGD in the quadratic of its exact Hessian
under noise of several kinds (`quadratic`) are all seen along the same directions; whatever PCA
makes of a trajectory is beside that ("principal"), within the span of those directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cl_bench.engine.linalg import symmetric_eigen
from cl_bench.instruments.curvature import leading_eigenvalues, probes
from cl_bench.instruments.temperature import correlation_time
from cl_bench.landscape import quadratic
from cl_bench.landscape.controls import layer_alone
from cl_bench.landscape.quadratic import NOISES, Samples, minibatch_variance, samples
from cl_bench.landscape.theory import flatness_of, predicted_variance
from cl_bench.landscape.trajectory import Projections
from cl_bench.seeding import torch_generator

if TYPE_CHECKING:
    from cl_bench.landscape.phases import Rows, Tables
    from cl_bench.landscape.scene import Scene
    from cl_bench.landscape.setting import Sampling

DIRECTIONS = 100
"""Of the Hessian, the leading ones: no more than the setting's `last`."""
SAMPLINGS: tuple[Sampling, ...] = ("without", "with")
POWERS = (1.0, 0.5, 0.0)
"""Each sample's residual is made as long as this power of its length."""


def fixed_basis(scene: Scene) -> Tables:
    """Return a `fixed_basis` table, and a `residuals` one.

    `fixed_basis` has a row a seed, source, sampling (without or with replacement), basis
    ("hessian" or "principal") and direction: its `curvature`, the `flatness` of a quadratic of
    that, the `variance` of the source's motion, its `correlation_time` in steps, and, for a source
    that has one, the closed form of the variance (`predicted`). A source "local …" is another's
    motion less its mean over an epoch around each step.

    `residuals` has a row a seed, power, basis and direction: the variance of minibatch gradients
    (`noise`) were each sample's residual as long as that power of its length, and `curvature`.

    Both are empty where the studied weights are not a layer of an MLP in training by plain SGD.
    """
    setting = scene.setting
    plain = setting.optimizer.name == "sgd" and scene.studied.by_layer
    if not (setting.controls and setting.noise and plain) or setting.loss_samples is not None:
        return {}
    many = min(DIRECTIONS, setting.last, scene.studied.size)
    scene.report("fixed basis: Hessian", 0.0)
    start = probes("fixed basis", scene.seeds, 1, scene.studied.size).to(scene.theta)[:, 0]
    spectrum = leading_eigenvalues(scene.landscape.hessian(), start, many)
    paths = dict(_trained(scene, spectrum.vectors))
    rows: Rows = []
    residuals: Rows = []
    loss, _ = scene.dynamics.loss_and_error(scene.theta)
    epoch = scene.dynamics.steps(1)
    for run, seed in enumerate(scene.seeds):
        scene.report("fixed basis: quadratics", run / len(scene.seeds))
        curvature = spectrum.values[run].double()
        own = samples(scene.landscape, run, spectrum.vectors[run])
        for (source, sampling), path in paths.items():
            place = curvature, float(loss[run])
            rows += _rows(seed, source, sampling, *place, path[run].double())
            rows += _local(seed, source, sampling, *place, path[run].double(), epoch)
        rows += _simulated(scene, run, curvature, float(loss[run]), own)
        residuals += _residuals(scene, run, spectrum.vectors[run], own)
    return {"fixed_basis": rows, "residuals": residuals}


def _trained(scene: Scene, directions: Tensor) -> Iterator[tuple[tuple[str, Sampling], Tensor]]:
    """Yield the paths [R, T, K] of training and of the layer alone, by source and sampling."""
    studied, learner = scene.studied, scene.dynamics.learner
    for sampling in SAMPLINGS:
        points = Projections(directions, studied.of(scene.theta), scene.window_steps)
        scene.through_window(
            lambda step, points=points: points.add(studied.of(learner.theta)),  # type: ignore[misc]
            f"fixed basis: training {sampling} replacement",
            sampling,
        )
        yield ("training", sampling), points.path
    if scene.setting.alone:
        scene.report("fixed basis: layer alone", 0.0)
        points = Projections(directions, studied.of(scene.theta), scene.window_steps)
        at_start = scene.landscape_at(scene.weights_at_start())
        layer_alone(at_start, scene.dynamics, scene.window_steps, points, isotropic=False)
        yield ("layer alone", "without"), points.path
    learner.theta.copy_(scene.theta)


def _simulated(scene: Scene, run: int, curvature: Tensor, loss: float, own: Samples) -> Rows:
    """Return the rows of SGD in one run's quadratic, under every noise and Hessian."""
    seed, batch = scene.seeds[run], scene.setting.batch_size
    rate = float(scene.dynamics.learner.effective_rate[run])
    epoch = len(own.gradients) // batch
    whole = scene.window_steps % epoch == 0
    measured = own.rescaled(1.0)
    rows: Rows = []
    for sampling in SAMPLINGS:

        def walked(
            source: str,
            gradients: Tensor,
            hessians: quadratic.Hessians = "mean",
            sampling: Sampling = sampling,
        ) -> Tensor:
            return quadratic.sgd(
                curvature,
                gradients,
                rate,
                batch=batch,
                steps=scene.window_steps,
                generator=torch_generator("landscape", "quadratic", source, sampling, seed),
                replacement=sampling == "with",
                hessians=hessians,
                roots=None if hessians == "mean" else own.roots,
            )

        for noise, change in NOISES.items():
            gradients = change(measured, torch_generator("landscape", "noise", noise, seed))
            spread = minibatch_variance(gradients, batch) / curvature.square()
            known = None
            if whole:
                known = predicted_variance(
                    curvature,
                    spread,
                    rate,
                    window=scene.window_steps,
                    epoch=epoch if sampling == "without" else None,
                )
            path = walked(noise, gradients)
            rows += _rows(seed, noise, sampling, curvature, loss, path, known)
            if noise == "measured":
                rows += _local(seed, noise, sampling, curvature, loss, path, epoch)
        for hessians in ("diagonal", "whole"):
            path = walked(hessians, measured, hessians)
            rows += _rows(seed, hessians, sampling, curvature, loss, path)
    return rows


def _rows(
    seed: int,
    source: str,
    sampling: Sampling,
    curvature: Tensor,
    loss: float,
    path: Tensor,
    predicted: Tensor | None = None,
) -> Rows:
    """Return the rows of one path [T, K] along the basis and along its own components."""
    gap = path - path.mean(0)
    values, vectors = symmetric_eigen((gap.T @ gap / len(gap)).unsqueeze(0))
    variances, own = values[0].flip(0), vectors[0].flip(1)
    empty = torch.full_like(curvature, torch.nan)
    bases = {
        "hessian": (
            curvature,
            gap.square().mean(0),
            gap,
            empty if predicted is None else predicted,
        ),
        "principal": (own.square().T @ curvature, variances, gap @ own, empty),
    }
    rows: Rows = []
    for basis, (curved, variance, along, known) in bases.items():
        memory = correlation_time(along.unsqueeze(0)).steps[0]
        columns = {
            "curvature": curved,
            "flatness": flatness_of(curved, loss),
            "variance": variance,
            "correlation_time": memory,
            "predicted": known,
        }
        where = {"seed": seed, "source": source, "sampling": sampling, "basis": basis}
        for index in range(len(curvature)):
            numbers = {name: float(column[index]) for name, column in columns.items()}
            rows.append({**where, "index": index, **numbers})
    return rows


def _local(
    seed: int,
    source: str,
    sampling: Sampling,
    curvature: Tensor,
    loss: float,
    path: Tensor,
    width: int,
) -> Rows:
    """Return the rows of a path less its moving mean; none of a path shorter than two widths."""
    if len(path) < 2 * width:
        return []
    summed = torch.cat([torch.zeros_like(path[:1]), path.cumsum(0)])
    around = (summed[width:] - summed[:-width]) / width
    middle = path[width // 2 :][: len(around)]
    return _rows(seed, f"local {source}", sampling, curvature, loss, middle - around)


def _residuals(scene: Scene, run: int, directions: Tensor, own: Samples) -> Rows:
    """Return how strong the noise would be were residuals of other lengths, along both bases."""
    principal = scene.principal["raw"]
    along = samples(scene.landscape, run, principal.directions[run])
    bases = {
        "hessian": (range(len(directions)), own),
        "principal": (principal.indices, along),
    }
    rows: Rows = []
    for basis, (indices, found) in bases.items():
        curvature = found.roots.square().sum(1).double().mean(0)
        for power in POWERS:
            noise = minibatch_variance(found.rescaled(power), scene.setting.batch_size)
            where = {"seed": scene.seeds[run], "power": power, "basis": basis}
            rows += [
                {**where, "index": i, "curvature": float(curvature[k]), "noise": float(noise[k])}
                for k, i in enumerate(indices)
            ]
    return rows
