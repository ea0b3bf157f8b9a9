"""What a measurement sees: a trained stack, its window, the principal directions, the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cl_bench.engine.state import State
from cl_bench.execution.pool import Report
from cl_bench.instruments.flatness import Sides
from cl_bench.landscape.controls import random_directions
from cl_bench.landscape.dynamics import Dynamics
from cl_bench.landscape.layer import Landscape, Studied
from cl_bench.landscape.phases import Phases, Rows
from cl_bench.landscape.setting import Sampling, Setting
from cl_bench.landscape.trajectory import Trajectory, follow

ANALYSES = ("raw", "detrended")
"""Before the PCA each weight's straight-line drift over the window is left in, or taken away."""
RELATIVE_ERROR = 0.01
"""Of the measured flatness."""


@dataclass(frozen=True)
class Principal:
    """Some principal directions of a trajectory."""

    indices: list[int]
    """i, from 0 in falling order of variance."""
    directions: Tensor
    """p_i, [R, k, N]."""
    variances: Tensor
    """sigma_i^2, [R, k], float64."""


def principal(trajectory: Trajectory, setting: Setting, *, detrended: bool) -> Principal:
    """Return the directions of a trajectory that the setting asks for."""
    found = trajectory.components(detrended=detrended, count=setting.last)
    indices = setting.directions(found.variances.shape[1])
    return Principal(
        indices, found.directions[:, indices].float(), found.variances[:, indices].double()
    )


