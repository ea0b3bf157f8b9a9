"""What a strategy keeps, taken apart and put together again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from cl_bench.engine.state import Kept, State, give, take


class Thing(Kept):
    def __init__(self, weights, other=None):
        self.weights = weights
        self.other = other


def again(owner, live=None):
    """Return an object with the attributes of another, gone through safetensors."""
    state = take(owner, live or {})
    tensors = load(save({name: t.clone() for name, t in state.tensors.items()}))
    new = SimpleNamespace(stale=1)
    give(new, State(state.tree, tensors), live or {})
    return new


def test_every_kind_of_value_comes_back_exactly():
    values: dict[str, Any] = {
        "number": 3,
        "real": 0.1 + 0.2,
        "infinite": float("-inf"),
        "flag": True,
        "nothing": None,
        "text": "a/b",
        "items": [1, (2.5, "x"), {"k": torch.arange(4), 7: [torch.ones(2, 1)]}],
        "tensor": torch.randn(2, 3, dtype=torch.float64),
        "bytes": torch.arange(6, dtype=torch.uint8).view(2, 3),
    }
    new = again(SimpleNamespace(**values))
    assert set(vars(new)) == set(values), "what was not kept is gone"
    assert torch.equal(new.tensor, values["tensor"])
    assert new.tensor.dtype == torch.float64
    assert torch.equal(new.bytes, values["bytes"])
    assert torch.equal(new.items[2]["k"], torch.arange(4))
    assert torch.equal(new.items[2][7][0], torch.ones(2, 1))
    assert new.items[:2] == [1, (2.5, "x")]
    for name in ("number", "real", "infinite", "flag", "nothing", "text"):
        assert getattr(new, name) == values[name]
        assert type(getattr(new, name)) is type(values[name])


def test_what_was_one_is_one_again():
    theta, network, shared = torch.zeros(2, 3), object(), torch.ones(2)
    inner = Thing(shared)
    owner = SimpleNamespace(
        alias=theta, net=network, first=shared, second=shared, a=inner, b=Thing(theta, inner)
    )
    new = again(owner, {"theta": theta, "network": network})
    assert new.alias is theta
    assert new.net is network
    assert new.b.weights is theta
    assert new.first is new.second is new.a.weights
    assert new.b.other is new.a
    assert isinstance(new.a, Thing)


@pytest.mark.parametrize(
    "value", [iter([1]), object(), len, {1, 2}], ids=["iterator", "object", "function", "set"]
)
def test_what_cannot_be_saved_is_named(value):
    with pytest.raises(TypeError, match="'kept/1' is a"):
        take(SimpleNamespace(kept=[0, value]), {})


def test_only_classes_made_for_it_are_built():
    state = State({"x": {"object": "pathlib:Path", "path": "x", "fields": {}}})
    with pytest.raises(TypeError, match="pathlib:Path is not"):
        give(SimpleNamespace(), state, {})


def test_some_runs_of_a_stack():
    state = State({}, {"a": torch.arange(6).view(3, 2), "b": torch.arange(3)})
    part = state.of_runs([2, 0])
    assert part.tensors["a"].tolist() == [[4, 5], [0, 1]]
    assert part.tensors["b"].tolist() == [2, 0]
    with pytest.raises(ValueError, match="shared: its first axis"):
        State({}, {"shared": torch.ones(1)}).of_runs([2])
