"""Plain training on one task after another: what every method must beat."""

from __future__ import annotations

from cl_bench.engine.strategy import Strategy


class Naive(Strategy):
    """Does nothing against forgetting."""

    title = "Naive"
    source = "the field's lower reference; also called finetuning, SGD or none"
