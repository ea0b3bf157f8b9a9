"""Entries made again: which runs to train once more, and whether they are what the board says.

On the platform that an entry was made on, a run must come out the same to the bit. On another one
rounding differs, and training enlarges the difference: accuracies must then agree within a
tolerance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cl_bench.config import Protocol
from cl_bench.errors import UserError, pick
from cl_bench.leaderboard.check import Check
from cl_bench.leaderboard.entries import Entry, SeedRun, checksum, entry_bytes, labels
from cl_bench.leaderboard.records import seed_run
from cl_bench.metrics.statistics import MIN_SEEDS
from cl_bench.planning import finding
from cl_bench.planning.parsing import split_names
from cl_bench.planning.reading import SECTIONS
from cl_bench.planning.resolving import settings_grid
from cl_bench.results.store import StoredRun

MARGIN = 0.01
DEVIATIONS = 3.0
"""On another platform an accuracy may differ by `MARGIN` and so many standard deviations of that
accuracy over the entry's other seeds. Measured on permuted-mnist-5 and split-mnist-online-class,
with torch's and MKL's kernels for other processors: accuracies differ by up to .054 for naive and
.004 for EWC, and by at most .0005 more than three deviations."""
WIDE_MARGIN = 0.1
"""The same for an entry of fewer than `MIN_SEEDS` seeds, whose deviations say little."""
EXACT_COSTS = ("samples_seen", "gradient_passes", "bytes_kept", "network_bytes")
"""What a run costs on any machine."""


def choose(entries: Sequence[Entry], text: str) -> list[Entry]:
    """Return the entries that `--rerun` stands for.

    Args:
        entries: the board's.
        text: "all", a number of entries (drawn by their SHA-256), a label, or names separated by
            commas: strategies, files of strategies, group_ids, or unique starts of these.

    Raises:
        UserError: a name stands for none or is the start of several, or a number is not above 0.
    """
    if text == "all":
        return list(entries)
    if text.lstrip("-").isdigit() and len(text) < 4:  # the start of a group_id is longer
        if int(text) < 1:
            raise UserError(f"--rerun {text}: give a number above 0, all, or a name")
        drawn = sorted(entries, key=lambda entry: checksum(entry_bytes(entry)))[: int(text)]
        return [entry for entry in entries if entry in drawn]
    found: dict[str, Entry] = {}
    label = labels(entries)
    for part in split_names([text], "--rerun", known=label.values()):
        name = finding.resolve(part) if part.endswith(".py") else part
        if name not in label.values():
            name = pick("entry", name, {e.strategy for e in entries} | label.keys())
        for entry in entries:
            if name in (entry.strategy, label[entry.group_id], entry.group_id):
                found[entry.group_id] = entry
    return list(found.values())


def protocols(entries: Iterable[Entry], seeds: int | None) -> list[Protocol]:
    """Return what to train: a protocol for each of the first seeds of each entry.

    Args:
        entries: those to make again.
        seeds: how many seeds of each; None is all.
    """
    found = []
    for entry in entries:
        for run in entry.runs[:seeds]:
            config = entry.run_config(run.seed)
            sections = {name: getattr(config, name) for name in SECTIONS}
            strategies = {entry.strategy: dict(config.strategy.settings)}
            found.append(
                Protocol(
                    **sections,
                    strategies=strategies,
                    seeds=1,
                    first_seed=run.seed,
                    init_seed=config.init_seed,
                )
            )
    return found


def obstacle(entry: Entry) -> str | None:
    """Return why this code cannot make the runs of an entry, or None."""
    strategy = entry.config["strategy"]
    try:
        (settings,) = settings_grid(entry.strategy, strategy["settings"])
    except UserError as error:
        return f"it cannot be made again: {error}"
    if settings != strategy["settings"]:
        return f"it cannot be made again: {entry.strategy} has other settings here"
    if finding.code_hash(entry.strategy) != strategy["code"]:
        return f"it cannot be made again: the code of {entry.strategy} is another here"
    return None


def compare(entry: Entry, run: SeedRun, again: StoredRun) -> Check:
    """Return whether a run that was made again is what an entry says.

    Args:
        entry: of a board.
        run: one of its runs.
        again: the new record of this run.
    """
    subject = f"{entry.file_name}, seed {run.seed}"
    made = seed_run(again)
    problem = _problem_of_terms(run, made)
    if problem:
        return Check(subject, problem)
    there, here = platform(run.provenance), platform(made.provenance)
    elsewhere = [there[key] for key in here if there.get(key, here[key]) != here[key]]
    same_bits = run.weights_sha256 == made.weights_sha256
    largest, excess = _distance(entry, run, made)
    if elsewhere:
        where = f"made elsewhere ({', '.join(elsewhere)})"
        if excess > 0:
            return Check(subject, f"accuracies differ by up to {largest:.4g}; {where}")
        bits = "the same bits" if same_bits else f"accuracies within {largest:.4g}"
        return Check(subject, None, f"{bits}, {where}")
    if not same_bits:
        return Check(subject, f"other weights on the same platform ({', '.join(here.values())})")
    if run.accuracy != made.accuracy:
        return Check(subject, f"other accuracies of the same weights, by up to {largest:.4g}")
    return Check(subject, None, "the same bits")


def platform(provenance: dict[str, Any]) -> dict[str, str]:
    """Return what a run's bits depend on besides its configuration, as far as it was recorded."""
    system, _, rest = str(provenance.get("platform", "")).partition("-")
    values = {
        "system": f"{system} {rest.rpartition('-')[2]}".strip(),
        "cpu": provenance.get("cpu"),
        "kernels": provenance.get("cpu_kernels"),
        "device": provenance.get("device"),
        "torch": (provenance.get("packages") or {}).get("torch"),
    }
    return {key: str(value) for key, value in values.items() if value}


def _problem_of_terms(run: SeedRun, made: SeedRun) -> str | None:
    """Return what differs that does not depend on the machine, or None."""
    pairs: list[tuple[str, Any, Any]] = [
        ("data", run.data, made.data),
        ("task stream", run.stream_id, made.stream_id),
        ("diverged", run.diverged, made.diverged),
    ]
    pairs += [(name, run.cost.get(name), made.cost.get(name)) for name in EXACT_COSTS]
    for name, written, found in pairs:
        if written != found:
            return f"{name} is {written}, made again {found}"
    return None


def _distance(entry: Entry, run: SeedRun, made: SeedRun) -> tuple[float, float]:
    """Return the largest difference of accuracies, and the most by which one is not tolerated."""
    written, found = (np.array(each.accuracy, dtype=float) for each in (run, made))
    distance = np.abs(written - found)
    # Its own seed is left out, so that a figure that was changed does not widen its tolerance.
    others = [np.array(each.accuracy, dtype=float) for each in entry.runs if each is not run]
    if len(entry.runs) < MIN_SEEDS:
        allowed = np.full_like(distance, WIDE_MARGIN)
    else:
        allowed = MARGIN + DEVIATIONS * np.stack(others).std(axis=0, ddof=1)
    largest = float(np.nanmax(distance))
    return largest, float(np.nanmax(distance - allowed))
