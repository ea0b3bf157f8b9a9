"""Costs are read from a record as they are defined, and are not defined where it lacks them."""

import math
from typing import Any

from cl_bench.metrics.costs import COSTS
from tests.support import make_record


def test_costs_of_a_record_by_hand():
    cost = make_record().cost
    found = {name: each.function(cost) for name, each in COSTS.items()}
    assert found == {
        "bytes": 716_880,
        "network": 358_440,
        "seconds": 1.75,  # 1.5 of training and .25 of consolidation; .5 of evaluation left out
        "passes": 180_000,
        "samples": 180_000,
    }


def test_what_a_record_lacks_is_not_a_number():
    lacking: list[Any] = [{}, {"seconds": {}, "bytes_kept": None}]
    for cost in lacking:
        assert all(math.isnan(each.function(cost)) for each in COSTS.values())


def test_seconds_alone_are_of_the_machine():
    assert [name for name, each in COSTS.items() if each.of_machine] == ["seconds"]
