"""One strategy's tuning, from what is asked for to its record, in rounds of training.

A study plans and judges; whoever drives it trains what `asked` returns and keeps the records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from cl_bench.benchmarks import Benchmark
from cl_bench.config import FIRST_TUNING_SEED, Protocol, RunConfig
from cl_bench.errors import UserError
from cl_bench.metrics import Evaluations, evaluations, lookup
from cl_bench.planning.packing import GetBenchmark
from cl_bench.planning.resolving import runs_of
from cl_bench.results.provenance import collect
from cl_bench.results.store import RunStore
from cl_bench.tuning import search
from cl_bench.tuning.record import Budget, Terms, TuningRecord
from cl_bench.tuning.search import Method
from cl_bench.tuning.seeds import check_seeds
from cl_bench.tuning.selection import choose, edges, on_equal_terms, sensitivity
from cl_bench.tuning.space import LEARNING_RATE, space_of
from cl_bench.tuning.trials import Settings, Trial, TrialResult, TrialRun, result_of

if TYPE_CHECKING:
    from cl_bench.metrics import Metric

VALIDATION_FRACTION = 0.1
"""Share of the training data that trials are judged on, where the protocol holds none out."""


@dataclass(frozen=True)
class Request:
    """What is asked for: the protocol to tune for, and the terms that all strategies share."""

    protocol: Protocol
    """As its runs are to be reported."""
    trials: int = 16
    seeds: int = 3
    first_seed: int = FIRST_TUNING_SEED
    method: Method = Method.SOBOL
    metric: str = "average_accuracy"
    validation_fraction: float | None = None
    """None is the protocol's own, or `VALIDATION_FRACTION` where that is 0."""
    ranges: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """By strategy and setting, ends that take the place of the declared ones."""
    learning_rate: tuple[float, float] | None = None

    def check(self) -> None:
        """Raise a `UserError` where this cannot work, whatever the strategies."""
        for name in ("trials", "seeds"):
            if (value := getattr(self, name)) < 1:
                raise UserError(f"{name} = {value}: should be at least 1")
        search.check_method(self.method, self.trials)
        check_seeds(self.first_seed, self.seeds, self.protocol)
        lookup(self.metric)
        fraction = self.validation_fraction
        if fraction is not None and not 0 < fraction < 1:
            raise UserError(
                f"--validation-fraction {fraction:g}: trials are judged on data held out of the "
                "training data; give a share above 0 and below 1"
            )
        if self.protocol.evaluation.split != "test":
            raise UserError(
                "evaluation.split = 'valid': give the protocol as its runs are to be reported; "
                "tune itself evaluates on validation data"
            )

    def judged(self, name: str, trial: Trial, first: bool = False) -> Protocol:
        """Return what a trial of a strategy trains: on less data, judged on what was left out.

        Args:
            name: the strategy.
            trial: its settings.
            first: whether the first seed alone will do.
        """
        chosen = self.reported(name, trial.settings)
        held = self.validation_fraction or chosen.benchmark.validation_fraction
        return chosen.model_copy(
            update={
                "benchmark": chosen.benchmark.model_copy(
                    update={"validation_fraction": held or VALIDATION_FRACTION}
                ),
                "training": chosen.training.model_copy(update=_shorter(chosen, trial.length)),
                "evaluation": chosen.evaluation.model_copy(
                    update={"split": "valid", "landscape": None}
                ),
                "seeds": 1 if first else self.seeds,
                "first_seed": self.first_seed,
            }
        )

    def reported(self, name: str, settings: Settings) -> Protocol:
        """Return the protocol with one strategy at these settings, to be reported."""
        own = {key: value for key, value in settings.items() if key != LEARNING_RATE}
        optimizer = self.protocol.optimizer
        if LEARNING_RATE in settings:
            optimizer = optimizer.model_copy(update={"learning_rate": settings[LEARNING_RATE]})
        given = self.protocol.strategies.get(name, {})
        return self.protocol.model_copy(
            update={"optimizer": optimizer, "strategies": {name: {**given, **own}}}
        )


