"""The metrics of a run record: what `cl_bench.metrics` computes of its tables."""

from __future__ import annotations

import numpy as np

from cl_bench.metrics import evaluations, figures, matrix
from cl_bench.results.record import RunRecord


def compute(record: RunRecord, joint: RunRecord | None = None) -> dict[str, float]:
    """Return every metric of a run by name; NaN where the run cannot have it, or diverged.

    Args:
        record: the run.
        joint: the run of joint training of the same protocol and seed, for intransigence.

    Raises:
        ValueError: `joint` is of another protocol or seed.
    """
    reference = None
    if joint is not None:
        mine, theirs = record.config, joint.config
        if (mine.protocol_id, mine.seed) != (theirs.protocol_id, theirs.seed):
            raise ValueError("the joint run is of another protocol or seed")
        if not joint.diverged:
            reference = np.diag(matrix(joint.accuracy)[0])
    return figures(evaluations(record.accuracy, record.curve, reference, diverged=record.diverged))
