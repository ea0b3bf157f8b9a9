"""Averaging alone: each task ends at the mean of the weights over its last steps.

Nothing is held and nothing is kept. It is the control for every method that gets this averaging
with its penalty: what such a method does better than this, the penalty does.
"""

from __future__ import annotations

from cl_bench.methods.exploration import Exploration


class SWA(Exploration):
    """Trains on at constant rate for a while at a task's end and takes the mean of the weights."""

    title = "SWA"
    source = "Izmailov et al. 2018, UAI (arXiv 1803.05407), algorithm 1 at constant rate, c = 1"