class Study:
    """The tuning of one strategy.

    Args:
        request: what is asked for.
        name: the strategy.
        get_benchmark: gives the benchmark of a configuration, its data at hand.

    Raises:
        UserError: a setting or a range that cannot be, or a strategy that does not fit.
    """

    def __init__(self, request: Request, name: str, get_benchmark: GetBenchmark) -> None:
        self.request = request
        self.name = name
        self.metric = lookup(request.metric)
        self.get_benchmark = get_benchmark
        protocol = request.protocol
        self.space = space_of(
            name,
            protocol.strategies[name],
            protocol.optimizer,
            ranges=request.ranges.get(name),
            learning_rate=request.learning_rate,
        )
        self.defaults = Trial(0, {each.name: each.default for each in self.space})
        self.benchmark: Benchmark = get_benchmark(request.judged(name, self.defaults).benchmark)
        _check_metric(self.metric, protocol, self.benchmark.n_tasks)
        self.terms = self._terms()
        self.results: list[TrialResult] = []
        self.started = datetime.now(UTC)
        self._search = search.start(
            request.method,
            self.space,
            request.trials,
            higher_is_better=self.metric.higher_is_better,
        )
        self._round: list[Trial] = next(self._search)
        for trial in self._round:  # refused now what a drawn value or a short training makes of it
            self._runs(trial, first=True)

    @property
    def asked(self) -> list[Protocol]:
        """Return what is to be trained next, one protocol a trial; empty when all is done."""
        return [self.request.judged(self.name, trial) for trial in self._round]

    def take(self, store: RunStore) -> None:
        """Take the results of what was asked for, and go on to the next round.

        Raises:
            UserError: a run has no record.
        """
        if not self._round:
            return
        results = [self._result(trial, store) for trial in self._round]
        self.results += results
        try:
            self._round = self._search.send(results)
        except StopIteration:
            self._round = []

    def record(self, store: RunStore, device: str) -> TuningRecord:
        """Return the record of the tuning, all of whose rounds are done."""
        higher = self.metric.higher_is_better
        chosen = choose(self.results, higher)
        compared = on_equal_terms(self.results)
        reported = self._reported(chosen) if chosen else None
        data = store.open(self.results[0].runs[0].run_id).content["data"]
        return TuningRecord(
            tuning_id=self.terms.tuning_id,
            terms=self.terms,
            # where the data lay is no part of what they are, and may name a person's folder
            data={key: value for key, value in data.items() if key != "source"},
            budget=self._budget(),
            chosen=chosen.number if chosen else None,
            protocol_id=reported.protocol_id if reported else None,
            group_id=reported.group_id if reported else None,
            edges=edges(self.space, compared, chosen) if chosen else {},
            results=tuple(self.results),
            sensitivity=sensitivity(self.space, self.results, higher),
            provenance={
                **collect(
                    device=device, threads=1, started=self.started, finished=datetime.now(UTC)
                )
            },
        )

    def _terms(self) -> Terms:
        config = self._runs(self.defaults, first=True)[0]
        request = self.request
        return Terms(
            **config.model_dump(exclude={"seed"}),
            method=request.method,
            metric=self.metric.name,
            higher_is_better=self.metric.higher_is_better,
            trials=request.trials,
            seeds=request.seeds,
            first_seed=request.first_seed,
            space=self.space,
        )

    def _runs(self, trial: Trial, *, first: bool = False) -> list[RunConfig]:
        try:
            return runs_of(self.request.judged(self.name, trial, first), self.benchmark)
        except UserError as error:
            if trial.length == 1:
                raise
            share = f"{trial.length:.0%} of the training"
            raise UserError(f"--method halving, trials with {share}: {error}") from None

    def _result(self, trial: Trial, store: RunStore) -> TrialResult:
        return result_of(trial, [self._judge(config, store) for config in self._runs(trial)])

    def _judge(self, config: RunConfig, store: RunStore) -> TrialRun:
        run = store.open(store.directory(config))
        return TrialRun(
            seed=config.seed,
            run_id=config.run_id,
            value=self.metric.function(evaluations(run.table("accuracy"), run.table("curve"))),
            diverged=run.diverged,
            gradient_passes=run.content["cost"]["gradient_passes"],
        )

    def _reported(self, chosen: TrialResult) -> RunConfig:
        protocol = self.request.reported(self.name, chosen.settings)
        return runs_of(protocol, self.get_benchmark(protocol.benchmark))[0]

    def _budget(self) -> Budget:
        in_full = [each.gradient_passes for each in self.results if each.length == 1]
        trials = self.request.trials if self.space else 1
        return Budget(
            trials=trials,
            gradient_passes=sum(each.gradient_passes for each in self.results),
            full_gradient_passes=trials * sum(in_full) / len(in_full),
        )


def drive(
    studies: Sequence[Study], store: RunStore, train: Callable[[list[Protocol]], None]
) -> None:
    """Take studies through all their rounds, each round of all of them in one call of `train`.

    Args:
        studies: the tunings.
        store: where the records of their runs are kept.
        train: trains what has no record in the store yet; what it raises ends it all.
    """
    while asked := [protocol for study in studies for protocol in study.asked]:
        train(asked)
        for study in studies:
            study.take(store)


def _shorter(protocol: Protocol, length: float) -> dict[str, Any]:
    """Return what changes in the training section at this share of the training."""
    training = protocol.training
    if length == 1:
        return {}
    if training.iterations is not None:
        return {"iterations": max(1, round(training.iterations * length))}
    return {"epochs": (training.epochs or 1) * length}


def _check_metric(metric: Metric, protocol: Protocol, tasks: int) -> None:
    """Refuse a metric that trials cannot have, by asking for it of evaluations that are all 0."""
    none, zero = np.full(tasks, np.nan), np.zeros(tasks)
    during = protocol.evaluation.every or protocol.evaluation.switch_every
    square = np.zeros((tasks, tasks))
    asked = Evaluations(square, zero, square, zero if during else none, reference=none)
    if not math.isnan(metric.function(asked)):
        return
    why = {
        "matrix": f"it needs more tasks than {tasks}",
        "curve": "it needs evaluations during training, such as --set evaluation.every=100",
        "reference": "it is measured against joint training, which trials do not have",
    }
    raise UserError(f"--metric {metric.name}: {why[metric.needs]}")
