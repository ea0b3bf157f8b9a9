"""An entry of a leaderboard: one configuration with every seed's accuracies, as one JSON file.

It holds all that the tables are made of and what is needed to make its runs again; nothing in it
was computed from the accuracies, so that nothing in it has to be trusted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from cl_bench.config import (
    FIRST_TUNING_SEED,
    Number,
    RunConfig,
    Section,
    StrategyConfig,
    added_later,
)
from cl_bench.metrics.evaluations import Array
from cl_bench.results.labels import differing, named, settings_of

ENTRY_VERSION = 1

Fraction = Annotated[float, Field(ge=0, le=1)]


class Board(Section):
    """Which board an entry belongs to."""

    name: str
    config: str
    """What `--config` is given: a name in `configs/`, or the name of a YAML file."""
    description: str
    source: str


class SeedRun(Section):
    """One seed of an entry."""

    seed: int
    run_id: str
    stream_id: str
    data: dict[str, Any]
    """Dataset name and checksum."""
    weights_sha256: str
    accuracy: tuple[tuple[Fraction | None, ...], ...]
    """`[T+1, T]`: row 0 is the untrained network, row i+1 is after task i; None is "not
    evaluated"."""
    cost: dict[str, Any]
    provenance: dict[str, Any]
    diverged: bool = added_later(False)
    """Whether a loss or a weight was not finite, so that the accuracies are no result."""

    @property
    def initial(self) -> Array:
        """Return the untrained accuracies `[T]`."""
        return np.array(self.accuracy[0], dtype=float)

    @property
    def matrix(self) -> Array:
        """Return the accuracy matrix `[T, T]`; NaN is "not evaluated"."""
        return np.array(self.accuracy[1:], dtype=float)


class TuningBudget(Section):
    """What was spent on choosing settings."""

    trials: Annotated[int, Field(ge=1)]
    """Settings that were tried in full, or what was spent in such trials."""
    seeds: Annotated[int, Field(ge=1)]
    """Seeds that each was tried with."""
    metric: str
    """By which the best was chosen."""
    method: str
    """How the settings to try were found."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the file that holds the search."""

    def __str__(self) -> str:
        trials, seeds = ("" if number == 1 else "s" for number in (self.trials, self.seeds))
        return f"{self.trials} trial{trials} × {self.seeds} seed{seeds}"


class Entry(Section):
    """One configuration of one strategy."""

    schema_version: int = ENTRY_VERSION
    board: Board
    protocol_id: str
    group_id: str
    config: dict[str, Any]
    """The resolved `RunConfig` without its seed."""
    changed: dict[str, Number]
    """The strategy's settings that differ from its defaults."""
    tuning: str | None
    """How the settings were chosen; None where nobody said."""
    budget: TuningBudget | None = added_later(None)
    """What choosing them cost; None where nobody said."""
    runs: tuple[SeedRun, ...]

    @property
    def strategy(self) -> str:
        """Return the strategy's name."""
        return str(self.config["strategy"]["name"])

    @property
    def file_name(self) -> str:
        """Return the name of the entry's file."""
        safe = re.sub(r"[^A-Za-z0-9_.-]", "_", self.strategy).lstrip(".")[:80] or "_"
        return f"{safe}-{self.group_id}.json"

    def run_config(self, seed: int) -> RunConfig:
        """Return the full configuration of one of the runs."""
        return RunConfig.model_validate({**self.config, "seed": seed})


def labels(entries: Sequence[Entry]) -> dict[str, str]:
    """Return the label of each group_id: `ewc (strength=100)`.

    It shows the settings that differ from the strategy's defaults, and those that tell the
    strategy's entries apart.
    """
    settings: dict[str, dict[str, dict[str, Number]]] = defaultdict(dict)
    for entry in entries:
        strategy = StrategyConfig.model_validate(entry.config["strategy"])
        settings[entry.strategy][entry.group_id] = settings_of(strategy)
    found = {}
    for entry in entries:
        members = settings[entry.strategy]
        said = {*entry.changed, *differing(list(members.values())), "code"}
        mine = members[entry.group_id]
        found[entry.group_id] = named(entry.strategy, mine, [key for key in mine if key in said])
    return found


