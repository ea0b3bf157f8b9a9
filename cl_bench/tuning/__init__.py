"""Choosing settings: every strategy gets equal trials, judged on validation data with own seeds.

Budget, space and all trials are kept in a record, so that whoever reads a tuned result can see
what its settings cost and what else was tried.
"""

from cl_bench.tuning.record import Summary, summary_for
from cl_bench.tuning.seeds import FIRST_TUNING_SEED, is_tuning_seed

__all__ = ["FIRST_TUNING_SEED", "Summary", "is_tuning_seed", "summary_for"]
