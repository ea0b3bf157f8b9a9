"""Training from the initial weights on the data of all tasks so far: the upper reference."""

from __future__ import annotations

from cl_bench.methods.exploration import Exploration


class Joint(Exploration):
    """Starts anew with each task and trains on everything seen, as many epochs as one task gets.

    It explores and averages at the end as the consolidation methods do: without that they
    can end above it.
    """

    title = "Joint"
    source = "the field's upper reference; also called offline or multitask training"
    all_data = True
    restart = True
