"""A benchmark of one's own in Python's hands, beside a strategy of one's own."""

from typing import Any

import numpy as np
import pytest

import cl_bench
from cl_bench import Strategy, Tasks
from cl_bench.planning import session


class Plain(Strategy):
    title = "Plain"


@pytest.fixture
def digits(monkeypatch):
    monkeypatch.setattr(session, "_classes", {})
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images * 15).astype(np.uint8).reshape(-1, 8, 8)
    of_pairs = [np.isin(labels, (first, first + 1)) for first in range(0, 6, 2)]
    return [
        (images[of][:-40], labels[of][:-40], images[of][-40:], labels[of][-40:]) for of in of_pairs
    ]


def test_a_benchmark_from_arrays_trains_own_and_other_strategies(digits, tmp_path):
    own = Tasks.from_arrays(digits, scenario="class", name="own-digits")
    given: dict[str, Any] = {
        "workers": 1,
        "seeds": 2,
        "out": tmp_path,
        "wandb": "off",
        "network": {"hidden": [8]},
    }
    runs = cl_bench.run([Plain, "er", "naive"], own, **given)
    assert set(runs.frame["benchmark"]) == {"own-digits"}
    assert set(runs.frame["scenario"]) == {"class"}
    found = dict(zip(runs.table()["strategy"], runs.table()["average_accuracy"], strict=True))
    assert found["er"] > found["naive"]
    assert found["plain"] == found["naive"]
    again = Tasks.from_arrays(digits, name="own-digits")
    same = cl_bench.run(Plain, again, scenario="class", **given)
    assert set(same.ids) == set(runs.metrics.query("strategy == 'plain'")["run_id"])
