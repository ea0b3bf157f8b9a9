"""Records of one small protocol with the data and task streams of its seeds, and their board."""

from functools import cache
from pathlib import Path

from cl_bench import benchmarks
from cl_bench.config import BenchmarkConfig
from cl_bench.leaderboard.verification import verify
from cl_bench.seeding import numpy_generator
from tests import support

PROTOCOL = """
description: "Three tasks."
benchmark: {name: permuted-mnist, tasks: 3}
training: {epochs: 1}
strategies: {naive: {}}
"""
NAN = float("nan")


@cache
def benchmark():
    """The protocol's benchmark; the stand-in's where the full data are not at hand."""
    return benchmarks.get(BenchmarkConfig(name="permuted-mnist", tasks=3), download=False)


def make_record(*words, **changes):
    """A record as `support.make_record` makes it, on the data and stream that it would have."""
    record = support.make_record(*words, **changes)
    found = benchmark()
    if found.config == record.config.benchmark:
        record.stream_id = found.stream_id(record.config.seed)
        dataset = found.dataset
        record.data = {"name": dataset.name, "checksum": dataset.checksum, "source": "test"}
    return record


def matrix(level, seed, wobble=0.001):
    """Accuracies that end at `level`, and a little elsewhere with each seed."""
    last = [level + wobble * ((seed * 7 + task) % 5 - 2) for task in range(3)]
    return [[0.95, 0.1, NAN], [0.92, 0.94, 0.1], last]


def write(store, strategy, level, seeds=5, **changes):
    """Write records of a strategy; its differences from others vary a little with the seed."""
    own = (numpy_generator("own wobble", strategy).permutation(5) - 2) / 10_000
    for seed in range(seeds):
        store.write(make_record(strategy, seed, matrix(level + own[seed], seed), **changes))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def problems(folder: Path) -> dict[str, str]:
    return {check.subject: check.problem for check in verify(folder) if check.problem}


def rows(built):
    """The rows of a board that was made, as table.json has them but not rounded."""
    return [standing.row() for standing in built.standings.rows]
