"""What is the same to the bit in two records or two states, and what is no number in a record."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cl_bench.results.record import RunRecord

TABLES = ("accuracy", "curve", "predictions")
COSTS = ("samples_seen", "gradient_passes", "bytes_kept")


def differences(a: RunRecord, b: RunRecord, tables: Sequence[str] = TABLES) -> list[str]:
    """Return what is not the same to the bit in two records, but for their cost."""
    found = [] if a.weights_sha256 == b.weights_sha256 else ["weights"]
    return found + [name for name in tables if not getattr(a, name).equals(getattr(b, name))]


def not_finite(record: RunRecord) -> list[str]:
    """Return what is infinite or no number in a record."""
    found = []
    if not all(torch.from_numpy(w).isfinite().all() for w in record.weights.values()):
        found.append("weights")
    if not all(math.isfinite(loss) for loss in record.accuracy.loss):
        found.append("loss")
    return found


def same_state(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    """Return the names of the tensors that differ, or that only one of two states has."""
    shared = a.keys() & b.keys()
    differ = {k for k in shared if a[k].dtype != b[k].dtype or not same_bits(a[k], b[k])}
    return sorted(differ | (a.keys() ^ b.keys()))


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal to the bit; what is no number equals itself."""
    if a.shape != b.shape:
        return False
    return a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
