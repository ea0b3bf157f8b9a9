"""Values as JSON has them."""

import json
import math
from pathlib import Path

import numpy as np
import torch

from cl_bench.config import Scenario
from cl_bench.plain import flatten, plain, sha256


def test_whatever_a_record_or_row_holds_becomes_json():
    values = {
        1: np.float32(0.5),
        "whole": np.int64(5),
        "yes": np.bool_(True),
        "lost": [math.nan, math.inf, np.nan],
        "pair": (1, np.arange(2)),
        "tensor": torch.zeros(1),
        "path": Path("runs"),
        "word": Scenario.TASK,
        "none": None,
    }
    found = json.loads(json.dumps(plain(values), allow_nan=False))
    assert found == {
        "1": 0.5,
        "whole": 5,
        "yes": True,
        "lost": [None, None, None],
        "pair": [1, [0, 1]],
        "tensor": [0.0],
        "path": "runs",
        "word": "task",
        "none": None,
    }


def test_nested_mappings_become_one():
    nested = {"a": {"b": {"c": 1}, "d": [2]}, "e": {}, "f": None}
    assert flatten(nested) == {"a.b.c": 1, "a.d": [2], "e": {}, "f": None}
    assert flatten({"b": {"c": 1}}, "a", "/") == {"a/b/c": 1}


def test_an_address_does_not_depend_on_the_order_of_keys():
    assert sha256({"a": 1, "b": 2}) == sha256({"b": 2, "a": 1}) != sha256({"a": 1, "b": 3})
