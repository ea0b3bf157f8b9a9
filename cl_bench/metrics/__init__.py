"""Named figures computed from the accuracy matrix of a run, and statistics across seeds.

Importing this package loads NumPy alone; `cl_bench.metrics.statistics` needs pandas and SciPy.
"""

from cl_bench.metrics.definitions import (
    METRICS,
    NEEDS,
    Metric,
    figures,
    forgetting_by_task,
    intransigence_by_task,
    lookup,
    minimum_by_task,
    names,
)
from cl_bench.metrics.evaluations import (
    REFERENCE_STRATEGY,
    Evaluations,
    diverged,
    evaluations,
    matrix,
)

__all__ = [
    "METRICS",
    "NEEDS",
    "REFERENCE_STRATEGY",
    "Evaluations",
    "Metric",
    "diverged",
    "evaluations",
    "figures",
    "forgetting_by_task",
    "intransigence_by_task",
    "lookup",
    "matrix",
    "minimum_by_task",
    "names",
]
