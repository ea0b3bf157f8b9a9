"""From stored runs to entries: which records belong to a protocol, grouped by configuration."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cl_bench import benchmarks
from cl_bench.config import (
    FIRST_TUNING_SEED,
    Number,
    Protocol,
    RunConfig,
    StrategyConfig,
)
from cl_bench.errors import UserError
from cl_bench.leaderboard.entries import Board, Entry, SeedRun, problem_of
from cl_bench.metrics import matrix
from cl_bench.planning import finding, reading
from cl_bench.report.protocols import settled
from cl_bench.results.store import RunStore, StoredRun

_MOST_NAMED = 5
"""Other protocols that an error names."""


def read_board(config: str) -> tuple[Board, RunConfig]:
    """Return the board of a config, and a run of it whose strategy and seed mean nothing.

    Needs no data: what the config leaves open is filled in with the benchmark's defaults.

    Args:
        config: name in `configs/` or path of a YAML file.

    Raises:
        UserError: the config is unknown or wrong, or describes several protocols.
    """
    protocols = reading.read(config)
    if len(protocols) > 1:
        raise UserError(f"config {config} is {len(protocols)} protocols; a leaderboard is of one")
    found: Protocol = protocols[0]
    is_file = "/" in config or config.endswith((".yaml", ".yml"))
    board = Board(
        name=Path(config).stem if is_file else config,
        config=Path(config).name if is_file else config,
        description=found.description,
        source=found.source,
    )
    return board, found.run(benchmarks.resolved(found.benchmark), StrategyConfig(name="any"), 0)


def make_entries(
    config: str, out: Path, tuning: str | None = None
) -> tuple[list[Entry], list[str]]:
    """Return an entry for each configuration of a protocol that has records, and warnings.

    Every file of a record that is taken is checked against its checksum first. Records of other
    protocols are passed over: a run on the 5,000-image stand-in is of another benchmark.

    Runs at tuning seeds are left out, with a warning.

    Args:
        config: name in `configs/` or path of a YAML file.
        out: the folder of the runs.
        tuning: how the settings were chosen, for people.

    Returns:
        Entries by strategy and group_id, and one line for each record that was left out although
        it may be of this protocol.

    Raises:
        UserError: the config is wrong, there is no such folder, or no record of the protocol.
    """
    board, wanted = read_board(config)
    if not out.is_dir():
        raise UserError(f"there is no folder of runs at {out}")
    runs, warnings = RunStore(out).scan()
    groups: dict[str, dict[int, StoredRun]] = defaultdict(dict)
    for run in runs:
        if run.config.protocol_id != wanted.protocol_id:
            continue
        dataset = str(run.content["data"].get("name"))
        if not run.config.benchmark.name.endswith(f"-{dataset}"):
            warnings.append(f"skipped: {run.path} was trained on other data ({dataset})")
            continue
        if run.config.seed >= FIRST_TUNING_SEED:
            warnings.append(f"skipped: {run.path}: its seed is one for choosing settings")
            continue
        try:
            run.verify()
        except UserError as error:
            warnings.append(f"skipped: {error}")
            continue
        groups[run.config.group_id][run.config.seed] = run
    if not groups:
        raise UserError(
            f"{out} has no record of {board.name} (protocol {wanted.protocol_id[:8]}: "
            f"{wanted.benchmark.name}, {wanted.benchmark.tasks} tasks); "
            f"it has {_protocols_in(runs, wanted)}"
        )
    entries = []
    for group in groups.values():
        entry = entry_of(board, [group[seed] for seed in sorted(group)], tuning)
        problem = problem_of(entry)
        if len({run.code for run in group.values() if run.code}) > 1:
            problem = "its runs are of several versions of the strategy's code; train them again"
        if problem:
            warnings.append(f"skipped: {entry.file_name}: {problem}")
        else:
            entries.append(entry)
    return sorted(entries, key=lambda entry: (entry.strategy, entry.group_id)), warnings


def entry_of(board: Board, runs: Sequence[StoredRun], tuning: str | None) -> Entry:
    """Return the entry of the runs of one configuration, one a seed in order."""
    config = runs[0].config
    return Entry(
        board=board,
        protocol_id=config.protocol_id,
        group_id=config.group_id,
        config=config.model_dump(mode="json", exclude={"seed"}),
        changed=_changed(config.strategy),
        tuning=tuning,
        runs=tuple(seed_run(run) for run in runs),
    )


def seed_run(run: StoredRun) -> SeedRun:
    """Return a stored run as an entry holds it."""
    content = run.content
    after, initial = matrix(run.table("accuracy"))
    rows = np.vstack([initial, after])
    return SeedRun(
        seed=run.config.seed,
        run_id=run.config.run_id,
        stream_id=content["stream_id"],
        # where the data lay is no part of what they are, and may name a person's folder
        data={key: value for key, value in content["data"].items() if key != "source"},
        weights_sha256=content["weights_sha256"],
        accuracy=tuple(tuple(None if np.isnan(v) else float(v) for v in row) for row in rows),
        cost=content["cost"],
        provenance=content["provenance"],
        diverged=run.diverged,
    )


def _changed(strategy: StrategyConfig) -> dict[str, Number]:
    """Return the settings that differ from the defaults; all, where the strategy is not at hand."""
    try:
        defaults: dict[str, Any] = finding.load(strategy.name).Settings().model_dump(mode="json")
    except UserError:
        defaults = {}
    missing = object()
    return {k: v for k, v in strategy.settings.items() if defaults.get(k, missing) != v}


def _protocols_in(runs: Sequence[StoredRun], wanted: RunConfig) -> str:
    """Return the protocols of runs in words: each with what sets it apart from the one wanted."""
    counts: dict[str, int] = defaultdict(int)
    examples: dict[str, RunConfig] = {}
    for run in runs:
        counts[run.config.protocol_id] += 1
        examples[run.config.protocol_id] = run.config
    if not counts:
        return "no runs at all"
    target = settled(wanted)
    texts = []
    for protocol_id, config in sorted(examples.items()):
        mine = settled(config)
        either = dict.fromkeys([*mine, *target])  # what is not set may be left out of one
        apart = [f"{k}={mine.get(k)}" for k in either if mine.get(k) != target.get(k)]
        texts.append(f"{protocol_id[:8]} ({counts[protocol_id]} runs: {', '.join(apart)})")
    rest = len(texts) - _MOST_NAMED
    return "; ".join(texts[:_MOST_NAMED]) + (f"; and {rest} more" if rest > 0 else "")
