"""What every strategy promises, one small function a promise.

Each gets the trainings of one strategy in one scenario and raises `Broken`, with what is wrong in
one line, where the promise does not hold. The order is that of a report: what is needed for
more comes first.
"""

from cl_bench.conformance import conduct, declarations, exactness, reach
from cl_bench.conformance.promises import Check

CHECKS: tuple[Check, ...] = (
    Check.of(declarations.loads),
    Check.of(declarations.declared, once=True),
    Check.of(declarations.refused, once=True),
    Check.of(exactness.trains),
    Check.of(exactness.repeats),
    Check.of(exactness.company),
    Check.of(exactness.state),
    Check.of(exactness.resumed),
    Check.of(conduct.data),
    Check.of(conduct.predict),
    Check.of(conduct.isolates),
    Check.of(conduct.cost),
    Check.of(reach.extremes),
    Check.of(reach.networks, once=True),
    Check.of(reach.families),
)
