"""Every strategy of the suite keeps every promise, in each of its scenarios; no author's test."""

import pytest

from cl_bench.conformance import kit
from cl_bench.planning import finding


@pytest.mark.parametrize("case", kit.cases(finding.strategy_names()), ids=str)
def test_a_strategy_keeps_its_promises(case):
    broken = [r for r in kit.check(case) if r.outcome is not kit.Outcome.PASSED]
    assert not broken, "\n".join(f"{r.check} {r.outcome}: {r.why}" for r in broken)
