"""The buffer: who is kept, in which numbers, and what comes out of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy.stats import chi2

from cl_bench.engine.state import State, give, take
from cl_bench.engine.tasks import Batch
from cl_bench.methods.replay import Buffer
from cl_bench.seeding import torch_generator


class Numbers(SimpleNamespace):
    """A stand-in for a learner: random numbers of each run's own, and a task number."""

    def __init__(self, seeds):
        super().__init__(runs=len(seeds), seeds=seeds, device=torch.device("cpu"), task=0, step=0)

    def uniform(self, purpose, *shape):
        draws = [
            torch.rand(shape, generator=torch_generator("test", purpose, seed, self.step))
            for seed in self.seeds
        ]
        return torch.stack(draws)

    def outputs_of(self, tasks):
        return None


class Many(Numbers):
    """The same for so many runs that one generator for all of them is wanted."""

    def uniform(self, purpose, *shape):
        generator = torch_generator("test", purpose, self.step)
        return torch.rand((self.runs, *shape), generator=generator)


def samples(ids, labels, runs):
    """Return a minibatch whose images spell the number of each sample in two pixels."""
    numbers = torch.as_tensor(ids)
    images = torch.stack([numbers % 256, numbers // 256], 1).float() / 255
    labels = torch.as_tensor(labels)
    return Batch(images.expand(runs, -1, -1), labels.expand(runs, -1), None)


def numbers_of(images):
    """Return the sample numbers [R, M] that bytes [R, M, 2] spell."""
    return images[..., 0].long() + 256 * images[..., 1].long()


def buffer_of(learner: Any, *how) -> Buffer:
    return Buffer(learner, *how)


def draw(buffer, size, *purpose):
    drawn = buffer.draw(size, *purpose)
    assert drawn is not None
    return drawn


def offer(buffer, labels, size=7, first=0, **extra):
    """Add samples number `first`, … with these labels, a minibatch a step."""
    for start in range(0, len(labels), size):
        part = labels[start : start + size]
        ids = torch.arange(first + start, first + start + len(part))
        values = {k: v[ids].expand(buffer.learner.runs, *v[ids].shape) for k, v in extra.items()}
        buffer.add(samples(ids, part, buffer.learner.runs), **values)
        buffer.learner.step += 1


def kept(buffer):
    return numbers_of(buffer.images[:, : buffer.filled])


def uniform_p_value(found, of, share):
    """Return how likely so uneven counts are where each of `of` is found with this probability."""
    runs = found.shape[0]
    counts = torch.bincount(found.flatten() - found.min(), minlength=of).double()
    variance = runs * share * (1 - share) * of / (of - 1)
    statistic = float(((counts - runs * share) ** 2 / variance).sum())
    return chi2.sf(statistic, of - 1)


def test_a_reservoir_keeps_every_sample_with_the_same_probability():
    buffer = buffer_of(Many(range(4000)), 10)
    offer(buffer, [0] * 60)
    found = kept(buffer)
    assert (found.sort(1).values.diff(dim=1) > 0).all(), "no sample twice"
    assert uniform_p_value(found, 60, 10 / 60) > 0.01


def test_a_reservoir_keeps_every_pair_with_the_same_probability():
    buffer = buffer_of(Many(range(20000)), 3)
    offer(buffer, [0] * 8, size=5)
    found = kept(buffer).sort(1).values
    pairs = torch.cat([found[:, [0, 1]], found[:, [0, 2]], found[:, [1, 2]]])
    counts = torch.bincount(pairs[:, 0] * 8 + pairs[:, 1], minlength=64).view(8, 8)
    expected = 20000 * 3 * 2 / (8 * 7)
    upper = counts[torch.ones(8, 8).triu(1).bool()]
    assert ((upper - expected).abs() < 5 * expected**0.5).all()


@pytest.mark.parametrize("balance", ["none", "class", "task"])
def test_all_is_kept_until_the_buffer_is_full(balance):
    buffer = buffer_of(Numbers([0, 1]), 20, balance)
    labels = [0, 1, 2, 0, 0, 1, 2, 2, 3, 1, 0, 0, 3, 1, 1]
    for end in (7, 14, 15):
        offer(buffer, labels[len(kept(buffer)[0]) if buffer.added else 0 : end], first=buffer.added)
        assert buffer.filled == end
        found = kept(buffer)
        assert torch.equal(found.sort(1).values, torch.arange(end).expand(2, -1))
        assert torch.equal(buffer.labels[:, :end], torch.tensor(labels)[found])
        assert (buffer.labels[:, end:] == -1).all()
    drawn = draw(buffer, 15)
    assert torch.equal(
        drawn.labels.sort(1).values, torch.tensor(labels).sort().values.expand(2, 15)
    )


def fair_shares(counts, capacity):
    """Return how many of each group to keep: as equal numbers as there are, one by one."""
    shares = [0] * len(counts)
    while sum(shares) < min(capacity, sum(counts)):
        poorest = min(i for i in range(len(counts)) if shares[i] < counts[i])
        for i in range(len(counts)):
            if shares[i] < counts[i] and shares[i] < shares[poorest]:
                poorest = i
        shares[poorest] += 1
    return shares


@pytest.mark.parametrize("counts", [(60, 3, 0, 40, 5), (200, 1, 1, 1, 1), (9, 9, 9, 9, 9)])
@pytest.mark.parametrize("capacity", [20, 23])
def test_classes_are_balanced_exactly(counts, capacity):
    labels = torch.repeat_interleave(torch.arange(5), torch.tensor(counts))
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    for order in (torch.arange(len(labels)), shuffled):
        buffer = buffer_of(Numbers(list(range(6))), capacity, "class")
        offer(buffer, labels[order].tolist())
        found = torch.nn.functional.one_hot(buffer.labels, 5).sum(1)
        expected = torch.tensor(fair_shares(counts, capacity))
        # Which of the classes that could have more get the places left over is up to chance.
        assert torch.equal(found.sort(1).values, expected.sort().values.expand(6, -1))
        rare = expected == torch.tensor(counts)
        assert torch.equal(found[:, rare], expected[rare].expand(6, -1))


def test_of_each_class_a_uniform_sample_is_kept():
    buffer = buffer_of(Many(range(4000)), 12, "class")
    offer(buffer, [0] * 30 + [1, 2] * 15)
    found = kept(buffer)
    assert uniform_p_value(found[found < 30].view(4000, 4), 30, 4 / 30) > 0.01
    odd = found[(found >= 30) & (found % 2 == 0)].view(4000, 4)
    assert uniform_p_value((odd - 30) // 2, 15, 4 / 15) > 0.01


def test_tasks_are_balanced_whenever_one_is_over():
    learner = Numbers([3, 4])
    buffer = buffer_of(learner, 21, "task")
    for task in range(4):
        learner.task = task
        offer(buffer, [0] * 50, first=50 * task)
        found = torch.nn.functional.one_hot(buffer.tasks, 4).sum(1)
        expected = fair_shares([50] * (task + 1) + [0] * (3 - task), 21)
        assert torch.equal(found.sort(1).values, torch.tensor(expected).sort().values.expand(2, 4))
        assert torch.equal(kept(buffer) // 50, buffer.tasks)


def test_draws_are_without_replacement_and_as_likely_for_all():
    learner = Many(range(4000))
    buffer = buffer_of(learner, 30)
    assert buffer.draw(5) is None
    offer(buffer, [0] * 25)
    found = numbers_of(draw(buffer, 8).images * 255 + 0.5)
    assert (found.sort(1).values.diff(dim=1) > 0).all()
    assert uniform_p_value(found, 25, 8 / 25) > 0.01
    other = numbers_of(draw(buffer, 8, "another").images * 255 + 0.5)
    assert not torch.equal(found, other)
    more = numbers_of(draw(buffer, 40).images * 255 + 0.5)
    assert more.shape == (4000, 40)
    assert more.max() < 25
    assert torch.bincount(more.flatten()).min() > 5000


@pytest.mark.parametrize("balance", ["none", "class", "task"])
def test_a_run_has_the_same_samples_in_any_company(balance):
    buffers = {}
    for seeds in ([5], [2, 5, 9]):
        learner = Numbers(seeds)
        buffer = buffers[len(seeds)] = buffer_of(learner, 13, balance)
        for task in range(3):
            learner.task = task
            offer(buffer, [0, 1, 1, 2] * 9, first=36 * task)
    alone, stacked = buffers[1], buffers[3]
    for name in ("images", "labels", "tasks"):
        assert torch.equal(getattr(alone, name)[0], getattr(stacked, name)[1])
    assert not torch.equal(stacked.images[0], stacked.images[1])
    drawn = draw(alone, 6).images[0], draw(stacked, 6).images[1]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("balance", ["none", "class", "task"])
def test_what_is_kept_besides_stays_with_its_sample(balance):
    learner = Numbers([0, 1, 2])
    buffer = buffer_of(learner, 10, balance)
    score, vector = torch.rand(90), torch.randn(90, 4)
    labels = torch.arange(90) % 3
    for task in range(3):
        learner.task = task
        part = labels[30 * task : 30 * task + 30].tolist()
        offer(buffer, part, first=30 * task, score=score, vector=vector)
    drawn = draw(buffer, 9)
    found = numbers_of(drawn.images * 255 + 0.5)
    assert torch.equal(drawn.extra["score"], score[found])
    assert torch.equal(drawn.extra["vector"], vector[found])
    assert torch.equal(drawn.labels, labels[found])
    assert torch.equal(drawn.tasks, found // 30)
    everything = buffer.all()
    assert torch.equal(numbers_of(everything.images * 255 + 0.5), kept(buffer))


@pytest.mark.parametrize("balance", ["none", "class"])
def test_a_buffer_goes_on_from_its_saved_state(balance):
    learner, label = Numbers([0, 1]), [0, 0, 1]
    first, second = buffer_of(learner, 10, balance), buffer_of(learner, 10, balance)
    offer(first, label * 9)
    saved = take(first, {"learner": learner})
    copied = {name: tensor.clone() for name, tensor in saved.tensors.items()}
    give(second, State(saved.tree, copied), {"learner": learner})
    step = learner.step
    for buffer in (first, second):
        learner.step = step
        offer(buffer, label * 9, first=27)
    assert torch.equal(first.images, second.images)
    assert kept(first).max() > 26
