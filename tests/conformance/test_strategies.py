"""Every strategy of the suite keeps every promise, in each of its scenarios; no author's test."""

import pytest

from cl_bench.conformance import kit
from cl_bench.planning import finding

QUICK = {"er", "ewc", "naive"}
"""Strategies whose first scenario is checked among the quick tests: one of each kind."""


def _param(case):
    quick = case.first and case.strategy in QUICK
    return pytest.param(case, marks=[] if quick else [pytest.mark.slow], id=str(case))


CASES = [_param(case) for case in kit.cases(finding.strategy_names())]


@pytest.mark.parametrize("case", CASES)
def test_a_strategy_keeps_its_promises(case):
    broken = [r for r in kit.check(case) if r.outcome is not kit.Outcome.PASSED]
    assert not broken, "\n".join(f"{r.check} {r.outcome}: {r.why}" for r in broken)
