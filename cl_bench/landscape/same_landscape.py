"""What follows from the tables of `fixed_basis`: exponents along one basis, and of what residual.

sigma_i^2 ~ F_i^-psi is H_i^(psi / 2) here: flatness is that of a quadratic of curvature H_i.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from cl_bench.landscape.claims import Row, mean
from cl_bench.landscape.relation import RANGES, pairs_of, relation, theil_sen

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = {"variance": tuple(RANGES), "correlation_time": ("all",), "predicted": ("all",)}
"""What is held against flatness, and over which ranges of directions."""


def fixed_relations(fixed: pd.DataFrame) -> list[Row]:
    """Return how quantities go with flatness, as F^-psi: a row a source, sampling, basis, range."""
    rows = []
    keys = ["source", "sampling", "basis"]
    for where, part in fixed.groupby(keys, sort=False):
        for quantity, ranges in QUANTITIES.items():
            if part[quantity].isna().all():
                continue
            for span in ranges:
                found = relation(pairs_of(part, RANGES[span], "flatness", quantity))
                named = dict(zip(keys, where, strict=True))
                rows.append({"quantity": quantity, **named, "range": span, **asdict(found)})
    return rows


def residual_exponents(residuals: pd.DataFrame) -> list[Row]:
    """Return q of minibatch noise ~ H^q: a row a power, basis and range of directions.

    `q` is the mean over seeds with its interval, `less` how much smaller it is than with the
    residuals as they are, seed by seed.
    """
    rows = []
    for basis, part in residuals.groupby("basis", sort=False):
        for span, edges in RANGES.items():
            found = {
                power: np.array([theil_sen(x, y) for x, y in pairs_of(own, edges, *_AXES)])
                for power, own in part.groupby("power", sort=False)
            }
            rows += [
                {
                    "power": power,
                    "basis": str(basis),
                    "range": span,
                    "seeds": len(each),
                    **mean("q", each.tolist()),
                    **mean("less", (found[1.0] - each).tolist()),
                }
                for power, each in found.items()
            ]
    return rows


_AXES = ("curvature", "noise")