def entry_bytes(entry: Entry) -> bytes:
    """Return an entry as its file holds it: numbers in full precision, one matrix row a line."""
    return (dump(entry.model_dump(mode="json")) + "\n").encode()


def parse_entry(data: bytes) -> Entry:
    """Return the entry in the bytes of a file.

    Raises:
        ValueError: the bytes are not an entry; the message says why in one line.
    """
    try:
        return Entry.model_validate(json.loads(data))
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"not JSON: {error}") from None


def checksum(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def problem_of(entry: Entry) -> str | None:
    """Return what is inconsistent within an entry, or None.

    The ids must be those of its own configuration, the accuracies a whole matrix, and no seed one
    of those that settings are chosen with.
    """
    if entry.schema_version != ENTRY_VERSION:
        return f"schema version {entry.schema_version}; this cl_bench reads {ENTRY_VERSION}"
    seeds = [run.seed for run in entry.runs]
    if not seeds or seeds != sorted(set(seeds)):
        return "its seeds are not in order, or one is there twice"
    if seeds[-1] >= FIRST_TUNING_SEED:
        return (
            f"seed {seeds[-1]} is one for choosing settings (from {FIRST_TUNING_SEED} on), "
            "not for results"
        )
    for run in entry.runs:
        try:
            config = entry.run_config(run.seed)
        except ValidationError as error:
            return f"its config is not valid: {error.errors()[0]['msg']}"
        if config.model_dump(mode="json", exclude={"seed"}) != entry.config:
            return "its config is not fully resolved"
        own = {
            "group_id": (config.group_id, entry.group_id),
            "protocol_id": (config.protocol_id, entry.protocol_id),
            "run_id": (config.run_id, run.run_id),
        }
        for name, (computed, written) in own.items():
            if computed != written:
                return f"{name} is {written}, that of its config is {computed}"
        problem = _matrix_problem(run, config.benchmark.tasks)
        if problem:
            return f"seed {run.seed}: {problem}"
    settings = entry.config["strategy"]["settings"]
    if any(settings.get(key) != value for key, value in entry.changed.items()):
        return "a changed setting is not the one in its config"
    return None


def problem_together(entries: Iterable[Entry]) -> str | None:
    """Return why entries cannot stand on one board, or None.

    They must be of one protocol and dataset, and each seed must be one task stream.
    """
    first: Entry | None = None
    data: dict[str, Any] = {}
    streams: dict[int, str] = {}
    for entry in entries:
        first = first or entry
        data = data or first.runs[0].data
        if (entry.board, entry.protocol_id) != (first.board, first.protocol_id):
            return f"{entry.file_name} is of another board or protocol than {first.file_name}"
        for run in entry.runs:
            if run.data != data:
                return (
                    f"{entry.file_name}, seed {run.seed}: other data than {first.file_name} "
                    f"({_in_words(run.data)}, not {_in_words(data)})"
                )
            stream = streams.setdefault(run.seed, run.stream_id)
            if stream != run.stream_id:
                return (
                    f"{entry.file_name}, seed {run.seed}: another task stream than the others "
                    f"({run.stream_id}, not {stream})"
                )
    return None


def dump(content: Any, indent: str = "") -> str:
    """Return JSON with a line for each key and each list of plain values."""
    inner = indent + "  "
    if isinstance(content, dict) and content:
        lines = [f"{inner}{json.dumps(key)}: {dump(v, inner)}" for key, v in content.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(content, list) and any(isinstance(item, (list, dict)) for item in content):
        return "[\n" + ",\n".join(inner + dump(v, inner) for v in content) + f"\n{indent}]"
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _in_words(data: dict[str, Any]) -> str:
    return " ".join(map(str, data.values()))


def _matrix_problem(run: SeedRun, tasks: int | None) -> str | None:
    rows = run.accuracy
    if tasks is None or len(rows) != tasks + 1 or any(len(row) != tasks for row in rows):
        return "its accuracies are not a matrix of tasks + 1 rows and a column a task"
    if any(rows[after + 1][task] is None for after in range(tasks) for task in range(after + 1)):
        return "an accuracy on a task that was learnt is missing"
    return None
