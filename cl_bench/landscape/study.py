"""A study: train a setting's seeds, measure, relate, decide; each stack of seeds is a part of it.

`MEASUREMENTS` is all there is to be measured; a further one is a function from a scene to tables,
put there under its name.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cl_bench import benchmarks
from cl_bench.engine.sources import code_version
from cl_bench.engine.threads import one_thread
from cl_bench.execution.pool import Report
from cl_bench.landscape import annealing_claim, claims, findings, relation, same_landscape
from cl_bench.landscape.annealing import annealing
from cl_bench.landscape.controls import layer_alone, random_walk
from cl_bench.landscape.dynamics import Dynamics
from cl_bench.landscape.findings import Findings
from cl_bench.landscape.fixed_basis import fixed_basis
from cl_bench.landscape.layer import Landscape
from cl_bench.landscape.noise import noise
from cl_bench.landscape.phases import Phases, Rows, Tables
from cl_bench.landscape.relation import Verdict
from cl_bench.landscape.scene import (
    ANALYSES,
    RELATIVE_ERROR,
    Principal,
    Scene,
    direction_rows,
    principal,
)
from cl_bench.landscape.setting import Setting
from cl_bench.landscape.trajectory import MovingMean, Trajectory
from cl_bench.results.provenance import collect

if TYPE_CHECKING:
    import pandas as pd

Measurement = Callable[[Scene], Tables]

WORK = ".landscape"
"""The folder, beside the records, of studies that are not finished."""


def training(scene: Scene) -> Tables:
    """Return the exact training loss and error at the window's start and end."""
    rows: Rows = []
    setting = scene.setting
    for epoch, theta in (
        (setting.epochs, scene.weights_at_start()),
        (setting.epochs + setting.window_epochs, scene.theta),
    ):
        loss, error = scene.dynamics.loss_and_error(theta)
        rows += [
            {"seed": s, "epoch": float(epoch), "loss": float(loss[r]), "error": float(error[r])}
            for r, s in enumerate(scene.seeds)
        ]
    return {"training": rows}


def fluctuation(scene: Scene) -> Tables:
    """Return variance and flatness along the window's principal directions."""
    rows: Rows = []
    for analysis, found in scene.principal.items():
        sides = scene.sides[analysis]
        rows += direction_rows(scene.seeds, "sgd", analysis, found.indices, found.variances, sides)
    return {"directions": rows}


def random(scene: Scene) -> Tables:
    """Return the same along directions that have nothing to do with training."""
    if not scene.setting.controls:
        return {}
    rows: Rows = []
    sides = scene.landscape.sides(scene.random, relative_error=RELATIVE_ERROR)
    indices = range(scene.random.shape[1])
    for analysis in ANALYSES:
        variances = scene.random_variances(analysis)
        rows += direction_rows(scene.seeds, "random", analysis, indices, variances, sides)
    return {"directions": rows}


def walk(scene: Scene) -> Tables:
    """Return the same for random walks: with training's step covariance, and with its spectrum.

    The walk whose steps have training's covariance keeps what training's noise knows of the
    landscape: it is no null, but evidence that noise suffices, with no force back. The same walk
    with the weights dealt out anew ("permuted") has the same variances along directions that know
    nothing: what PCA alone makes of a walk.
    """
    if not scene.setting.controls:
        return {}
    trajectory = scene.follow(scene.window_steps)
    random_walk(scene.dynamics, scene.step_factor(), scene.window_steps, trajectory.add)
    order = scene.dynamics.permutation("permuted", scene.studied.size, 0).unsqueeze(1)
    rows: Rows = []
    for analysis in ANALYSES:
        found = principal(trajectory, scene.setting, detrended=analysis == "detrended")
        rows += _flat(scene, scene.landscape, "walk", analysis, found)
        dealt = found.directions.gather(2, order.expand_as(found.directions))
        rows += _flat(
            scene, scene.landscape, "permuted", analysis, replace(found, directions=dealt)
        )
    return {"directions": rows}


def local(scene: Scene) -> Tables:
    """Return the same for training less its mean over an epoch around each step."""
    width = scene.dynamics.steps(1)
    if not scene.setting.controls or scene.window_steps < 2 * width:
        return {}
    trajectory = scene.follow(scene.window_steps - width + 1)
    around = MovingMean(width, trajectory)
    learner, studied = scene.dynamics.learner, scene.studied
    scene.through_window(lambda step: around.add(studied.of(learner.theta)), "moving mean")
    found = principal(trajectory, scene.setting, detrended=False)
    return {"directions": _flat(scene, scene.landscape, "local", "raw", found)}


def layer_only(scene: Scene) -> Tables:
    """Return the same for training of the studied weights alone, all others held."""
    return _alone(scene, "layer", isotropic=False)


def isotropic(scene: Scene) -> Tables:
    """Return the same for the studied weights under isotropic noise in place of minibatches'."""
    return _alone(scene, "isotropic", isotropic=True)


MEASUREMENTS: dict[str, Measurement] = {
    "training": training,
    "fluctuation": fluctuation,
    "noise": noise,
    "annealing": annealing,
    "random": random,
    "walk": walk,
    "layer": layer_only,
    "isotropic": isotropic,
    "local": local,
    "fixed basis": fixed_basis,
}
"""In this order; each one's tables are kept when it is done."""


