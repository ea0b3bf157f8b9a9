"""Whether a board's data and task streams are those that its seeds give, where data are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_bench import benchmarks
from cl_bench.errors import UserError
from cl_bench.leaderboard.entries import Entry


def problem_of_streams(entries: Sequence[Entry], data_dir: Path | None) -> tuple[str | None, str]:
    """Return what is wrong with the data and streams of entries of one benchmark, and a note.

    Both are made again from the benchmark's configuration and the seeds.

    Args:
        entries: of one benchmark configuration.
        data_dir: where to look for data first.

    Returns:
        None where nothing is wrong, and how many seeds were checked; None and the reason, starting
        with "not checked", where the data are not at hand.
    """
    config = entries[0].run_config(entries[0].runs[0].seed).benchmark
    try:
        benchmark = benchmarks.get(config, data_dir=data_dir, download=False)
    except UserError as error:
        return None, f"not checked: {error}"
    if benchmark.config != config:
        return None, f"not checked: only the data of {benchmark.name} are at hand"
    at_hand = {"name": benchmark.dataset.name, "checksum": benchmark.dataset.checksum}
    runs = [run for entry in entries for run in entry.runs]
    streams = {seed: benchmark.stream_id(seed) for seed in sorted({run.seed for run in runs})}
    for run in runs:
        if run.data != at_hand:
            return f"the entries are of the data {run.data}, those at hand are {at_hand}", ""
        seed, stream = run.seed, streams[run.seed]
        if run.stream_id != stream:
            return f"seed {seed}: the entries have {run.stream_id}, its stream is {stream}", ""
    return None, f"seeds {', '.join(map(str, streams))}"