class Scene:
    """One stack of seeds of a study, trained to the end of its window.

    Args:
        dynamics: the stack; its learner is taken to the window's end.
        phases: what there is of it already.
        report: is told of the progress.
    """

    def __init__(self, dynamics: Dynamics, phases: Phases, report: Report) -> None:
        self.dynamics = dynamics
        self.setting = dynamics.setting
        self.seeds = dynamics.seeds
        self.report = report
        self.studied = Studied(dynamics.network, self.setting.layer)
        self.first_step = dynamics.steps(self.setting.epochs)
        """Steps before the window."""
        self.window_steps = dynamics.steps(self.setting.window_epochs)
        trained = phases.state("start", self._train)
        self.looked_at: list[int] = trained.tree.pop("steps looked at")
        """Steps whose weights were kept, ascending, from 0."""
        self.looks = trained.tensors.pop("looks")
        """All weights at those steps, [R, n, D]."""
        self.start = trained
        """The state at the window's start; `dynamics.load_state` goes back to it."""
        self._window = phases.state("window", self._follow_window)
        self.theta: Tensor = self._window.tensors["theta"]
        """All weights at the window's end, w0, [R, D]; the learner has them, too."""
        dynamics.learner.theta.copy_(self.theta)
        self.principal = {
            name: Principal(
                self._window.tree["indices"],
                self._window.tensors[f"{name}:directions"],
                self._window.tensors[f"{name}:variances"],
            )
            for name in ANALYSES
        }
        """The principal directions of the window, by analysis."""
        self.random = self._window.tensors["random:directions"]
        """Directions that have nothing to do with training, [R, k, N]."""

    def weights_at_start(self) -> Tensor:
        """Return all weights at the window's start, [R, D]."""
        return self.start.tensors["theta"]

    def step_factor(self) -> Tensor:
        """Return [R, m, N] whose transpose times itself is the covariance of a step."""
        return self._window.tensors["steps"]

    def random_variances(self, analysis: str) -> Tensor:
        """Return the window's variance along the random directions, [R, k]."""
        return self._window.tensors[f"{analysis}:random"]

    @cached_property
    def landscape(self) -> Landscape:
        """The loss around the weights at the window's end."""
        return Landscape(self.studied, self.theta, self.dynamics.sweep())

    @cached_property
    def flatness(self) -> dict[str, Tensor]:
        """F_i along the principal directions, [R, k], by analysis; infinite without a wall."""
        return {
            name: torch.where(sides.error.isfinite(), sides.flatness, torch.inf)
            for name, sides in self.sides.items()
        }

    @cached_property
    def sides(self) -> dict[str, Sides]:
        """How far the loss is flat along the principal directions, by analysis."""
        return {
            name: self.landscape.sides(found.directions, relative_error=RELATIVE_ERROR)
            for name, found in self.principal.items()
        }

    def landscape_at(self, theta: Tensor) -> Landscape:
        """Return the loss around other weights [R, D]."""
        return Landscape(self.studied, theta, self.dynamics.sweep())

    def follow(self, expected: int) -> Trajectory:
        """Return what takes in the studied weights' trajectory of so many steps."""
        return follow(
            self.setting.trajectory,
            self.dynamics,
            self.studied.size,
            expected=expected,
            count=self.setting.last,
        )

    def through_window(
        self, visit: Callable[[int], None], doing: str, sampling: Sampling | None = None
    ) -> None:
        """Train through the window (again); `visit` is called after each step with its number.

        With a sampling that is not the setting's, as training would have gone with that.
        """
        self.dynamics.load_state(self.start)

        def visited(step: int) -> None:
            visit(step)
            self.report(doing, (step - self.first_step) / self.window_steps)

        last = self.first_step + self.window_steps
        self.dynamics.train_to(last, visited, sampling=sampling)

    def _train(self) -> State:
        """Train to the window's start, and keep the weights at some steps on the way."""
        dynamics, last = self.dynamics, self.first_step
        steps = log_spaced(last, self.setting.looks) if self.setting.looks else []
        kept = [dynamics.learner.theta.clone()] if steps else []

        def visit(step: int) -> None:
            if step in wanted:
                kept.append(dynamics.learner.theta.clone())
            self.report("train", step / last)

        wanted = set(steps)
        dynamics.train_to(last, visit)
        state = dynamics.state()
        whole = dynamics.learner.theta.unsqueeze(1)
        state.tensors["looks"] = torch.stack(kept, 1) if kept else whole[:, :0]
        state.tree["steps looked at"] = steps
        return state

    def _follow_window(self) -> State:
        dynamics, learner = self.dynamics, self.dynamics.learner
        points, steps = self.follow(self.window_steps), self.follow(self.window_steps)
        before = self.studied.of(self.weights_at_start()).clone()

        def visit(step: int) -> None:
            now = self.studied.of(learner.theta)
            points.add(now)
            steps.add(now - before)
            before.copy_(now)

        self.through_window(visit, "window")
        tensors = {"theta": learner.theta.clone(), "steps": steps.factor()}
        self.report("principal components", 0.0)
        size = self.studied.size
        random = random_directions(dynamics, min(self.setting.leading, size), size)
        tensors["random:directions"] = random
        indices: list[int] = []
        for name in ANALYSES:
            found = principal(points, self.setting, detrended=name == "detrended")
            tensors[f"{name}:directions"] = found.directions
            tensors[f"{name}:variances"] = found.variances
            along = points.variance_along(random, detrended=name == "detrended")
            tensors[f"{name}:random"] = along.double()
            indices = found.indices
        return State({"indices": indices}, tensors)


def direction_rows(
    seeds: Sequence[int],
    source: str,
    analysis: str,
    indices: Sequence[int],
    variances: Tensor,
    sides: Sides,
) -> Rows:
    """Return the rows of a `directions` table: one a seed and direction."""
    found = sides.flatness
    return [
        {
            "seed": seed,
            "source": source,
            "analysis": analysis,
            "index": index,
            "variance": float(variances[run, column]),
            "flatness": float(found[run, column]),
            "left": float(sides.left[run, column]),
            "right": float(sides.right[run, column]),
            "error": float(sides.error[run, column]),
        }
        for run, seed in enumerate(seeds)
        for column, index in enumerate(indices)
    ]


def log_spaced(last: int, count: int) -> list[int]:
    """Return 0, about `count` steps evenly spaced in the logarithm, and the last, ascending."""
    powers = (i / max(count - 1, 1) for i in range(count))
    return sorted({0, last, *(min(last, round(last**power)) for power in powers)})