def _alone(scene: Scene, source: str, *, isotropic: bool) -> Tables:
    setting = scene.setting
    if not (setting.controls and setting.alone) or setting.layer is None:
        return {}
    at_start = scene.landscape_at(scene.weights_at_start())
    trajectory = scene.follow(scene.window_steps)
    steps = scene.window_steps
    last = layer_alone(at_start, scene.dynamics, steps, trajectory, isotropic=isotropic)
    theta = scene.studied.put(scene.weights_at_start(), last)
    landscape = at_start.moved(theta)
    return {"directions": _of_trajectory(scene, landscape, source, trajectory)}


def _of_trajectory(scene: Scene, landscape: Landscape, source: str, trajectory: Trajectory) -> Rows:
    rows: Rows = []
    for analysis in ANALYSES:
        found = principal(trajectory, scene.setting, detrended=analysis == "detrended")
        rows += _flat(scene, landscape, source, analysis, found)
    return rows


def _flat(scene: Scene, landscape: Landscape, source: str, analysis: str, found: Principal) -> Rows:
    sides = landscape.sides(found.directions, relative_error=RELATIVE_ERROR)
    return direction_rows(scene.seeds, source, analysis, found.indices, found.variances, sides)


def work_folder(out: Path, setting: Setting) -> Path:
    """Return where a study that is not finished is kept."""
    return out / WORK / f"{setting.setting_id}-{code_version('landscape')[:8]}"


@dataclass(frozen=True)
class Part:
    """Some seeds of a study, measured as one stack."""

    setting: Setting
    seeds: tuple[int, ...]
    folder: Path
    """The study's work folder."""
    data_dir: Path | None = None


def divide(setting: Setting, folder: Path, data_dir: Path | None, workers: int) -> list[Part]:
    """Return the study's seeds in as many parts as there are workers, as even as they can be."""
    seeds, parts = setting.all_seeds, min(workers, setting.seeds)
    edges = [len(seeds) * i // parts for i in range(parts + 1)]
    return [Part(setting, seeds[low:high], folder, data_dir) for low, high in pairwise(edges)]


def measure(part: Part, report: Report) -> None:
    """Do all the work for a part of a study, into the study's work folder.

    What is there already is not done again.
    """
    with torch.no_grad(), one_thread():
        phases = Phases(part.folder, part.seeds)
        report("load data", 0.0)
        scene = Scene(Dynamics(part.setting, part.seeds, part.data_dir), phases, report)
        for name, function in MEASUREMENTS.items():
            report(name, 0.0)
            phases.tables(name, partial(function, scene))


def finish(setting: Setting, folder: Path, started: datetime) -> Findings:
    """Return the record of a study whose every seed has been measured."""
    import pandas as pd

    phases = Phases(folder, setting.all_seeds)
    rows: Tables = {}
    for name in MEASUREMENTS:
        for table, found in phases.tables(name, _missing).items():
            rows.setdefault(table, []).extend(found)
    tables = {name: pd.DataFrame(found) for name, found in rows.items() if found}
    further, verdicts = conclusions(tables)
    tables |= {name: pd.DataFrame(each) for name, each in further.items() if each}
    provenance = collect("cpu", 1, started=started, finished=datetime.now(UTC))
    return Findings(setting, tables, verdicts, provenance)


def conclusions(tables: dict[str, pd.DataFrame]) -> tuple[Tables, list[Verdict]]:
    """Return what follows from the measured tables: further tables, and a verdict a claim."""
    found: Tables = {"relations": relation.relations(tables["directions"])}
    noise = tables.get("noise")
    if noise is not None:
        found["noise_relations"] = claims.noise_relations(noise)
        found["theory"] = claims.theory_fit(noise)
    if "annealing" in tables:
        found["annealing_figures"] = annealing_claim.annealing_figures(tables["annealing"])
    if "fixed_basis" in tables:
        found["fixed_relations"] = same_landscape.fixed_relations(tables["fixed_basis"])
        found["residual_exponents"] = same_landscape.residual_exponents(tables["residuals"])
    verdicts = [
        relation.verdict(found["relations"]),
        claims.noise_verdict(
            found.get("noise_relations", []),
            found.get("theory", []),
            found["relations"],
            found.get("fixed_relations", []),
        ),
        annealing_claim.annealing_verdict(found.get("annealing_figures", [])),
    ]
    return found, verdicts


def _missing() -> Tables:
    raise RuntimeError("a part of the study has not been measured")


def store(out: Path, found: Findings, folder: Path) -> Path:
    """Write a study's record and remove what led to it."""
    path = findings.write(out, found)
    shutil.rmtree(folder, ignore_errors=True)
    return path


def resolved(setting: Setting, data_dir: Path | None, download: bool) -> tuple[Setting, str]:
    """Return the setting as the data that are there allow it, and a notice if they stand in.

    Raises:
        UserError: there are no data, or fewer than are asked for.
    """
    asked = setting.run_config(0).benchmark
    benchmark: Any = benchmarks.get(asked, data_dir=data_dir, download=download)
    changes = {
        "dataset": benchmark.config.name.removeprefix("split-"),
        "train_samples": benchmark.config.train_samples,
    }
    return setting.model_copy(update=changes), benchmark.notice or ""
