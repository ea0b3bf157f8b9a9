"""Every strategy of the suite keeps every promise, in each of its scenarios; no author's test."""

import pytest

from cl_bench.conformance import kit
from cl_bench.planning import finding

LONG = {"flatness-er", "gdumb", "kfac-laplace", "mc-sgd"}
"""Strategies whose checks take over ten seconds of a core in a single scenario."""

CASES = [
    pytest.param(
        case,
        marks=[pytest.mark.slow] if case.strategy in LONG or not case.first else [],
        id=str(case),
    )
    for case in kit.cases(finding.strategy_names())
]


@pytest.mark.parametrize("case", CASES)
def test_a_strategy_keeps_its_promises(case):
    broken = [r for r in kit.check(case) if r.outcome is not kit.Outcome.PASSED]
    assert not broken, "\n".join(f"{r.check} {r.outcome}: {r.why}" for r in broken)
