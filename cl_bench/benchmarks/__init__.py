"""Task sequences built on data: which tasks come, in which order, and what each output means."""

from cl_bench.benchmarks.base import Benchmark, Examples, Split
from cl_bench.benchmarks.registry import get, names, resolved, summary

__all__ = ["Benchmark", "Examples", "Split", "get", "names", "resolved", "summary"]
