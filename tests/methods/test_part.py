"""Penalties on some layers alone: the same steps as on these weights by themselves, no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cl_bench.engine.networks import MLP
from cl_bench.methods.part import Part, Within
from cl_bench.methods.precision import Diagonal, LowRank

NETWORK = MLP(3, (4, 5, 2), 2)
HIDDEN = torch.cat(
    [torch.arange(p.start, p.stop) for p in NETWORK.parameters if p.name in
     ("layers.1.weight", "layers.2.weight")]
)  # fmt: skip
RUNS = 2


def inner(shape: str) -> Any:
    n = len(HIDDEN)
    anchor = torch.randn(RUNS, n, dtype=torch.float64)
    if shape == "diagonal":
        return Diagonal(torch.rand(RUNS, n, dtype=torch.float64), anchor)
    directions = torch.randn(RUNS, 3, n, dtype=torch.float64)
    return LowRank.about(directions, torch.rand(RUNS, 3, dtype=torch.float64), anchor)


def test_hidden_layers_are_the_weights_between_hidden_units():
    part = Part(NETWORK, "hidden")
    columns = torch.arange(NETWORK.size)[None]
    assert torch.equal(part.take(columns)[0], HIDDEN)
    assert not part.whole
    assert Part(NETWORK, "all").whole
    spread = part.spread(part.take(columns + 1))[0]
    assert torch.equal(spread.nonzero()[:, 0], HIDDEN)


@pytest.mark.parametrize("shape", ["diagonal", "low-rank"])
def test_a_penalty_within_a_part_acts_on_it_alone(shape):
    torch.manual_seed(0)
    part, alone = Part(NETWORK, "hidden"), inner(shape)
    held = Within(part, alone)
    theta = torch.randn(RUNS, NETWORK.size, dtype=torch.float64)
    gradient = held.gradient(theta)
    torch.testing.assert_close(gradient[:, HIDDEN], alone.gradient(theta[:, HIDDEN]))
    assert torch.count_nonzero(gradient) == RUNS * len(HIDDEN)
    matrix = torch.zeros(RUNS, NETWORK.size, NETWORK.size, dtype=torch.float64)
    matrix[:, HIDDEN[:, None], HIDDEN] = alone.to_matrix()
    assert torch.equal(held.to_matrix(), matrix)
    expected, values = theta.clone(), theta[:, HIDDEN]
    held.prepare(torch.full((RUNS, 1), 2.0, dtype=torch.float64))
    alone.pull(values)
    expected[:, HIDDEN] = values
    held.pull(theta)
    assert torch.equal(theta, expected)


@pytest.mark.parametrize("shape", ["diagonal", "low-rank"])
@pytest.mark.parametrize("layers", ["all", "hidden"])
def test_what_is_held_adds_up_over_tasks(shape, layers):
    part = Part(NETWORK, layers) if layers == "hidden" else Part(MLP(len(HIDDEN) - 1, (), 1), "all")
    first, second = inner(shape), inner(shape)
    held = part.hold(second, part.hold(first, None))
    assert isinstance(held, Within) == (layers == "hidden")
    theta = torch.randn(RUNS, part.size, dtype=torch.float64)
    values = part.take(theta)
    expected = part.spread(first.gradient(values) + second.gradient(values))
    torch.testing.assert_close(held.gradient(theta), expected)
