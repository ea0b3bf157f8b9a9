"""Outputs that do not compete: never predicted and never trained, wherever the logits lie."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cl_bench.engine.evaluation import Evaluator
from cl_bench.engine.losses import cross_entropy, cross_entropy_cotangent
from cl_bench.engine.stack import assemble
from cl_bench.engine.tasks import Batch
from cl_bench.methods.distillation import (
    by_task,
    certainties,
    cross_entropy_to,
    probabilities,
)
from cl_bench.planning import finding
from tests.training import config

LEVELS = [0.0, -2e4, -1e8, 1e8]
HALF = torch.tensor([True, False, True, False, True])


@pytest.mark.parametrize("scenario", ["task", "class", "domain"])
def test_what_is_added_to_all_outputs_changes_no_prediction(scenario):
    split = {"name": "split-mnist", "tasks": 5, "scenario": scenario, "train_samples": 300}
    runs = [config("naive", seed, benchmark=split) for seed in (0, 1)]
    stack = assemble(runs, finding.load("naive"))
    with torch.no_grad():
        for batch in stack.task(0).minibatches(30, 30):
            stack.step(batch)
        found = Evaluator(stack.streams, "test").evaluate(stack.strategy, 0, 1)
        bias = stack.network.parameters[-1].view(stack.learner.theta)
        bias -= 2e4
        moved = Evaluator(stack.streams, "test").evaluate(stack.strategy, 0, 1, confusion=True)
    assert found.accuracy.min() > 0.7
    # Near 20,000, logits are multiples of 1/512: a tie or two may fall the other way.
    torch.testing.assert_close(moved.accuracy, found.accuracy, atol=0.01, rtol=0)
    torch.testing.assert_close(moved.accuracy_agnostic, found.accuracy_agnostic, atol=0.01, rtol=0)
    torch.testing.assert_close(moved.loss, found.loss, atol=0.01, rtol=0)
    assert moved.confusion is not None
    competing = stack.streams.outputs.competing(1 if scenario == "class" else 0, training=False)
    if competing is not None:
        assert not moved.confusion[:, :, ~competing].any()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("mask", [HALF, None, "a sample"])
def test_the_loss_and_its_gradient_are_of_those_that_compete_alone(level, mask):
    labels = torch.tensor([[0, 2, 4], [4, 0, 2]])
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)) * 16 + level
    if mask == "a sample":
        mask = HALF.expand(2, 3, 5).clone()
        mask[1, 0, 1] = True
    batch = Batch(torch.empty(2, 3, 0), labels, mask)
    leaf = logits.clone().requires_grad_()
    value = cross_entropy(leaf, batch)
    value.sum().backward()
    found = cross_entropy_cotangent(logits, batch)
    torch.testing.assert_close(found, leaf.grad, rtol=1e-5, atol=1e-6)
    for run in range(2):
        total = 0.0
        for sample in range(3):
            kept = torch.ones(5, dtype=torch.bool) if mask is None else mask
            kept = kept if kept.dim() == 1 else kept[run, sample]
            few = logits[run, sample, kept].double().requires_grad_()
            label = kept.nonzero().flatten().tolist().index(int(labels[run, sample]))
            loss = functional.cross_entropy(few, torch.tensor(label)) / 3
            (slope,) = torch.autograd.grad(loss, few)
            total += loss.item()
            torch.testing.assert_close(found[run, sample, kept].double(), slope, atol=1e-6, rtol=0)
            assert (found[run, sample, ~kept] == 0).all()
        torch.testing.assert_close(value[run].item(), total, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("wanted", [probabilities, certainties])
def test_distillation_compares_those_that_compete_alone(level, wanted):
    outputs = torch.tensor([[True, True, True, False, False], [False, False, False, True, True]])
    generator = torch.Generator().manual_seed(1)
    new, old = (torch.randn(2, 3, 5, generator=generator) * 16 + level for _ in range(2))
    leaf = new.clone().requires_grad_()
    found = cross_entropy_to(wanted(by_task(old, outputs)), by_task(leaf, outputs), 2.0)
    found.sum().backward()
    for run in range(2):
        own = new[run].double().requires_grad_()
        parts = [
            functional.cross_entropy(own[:, head] / 2, wanted(old[run][:, head]).double())
            for head in outputs
        ]
        total = torch.stack(parts).sum()
        (slope,) = torch.autograd.grad(total, own)
        torch.testing.assert_close(found[run].item(), total.item(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(leaf.grad[run].double(), slope, rtol=1e-4, atol=1e-5)
