"""SGD's noise along the window's principal directions, and the theory held to what was measured.

Temperature and curvature are those at the window's end, the correlation time that of the window's
own motion. With F_i and T_i known, the random landscape theory has no free number left: it says
what each variance should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cl_bench.landscape.controls import minibatch_rows
from cl_bench.landscape.temperature import GradientNoise, Temperature, correlation_time
from cl_bench.landscape.theory import curvature_of, predicted_variance, simulate, spread_of

if TYPE_CHECKING:
    from cl_bench.landscape.phases import Rows, Tables
    from cl_bench.landscape.scene import Scene

EPOCHS = 1
"""Of minibatches that the temperature is measured on: one has every image once."""


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
    rows: Rows = []
    for name, found in scene.principal.items():
        directions, rate = found.directions, scene.dynamics.learner.effective_rate
        scene.report(f"noise: {name}: curvature", 0.0)
        curvature = scene.landscape.curvature(directions)
        warm = _temperature(scene, directions)
        tau = correlation_time(_projections(scene, directions), detrended=name == "detrended")
        columns = {
            "variance": found.variances,
            "flatness": scene.flatness[name],
            "curvature": curvature,
            "temperature": warm.noise,
            "gradient_power": warm.total,
            "correlation_time": tau.steps,
            "correlation_time_error": tau.error,
            "converged": tau.converged,
            "from_memory": rate.double() * warm.noise * tau.steps,
            **_theory(scene, scene.flatness[name].double(), warm.noise, rate),
        }
        for run, seed in enumerate(scene.seeds):
            for column, index in enumerate(found.indices):
                values = {key: value[run, column].item() for key, value in columns.items()}
                rows.append({"seed": seed, "analysis": name, "index": index, **values})
    return {"noise": rows}


def _temperature(scene: Scene, directions: Tensor) -> Temperature:
    """Return the temperature at the window's end, over one epoch of minibatches."""
    moments, landscape, dynamics = GradientNoise(directions), scene.landscape, scene.dynamics
    size = scene.setting.batch_size
    steps = max(1, EPOCHS * landscape.inputs.shape[1] // size)
    rows = minibatch_rows(dynamics, landscape, steps, size, "temperature")
    for number, some in enumerate(rows):
        if number % 64 == 0:
            scene.report("noise: temperature", number / steps)
        moments.add(landscape.gradient(landscape.weights, some))
    return moments.temperature(dynamics.learner.effective_rate)


def _projections(scene: Scene, directions: Tensor) -> Tensor:
    """Return the window's weights along directions, less those at its end, [R, T, k]."""
    found: list[Tensor] = []
    last = scene.studied.of(scene.theta)

    def visit(step: int) -> None:
        gap = scene.studied.of(scene.dynamics.learner.theta) - last
        found.append(torch.bmm(directions, gap.unsqueeze(2)).squeeze(2))

    scene.through_window(visit, "noise: correlation time")
    return torch.stack(found, 1)


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
    whole = scene.window_steps % epoch == 0 and epoch % 2 == 0
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
