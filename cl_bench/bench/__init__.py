"""Timings: how fast the suite trains and evaluates, beside Avalanche doing the same work."""

from cl_bench.bench.suite import FULL, QUICK, Effort, measure

__all__ = ["FULL", "QUICK", "Effort", "measure"]
