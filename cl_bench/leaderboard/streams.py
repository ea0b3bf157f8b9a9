"""Whether data and task streams of entries are those that their seeds give, if data are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_bench import benchmarks
from cl_bench.errors import UserError
from cl_bench.leaderboard.check import Check
from cl_bench.leaderboard.entries import Entry

STREAMS = "task streams"


def check_streams(entries: Sequence[Entry], data_dir: Path | None) -> Check:
    """Return whether the data and streams of entries are those of their benchmark.

    Both are made again from the benchmark's configuration and the seeds.

    Args:
        entries: of one benchmark configuration.
        data_dir: where to look for data first.

    Returns:
        Skipped where the data are not at hand; else its note names the seeds.
    """
    config = entries[0].run_config(entries[0].runs[0].seed).benchmark
    try:
        benchmark = benchmarks.get(config, data_dir=data_dir, download=False)
    except UserError as error:
        return Check(STREAMS, None, f"not checked: {error}", skipped=True)
    if benchmark.config != config:
        note = f"not checked: only the data of {benchmark.name} are at hand"
        return Check(STREAMS, None, note, skipped=True)
    at_hand = {"name": benchmark.dataset.name, "checksum": benchmark.dataset.checksum}
    runs = [run for entry in entries for run in entry.runs]
    streams = {seed: benchmark.stream_id(seed) for seed in sorted({run.seed for run in runs})}
    for run in runs:
        if run.data != at_hand:
            problem = f"the entries are of the data {run.data}, those at hand are {at_hand}"
            return Check(STREAMS, problem)
        seed, stream = run.seed, streams[run.seed]
        if run.stream_id != stream:
            problem = f"seed {seed}: the entries have {run.stream_id}, its stream is {stream}"
            return Check(STREAMS, problem)
    return Check(STREAMS, None, f"seeds {', '.join(map(str, streams))}")
