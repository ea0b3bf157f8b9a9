"""The small trainings that the checks of one strategy in one scenario share, each made once.

A few hundred real MNIST images, a tiny network, a hundred steps: a tenth of a second each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from cl_bench import benchmarks
from cl_bench.config import (
    BenchmarkConfig,
    EvaluationConfig,
    NetworkConfig,
    Protocol,
    RunConfig,
    Scenario,
    TrainingConfig,
)
from cl_bench.conformance.quick import SHORTER, allows, other_values
from cl_bench.conformance.stops import Stopped, Stops
from cl_bench.engine import task_steps, train_stack
from cl_bench.engine.checkpoint import Checkpoint, Snapshot
from cl_bench.engine.stack import Stack, assemble
from cl_bench.engine.strategy import Strategy, all_settings, free_settings
from cl_bench.engine.threads import threads
from cl_bench.planning import finding
from cl_bench.planning.resolving import runs_of
from cl_bench.results.record import RunRecord

CPU = torch.device("cpu")
# The real images that come with a dependency: they are always there and quickly read.
DATASET = "mnist-5k"
TRAIN, TEST, BATCH = 128, 50, 16
SEED = 1
"""The seed of the run that is looked at; others keep it company."""


@dataclass(frozen=True)
class Stacked:
    """What came of a stack, and what was saved of it on the way."""

    configs: list[RunConfig]
    records: list[RunRecord]
    folder: Path

    def snapshot(self, moment: int) -> Snapshot:
        """Return what was saved at a moment, read from its file."""
        runs = [config.run_id for config in self.configs]
        found = Checkpoint(self.folder / str(moment)).read(runs, CPU)
        assert found is not None, "a checkpoint just written can be read"
        return found


class Trainings:
    """One strategy in one scenario, and its trainings.

    Args:
        name: the strategy's.
        scenario: one that it supports.
        folder: an empty folder to work in.
    """

    def __init__(self, name: str, scenario: Scenario, folder: Path) -> None:
        self.name = name
        self.scenario = scenario
        self.folder = folder

    # --- runs -------------------------------------------------------------------------------

    @cached_property
    def kind(self) -> type[Strategy]:
        """The strategy's class."""
        return finding.load(self.name)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings that make it quick; its defaults where these do not go together."""
        return self.quick()

    def quick(self, **wanted: Any) -> dict[str, Any]:
        """Return valid settings with these values, quick ones if possible."""
        fields = self.kind.Settings.model_fields
        short = {k: v for k, v in SHORTER.items() if k in fields}
        for values in ({**short, **wanted}, wanted):
            if allows(self.kind.Settings, values):
                break
        return all_settings(self.kind, self.kind.Settings(**values).model_dump(mode="json"))

    def config(
        self,
        seed: int = SEED,
        settings: dict[str, Any] | None = None,
        *,
        family: str = "split",
        tasks: int | None = None,
        network: NetworkConfig | None = None,
        training: TrainingConfig | None = None,
        evaluated_every: int | None = 5,
        images: int = TRAIN,
    ) -> RunConfig:
        """Return a run as the plan would make it.

        Raises:
            UserError: the plan refuses it.
        """
        benchmark = benchmarks.get(
            BenchmarkConfig(
                name=f"{family}-{DATASET}",
                tasks=tasks,
                scenario=self.scenario,
                train_samples=images,
                test_samples=TEST,
            ),
            download=False,
        )
        network = network or NetworkConfig(hidden=(16, 16))
        if network.name not in self.kind.networks:
            network = network.model_copy(update={"name": min(self.kind.networks)})
        protocol = Protocol(
            benchmark=benchmark.config,
            network=network,
            training=training or TrainingConfig(batch_size=BATCH, iterations=self.iterations),
            evaluation=EvaluationConfig(every=evaluated_every),
            strategies={self.name: self.settings if settings is None else settings},
            seeds=1,
            first_seed=seed,
        )
        return runs_of(protocol, benchmark)[0]

    @cached_property
    def iterations(self) -> int:
        """Minibatches a task: few, but as many as the strategy asks for at these settings."""
        enough = (8, 32, 128, 512)
        for iterations in enough:
            try:
                self.kind.check(self.settings, iterations + self.extra, 0)
            except ValueError:
                continue
            return iterations
        return enough[-1]

    @property
    def extra(self) -> int:
        """The steps of an exploration."""
        return self.kind.extra_steps(self.settings)

    @cached_property
    def others(self) -> list[dict[str, Any]]:
        """Settings for the company: every number that may differ in a stack does."""
        found = []
        for share in (0.25, 0.75):
            values = dict(self.settings)
            for name in sorted(free_settings(self.kind)):
                for value in other_values(self.kind, name, share):
                    if allows(self.kind.Settings, {**values, name: value}):
                        values[name] = value
                        break
            found.append(values)
        return found

    # --- trainings --------------------------------------------------------------------------

    @cached_property
    def alone(self) -> RunRecord:
        """The run that all others are compared with."""
        return train([self.config()])[0]

    @cached_property
    def stacked(self) -> Stacked:
        """The same run between two others, of another seed and of other settings."""
        folder = self._folder("stacked")
        configs = [
            self.config(SEED - 1, self.others[0]),
            self.config(),
            self.config(SEED, self.others[1]),
        ]
        watch = Stops(folder, self.moments, stopping=False)
        return Stacked(configs, train(configs, watch), folder)

    @cached_property
    def again(self) -> RunRecord:
        """The same run once more, not evaluated while it trains, with two threads."""
        with threads(2):
            return train([self.config(evaluated_every=None)])[0]

    @cached_property
    def resumed(self) -> Stacked:
        """The same run, stopped and resumed at every one of the moments."""
        return self.stopped_at(self.moments)

    def stopped_at(self, moments: Collection[int]) -> Stacked:
        """Return the run, stopped and resumed at these moments."""
        folder = self._folder("stopped")
        stops = Stops(folder, moments, stopping=True)
        for _ in range(len(moments) + 1):
            try:
                return Stacked([self.config()], train([self.config()], stops), folder)
            except Stopped:
                continue
        raise AssertionError("a training stops once a moment")

    @cached_property
    def taken_out(self) -> RunRecord:
        """The same run, resumed alone from a checkpoint of the stack."""
        path = self.stacked.folder / str(self.within[-1])
        return train([self.config()], Checkpoint(path, seconds=None))[0]

    # --- moments ----------------------------------------------------------------------------

    @cached_property
    def moments(self) -> dict[int, str]:
        """Moments at which a checkpoint can be written, and what a person calls them."""
        benchmark = benchmarks.get(self.config().benchmark, download=False)
        found: dict[int, str] = {}
        start = 0
        for task in range(benchmark.n_tasks):
            ordinary = task_steps(self.config(), benchmark, self.kind, task)
            end = start + ordinary + self.extra
            if task % 2 == 0:
                found[start + (ordinary + 1) // 2] = f"in the middle of task {task + 1}"
                if self.extra:
                    middle = start + ordinary + (self.extra + 1) // 2
                    found[middle] = f"in the middle of the exploration of task {task + 1}"
            else:
                found[start + 1] = f"after the first step of task {task + 1}"
                found[end] = f"after the last step of task {task + 1}"
            found[end + 1] = f"after task {task + 1}"
            start = end + 1
        return found

    @property
    def ends(self) -> list[int]:
        """The moments after a task."""
        return [m for m, text in self.moments.items() if text.startswith("after task")]

    @property
    def within(self) -> list[int]:
        """The moments while a task is trained."""
        return [m for m, text in self.moments.items() if not text.startswith("after task")]

    # --- what was saved, alive again --------------------------------------------------------

    def revived(self, stack: Stacked, moment: int) -> Stack:
        """Return a new stack in the state that one was saved in."""
        alive = assemble(stack.configs, self.kind)
        alive.load(stack.snapshot(moment))
        return alive

    def _folder(self, name: str) -> Path:
        folder = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        return folder


def train(configs: Sequence[RunConfig], checkpoint: Checkpoint | None = None) -> list[RunRecord]:
    """Train a stack on the CPU."""
    kind = finding.load(configs[0].strategy.name)
    return train_stack(configs, kind, device="cpu", checkpoint=checkpoint)
