"""Task sequences built on data: which tasks come, in which order, and what each output means."""

from cl_bench.benchmarks.base import Benchmark, Examples, Split
from cl_bench.benchmarks.registry import (
    add,
    add_value,
    added,
    families,
    get,
    names,
    resolved,
    summary,
)
from cl_bench.benchmarks.tasks import Tasks

__all__ = [
    "Benchmark",
    "Examples",
    "Split",
    "Tasks",
    "add",
    "add_value",
    "added",
    "families",
    "get",
    "names",
    "resolved",
    "summary",
]
