"""Random numbers in training: no two draws share any, and what is kept of a stream is uniform."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch
from scipy.stats import chi2

from cl_bench.engine.draws import Draws
from cl_bench.engine.learner import Learner
from cl_bench.engine.networks import MLP
from cl_bench.engine.tasks import Batch, Outputs
from cl_bench.methods.replay import Buffer
from cl_bench.seeding import torch_generator
from tests.training import config

CPU = torch.device("cpu")
# (shape, step): small and large shapes by turns, in one block, in others, twice in one step.
UNEVEN = [((16,), 13), ((12,), 18), ((64,), 18), ((5000,), 19), ((4, 4), 20), ((36,), 64)]
UNEVEN += [((64,), 65), ((16,), 66), ((5000,), 67), ((64,), 19 * 64), ((5000,), 19 * 64 + 1)]


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("order", [UNEVEN, UNEVEN[3:]])
def test_no_two_draws_share_numbers(kind, order):
    draws = Draws([0, 7], CPU)
    drawn = [draws.draw(kind, "buffer", shape, 0, step) for shape, step in order]
    drawn += [draws.draw(kind, "buffer", shape, 1, step) for shape, step in order]
    rows = [row for numbers in drawn for row in numbers.flatten(1).tolist()]
    # Two in a row: of 60,000 float32 numbers a few are equal by chance.
    found = [pair for row in rows for pair in pairwise(row)]
    assert len(set(found)) == len(found)


def test_a_draw_asked_for_again_gives_the_same_numbers():
    draws = Draws([3], CPU)
    for shape, step in UNEVEN:
        first = draws.draw("uniform", "buffer", shape, 2, step)
        assert torch.equal(first, draws.draw("uniform", "buffer", shape, 2, step))


def test_draws_of_one_shape_are_rows_of_their_blocks_stream():
    """As published runs have them."""
    draws = Draws([5], CPU)
    for step in (0, 1, 63, 64, 200):
        generator = torch_generator("strategy", "normal", "codes", 5, 3, step // 64)
        rows = torch.randn(64, 10, generator=generator)
        assert torch.equal(draws.draw("normal", "codes", (10,), 3, step)[0], rows[step % 64])
    for step in (0, 1, 64):
        generator = torch_generator("strategy", "uniform", "gates", 5, 3, step)
        rows = torch.rand(1, 5000, generator=generator)
        assert torch.equal(draws.draw("uniform", "gates", (5000,), 3, step), rows)


@pytest.mark.parametrize("stop", range(len(UNEVEN)))
def test_resumed_anywhere_the_draws_are_the_same(stop):
    whole, first, rest = (Draws([1, 4], CPU) for _ in range(3))
    expected = [whole.draw("uniform", "buffer", shape, 1, step) for shape, step in UNEVEN]
    for shape, step in UNEVEN[:stop]:
        first.draw("uniform", "buffer", shape, 1, step)
    rest.load(json.loads(json.dumps(first.state())))
    for (shape, step), numbers in zip(UNEVEN[stop:], expected[stop:], strict=True):
        assert torch.equal(rest.draw("uniform", "buffer", shape, 1, step), numbers)


def test_a_reservoir_of_uneven_minibatches_keeps_each_sample_as_likely():
    seeds, sizes, capacity = 4000, [64, 36], 20
    runs = [config("er").model_copy(update={"seed": seed, "init_seed": 0}) for seed in range(seeds)]
    scenario = runs[0].benchmark.scenario
    assert scenario is not None
    outputs = Outputs(scenario, torch.ones(1, 2, dtype=torch.bool), "seen")
    learner = Learner(MLP(1, (), 2), runs, outputs, CPU)
    buffer = Buffer(learner, capacity)
    number = torch.arange(sum(sizes)).expand(seeds, -1)
    for part in number.split(sizes, 1):
        learner.step_number += 1
        buffer.add(Batch(part.unsqueeze(2) / 255, part, None))
    times = torch.bincount(buffer.labels.flatten(), minlength=sum(sizes)).double()
    expected = seeds * capacity / sum(sizes)
    # A run keeps 20 of 100 without replacement, which makes the counts' variance smaller.
    statistic = float(((times - expected) ** 2).sum() / expected / (1 - capacity / sum(sizes)))
    assert chi2.sf(statistic * (sum(sizes) - 1) / sum(sizes), sum(sizes) - 1) > 0.001
