"""The record of a tuning: its terms, every trial and what was chosen, in one JSON file.

It lies at `OUT/tuning/<protocol>-<terms>/<strategy>-<tuning_id>.json`. Strategies that were tuned
under the same terms (budget, method, metric, seeds, protocol) share a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from cl_bench import atomic
from cl_bench.config import (
    BenchmarkConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimizerConfig,
    Section,
    StrategyConfig,
    TrainingConfig,
)
from cl_bench.errors import UserError
from cl_bench.plain import address
from cl_bench.results import files
from cl_bench.tuning.search import Method
from cl_bench.tuning.selection import RULE, Bin, choose
from cl_bench.tuning.space import Space
from cl_bench.tuning.trials import TrialResult

TUNING_VERSION = 1
FOLDER = "tuning"
"""The folder of all tunings, within that of the records."""


class Terms(Section):
    """All that a tuning depends on."""

    schema_version: int = TUNING_VERSION
    benchmark: BenchmarkConfig
    """With the share of the training data that trials are judged on, and not trained on."""
    network: NetworkConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    method: Method
    metric: str
    higher_is_better: bool
    trials: int
    """The budget: so many trials, trained in full."""
    seeds: int
    first_seed: int
    init_seed: int | None = Field(default=None, exclude_if=lambda seed: seed is None)
    strategy: StrategyConfig
    """With the settings of trial 0."""
    space: Space

    @property
    def tuning_id(self) -> str:
        """Return the content address: 16 hexadecimal digits."""
        return address(self.model_dump(mode="json"))

    @property
    def shared_id(self) -> str:
        """Return the address of all but the strategy and its space: tunings on equal terms."""
        return address(self.model_dump(mode="json", exclude={"strategy", "space"}))


class Budget(Section):
    """What a tuning cost: gradients taken, in minibatches, over all trials and seeds."""

    trials: int
    """What was to spend, in trials trained in full: 1 where there is nothing to tune."""
    gradient_passes: float
    full_gradient_passes: float
    """What so many trials would have taken if all were trained in full."""


class TuningRecord(Section):
    """A finished tuning of one strategy."""

    tuning_id: str
    terms: Terms
    data: dict[str, Any]
    """Dataset name and checksum."""
    budget: Budget
    rule: str = RULE
    chosen: int | None
    """Number of the chosen trial; None where every trial diverged."""
    protocol_id: str | None
    """Of the runs that report the choice, on test data."""
    group_id: str | None
    """Of the same, seeds apart."""
    edges: dict[str, str]
    """Settings whose chosen value is the `lowest` or `highest` of all tried."""
    results: tuple[TrialResult, ...]
    """Every trial, once for each round of training that it had."""
    sensitivity: tuple[Bin, ...]
    provenance: dict[str, Any]

    @property
    def choice(self) -> TrialResult | None:
        """Return the chosen trial, trained in full."""
        return next((r for r in self.results if (r.number, r.length) == (self.chosen, 1.0)), None)

    @property
    def default(self) -> TrialResult:
        """Return the trial of the strategy's defaults, with the most training that it had."""
        return max((r for r in self.results if r.number == 0), key=lambda r: r.length)

    @property
    def trials(self) -> int:
        """Return how many settings were tried."""
        return len({result.number for result in self.results})


def folder(out: Path, name: str, terms: Terms) -> Path:
    """Return the folder of the tunings on these terms of a protocol of this name."""
    return out / FOLDER / f"{atomic.safe_name(name)}-{terms.shared_id[:8]}"


def path_of(out: Path, name: str, terms: Terms) -> Path:
    """Return where the record of a tuning is kept."""
    file = f"{atomic.safe_name(terms.strategy.name)}-{terms.tuning_id}.json"
    return folder(out, name, terms) / file


def write(path: Path, record: TuningRecord) -> None:
    """Write a record in one move, in place of what is there.

    Raises:
        UserError: it cannot be written.
    """
    text = json.dumps(record.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
    atomic.sweep(path.parent)
    atomic.replace(path, text.encode())


def read(path: Path) -> TuningRecord:
    """Return the record in a file.

    Raises:
        UserError: it is missing or damaged, or its choice is not the one its trials give.
    """
    try:
        record = TuningRecord.model_validate(json.loads(files.read_bytes(path)))
    except (ValidationError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise files.damaged(path, str(error).splitlines()[0]) from error
    terms = record.terms
    if terms.schema_version != TUNING_VERSION:
        raise UserError(f"{path} was written by another version of cl_bench")
    if terms.tuning_id != record.tuning_id:
        raise files.damaged(path, f"its terms are those of tuning {terms.tuning_id}")
    best = choose(record.results, terms.higher_is_better)
    if (best.number if best else None) != record.chosen:
        raise files.damaged(path, "its trials give another choice")
    return record


def exists(path: Path) -> bool:
    """Return whether a whole record is there; a damaged one is made again."""
    try:
        read(path)
    except UserError:
        return False
    return True
