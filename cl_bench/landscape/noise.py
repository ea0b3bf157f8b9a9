"""SGD's noise along the window's principal directions, and the theory held to what was measured.

Temperature and correlation time are those of the window's own minibatches and motion, curvature is
that at its end. With F_i and T_i known, the random landscape theory has no free number left: it
says what each variance should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cl_bench.instruments.temperature import GradientNoise, Temperature, correlation_time
from cl_bench.landscape.theory import curvature_of, predicted_variance, simulate, spread_of
from cl_bench.landscape.trajectory import Projections

if TYPE_CHECKING:
    from cl_bench.landscape.phases import Rows, Tables
    from cl_bench.landscape.scene import Scene


def noise(scene: Scene) -> Tables:
    """Return a `noise` table: a row a seed, analysis and direction.

    Columns: `index`, `variance` sigma_i^2 and `flatness` F_i of the `directions` table,
    `curvature` p^T H p of the training loss, `temperature` T_i of minibatch noise,
    `gradient_power`, T_i with the mean gradient's part, `correlation_time` tau_i in steps with its
    `correlation_time_error` and whether it is `converged`; sigma_i^2 as temperature and memory
    make it, `from_memory` = alpha T_i tau_i; and as the theory has it, which puts curvature in
    place of memory: `predicted`, `simulated`, and `predicted_alike`, were all directions as warm as
    their mean.
    """
    if not scene.setting.noise:
        return {}
    rate = scene.dynamics.learner.effective_rate
    directions = torch.cat([found.directions for found in scene.principal.values()], 1)
    warm, projections = _through_window(scene, directions)
    scene.report("noise: curvature", 0.0)
    curvature = scene.landscape.curvature(directions)
    rows: Rows = []
    first = 0
    for name, found in scene.principal.items():
        own = slice(first, first + len(found.indices))
        first = own.stop
        temperature, flatness = warm.noise[:, own], scene.flatness[name]
        tau = correlation_time(projections[..., own], detrended=name == "detrended")
        columns = {
            "variance": found.variances,
            "flatness": flatness,
            "curvature": curvature[:, own],
            "temperature": temperature,
            "gradient_power": warm.total[:, own],
            "correlation_time": tau.steps,
            "correlation_time_error": tau.error,
            "converged": tau.converged,
            "from_memory": rate.double() * temperature * tau.steps,
            **_theory(scene, flatness.double(), temperature, rate),
        }
        for run, seed in enumerate(scene.seeds):
            for column, index in enumerate(found.indices):
                values = {key: value[run, column].item() for key, value in columns.items()}
                rows.append({"seed": seed, "analysis": name, "index": index, **values})
    return {"noise": rows}


def _through_window(scene: Scene, directions: Tensor) -> tuple[Temperature, Tensor]:
    """Return the temperature in the window, and its weights less the last ones, [R, T, k]."""
    learner, studied = scene.dynamics.learner, scene.studied
    moments = GradientNoise(directions)
    points = Projections(directions, studied.of(scene.theta), scene.window_steps)

    def visit(step: int) -> None:
        moments.add(studied.of(learner.gradient))
        points.add(studied.of(learner.theta))

    scene.through_window(visit, "noise")
    return moments.temperature(learner.effective_rate), points.path


def _theory(scene: Scene, flatness: Tensor, temperature: Tensor, rate: Tensor) -> dict[str, Tensor]:
    """Return the variances [R, k] that the theory has for flatness and temperature [R, k].

    NaN where it says nothing: another optimiser than SGD (with momentum), a window that is not
    whole epochs, a direction that is too sharp for the rate, or without a wall.
    """
    columns = ("predicted", "predicted_alike", "simulated")
    nothing = {name: torch.full_like(flatness, torch.nan) for name in columns}
    setting = scene.setting
    epoch = scene.dynamics.steps(1)
    without = setting.sampling == "without"
    whole = scene.window_steps % epoch == 0
    if setting.optimizer.name not in ("sgd", "momentum") or not whole:
        return nothing
    loss, _ = scene.dynamics.loss_and_error(scene.theta)
    alpha = rate.double()
    curvature = curvature_of(flatness, loss.unsqueeze(1))
    usable = (alpha * curvature < 1) & flatness.isfinite()
    kept = torch.where(usable, curvature, torch.full_like(curvature, 1e-3))
    spread = spread_of(temperature, kept, alpha)
    alike = spread_of(temperature.mean(1, keepdim=True), kept, alpha)
    found: dict[str, list[Tensor]] = {name: [] for name in columns}
    for run, seed in enumerate(scene.seeds):
        number = float(alpha[run])
        for name, each in (("predicted", spread), ("predicted_alike", alike)):
            variance = predicted_variance(
                kept[run],
                each[run],
                number,
                window=scene.window_steps,
                epoch=epoch if without else None,
            )
            found[name].append(variance)
        if epoch % 2:  # the simulation deals minima out in pairs
            found["simulated"].append(nothing["simulated"][run])
            continue
        made = simulate(
            kept[run],
            spread[run],
            number,
            seeds=[seed],
            window=scene.window_steps,
            epoch=epoch,
            replacement=not without,
        )
        found["simulated"].append(made.variance[0])
    empty = torch.full_like(flatness, torch.nan)
    return {name: torch.where(usable, torch.stack(each), empty) for name, each in found.items()}
