"""Fisher information in bulk against one gradient at a time by autograd."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cl_bench import benchmarks
from cl_bench.engine.learner import Learner
from cl_bench.engine.losses import masked
from cl_bench.engine.networks import MLP
from cl_bench.engine.tasks import Streams, TaskData
from cl_bench.methods.fisher import diagonal_fisher
from tests.training import config

SAMPLES = 30


@pytest.fixture(params=["domain", "task"])
def stack(request):
    bench_config = {"name": "split-mnist", "tasks": 5, "scenario": request.param}
    runs = [config("naive", seed, benchmark=bench_config) for seed in (0, 1)]
    bench = benchmarks.get(runs[0].benchmark, download=False)
    streams = Streams(bench, [0, 1], torch.device("cpu"))
    network = MLP(784, (6, 5), bench.n_outputs)
    learner = Learner(network, runs, streams.outputs, torch.device("cpu"))
    learner.theta *= 3  # away from uniform predictions
    return learner, TaskData(streams, 1)


def score(network, theta, image, mask, label, sign=1):
    leaf = theta.clone().requires_grad_()
    logits = masked(sign * network.forward(leaf[None], image[None, None]), mask)[0, 0]
    return torch.autograd.grad(functional.log_softmax(logits, -1)[label], leaf)[0]


@pytest.mark.parametrize("estimator", ["exact", "empirical", "true-part", "predicted", "reversed"])
def test_is_the_mean_of_squared_scores(stack, estimator):
    learner, task = stack
    found = diagonal_fisher(learner, task, estimator, SAMPLES)
    network = learner.network
    for run in range(2):
        total = torch.zeros_like(learner.theta[run])
        for batch in task.sample(SAMPLES, "fisher"):
            for image, label in zip(batch.images[run], batch.labels[run], strict=True):
                logits = masked(
                    network.forward(learner.theta[run][None], image[None, None]), batch.mask
                )
                p = functional.softmax(logits[0, 0], -1)
                outputs = {"exact": range(len(p)), "predicted": [int(p.argmax())]}
                for output in outputs.get(estimator, [int(label)]):
                    weight = p[output] if estimator in ("exact", "true-part") else 1.0
                    sign = -1 if estimator == "reversed" else 1
                    g = score(network, learner.theta[run], image, batch.mask, output, sign)
                    total += weight * g.square()
        torch.testing.assert_close(found[run], total / SAMPLES, rtol=1e-4, atol=1e-9)


def test_sampled_tends_to_exact(stack):
    learner, task = stack
    learner.theta *= 2 / 3  # rare labels of large gradient make the mean of 1000 draws vary less
    exact = diagonal_fisher(learner, task, "exact", 1000)
    sampled = diagonal_fisher(learner, task, "sampled", 1000)
    assert not torch.equal(exact, sampled)
    assert ((sampled.sum(1) / exact.sum(1)) - 1).abs().max() < 0.15


def test_batch_mean_squares_the_gradient_of_the_mean_loss(stack):
    learner, task = stack
    found = diagonal_fisher(learner, task, "batch-mean", 128)
    total = torch.zeros_like(learner.theta)
    for batch in task.sample(128, "fisher", 64):
        for run in range(2):
            leaf = learner.theta[run].clone().requires_grad_()
            logits = learner.network.forward(leaf[None], batch.images[run : run + 1])
            loss = functional.cross_entropy(masked(logits, batch.mask)[0], batch.labels[run])
            total[run] += torch.autograd.grad(loss, leaf)[0].square()
    torch.testing.assert_close(found, total / 2, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize(("samples", "batches"), [(150, 2), (64, 1), (40, 1), (10_000, 15)])
def test_batch_mean_takes_whole_minibatches_of_the_training_size(stack, samples, batches):
    learner, task = stack
    assert (learner.batch_size, task.epoch_samples) == (64, 1000)
    found = diagonal_fisher(learner, task, "batch-mean", samples)
    assert learner.gradient_passes == batches
    total = torch.zeros_like(learner.theta)
    for batch in task.minibatches(64, batches, "sample", "fisher"):
        total += learner.gradient_of(batch).square()
    torch.testing.assert_close(found, total / batches, rtol=1e-4, atol=1e-10)
