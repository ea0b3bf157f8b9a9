"""A trial: one choice of settings, and what its runs on validation data gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cl_bench.config import Section

Settings = dict[str, int | float]
"""By the name of a setting's `Range`."""


@dataclass(frozen=True)
class Trial:
    """Settings to be tried."""

    number: int
    """From 0, which is the strategy's defaults."""
    settings: Settings
    length: float = 1.0
    """Share of the protocol's training; below 1 in the first rounds of successive halving."""


class TrialRun(Section):
    """One tuning seed of a trial."""

    seed: int
    run_id: str
    value: float
    """The metric, on validation data."""
    diverged: bool
    """Whether a loss on a learnt task, or a weight, is not finite."""
    gradient_passes: float
    """Gradients taken, in minibatches."""


class TrialResult(Section):
    """What a trial gave; its mean with the bootstrap interval over the seeds."""

    number: int
    settings: Settings
    length: float
    mean: float
    low: float | None
    high: float | None
    runs: tuple[TrialRun, ...]

    @property
    def diverged(self) -> bool:
        """Return whether any of its runs did: such a trial is never chosen."""
        return any(run.diverged for run in self.runs)

    @property
    def gradient_passes(self) -> float:
        """Return the gradients taken by all of its runs, in minibatches."""
        return sum(run.gradient_passes for run in self.runs)


def result_of(trial: Trial, runs: Sequence[TrialRun]) -> TrialResult:
    """Return the result of a trial with these runs, one a seed."""
    from cl_bench.metrics.statistics import mean_interval

    interval = mean_interval([run.value for run in runs])
    known = len(runs) > 1
    return TrialResult(
        number=trial.number,
        settings=trial.settings,
        length=trial.length,
        mean=interval.mean,
        low=interval.low if known else None,
        high=interval.high if known else None,
        runs=tuple(runs),
    )
