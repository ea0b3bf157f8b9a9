"""A stack of learners in training: weights, gradient, optimiser, and the one step they all take.

Strategies see this object and the current task's data, and nothing else of the engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.config import RunConfig, Scenario
from cl_bench.engine.networks import Network
from cl_bench.engine.optimizers import build_optimizer, column
from cl_bench.engine.strategy import Strategy, all_settings, free_settings
from cl_bench.engine.tasks import Batch, Outputs
from cl_bench.seeding import torch_generator

if TYPE_CHECKING:
    from cl_bench.engine.networks import Cotangent

MASKED_LOGIT = -1e4
"""Logit of an output that does not compete: its probability is exactly 0 in float32."""

Loss = Callable[[Tensor, Batch], Tensor]
"""Maps logits [R, B, C] and their minibatch to the loss of each run, [R, 1]."""

_BLOCK = 64
"""Small draws are made for so many steps at a time: a generator costs more than its numbers."""
_SMALL = 4096


def masked(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Return logits [R, B, C] with the outputs outside the mask ([C] or [R, B, C]) put out."""
    return logits if mask is None else logits.masked_fill(~mask, MASKED_LOGIT)


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross-entropy [R, 1] in nats of a minibatch, masked as its scenario says."""
    log_p = functional.log_softmax(masked(logits, batch.mask), -1)
    return -log_p.gather(-1, batch.labels.unsqueeze(-1)).squeeze(-1).mean(1, keepdim=True)


def _cross_entropy_cotangent(logits: Tensor, batch: Batch) -> Tensor:
    """Return the gradient of `cross_entropy` by the logits, without autograd."""
    # Written out: torch's softmax is several times slower over so few outputs.
    logits = masked(logits, batch.mask)
    signal = (logits - logits.amax(-1, keepdim=True)).exp_()
    signal /= signal.sum(-1, keepdim=True)
    target = batch.labels.unsqueeze(-1)
    signal.scatter_add_(-1, target, signal.new_full((1, 1, 1), -1.0).expand(target.shape))
    return signal.div_(logits.shape[1])


class Learner:
    """R runs in training.

    Args:
        network: the architecture.
        configs: the runs; they share everything but seeds and numbers.
        outputs: what the outputs mean.
        device: where to train.
    """

    def __init__(
        self,
        network: Network,
        configs: Sequence[RunConfig],
        outputs: Outputs,
        device: torch.device,
    ) -> None:
        self.network = network
        self.runs = len(configs)
        self.seeds = tuple(c.seed for c in configs)
        self.outputs = outputs
        self.device = device
        self.batch_size = configs[0].training.batch_size
        self.initial = self._made_by([c.weights_seed for c in configs], network.initial)
        """The weights before any training, [R, D]."""
        self.theta = self.initial.clone()
        """The weights, [R, D]."""
        self.gradient = torch.zeros_like(self.theta)
        """The loss gradient of the last minibatch, [R, D]."""
        network.remember(self.theta)
        network.remember(self.gradient)
        self.optimizer = build_optimizer([c.optimizer for c in configs], device)
        self.task = 0
        """Number of the task in training, from 0."""
        self.step_number = 0
        """Training steps taken on this task; 0 while it begins."""
        self.steps = 0
        """Training steps taken on all tasks."""
        self.gradient_passes = 0.0
        """Minibatches whose gradient was taken, by training and by all else."""
        self.fresh: Batch
        """During a step: the task's own minibatch."""
        self.batch: Batch
        """During a step: the minibatch that is trained on, `begin_step`'s."""
        self.on_step: Callable[[], None] = lambda: None
        self._draws: dict[tuple[object, ...], tuple[int, Tensor]] = {}

    @property
    def scenario(self) -> Scenario:
        """What is known and asked at test time."""
        return self.outputs.scenario

    @property
    def learning_rate(self) -> Tensor:
        """The optimiser's rate, [R, 1]."""
        return self.optimizer.learning_rate

    @property
    def effective_rate(self) -> Tensor:
        """How far a steady gradient of 1 moves a weight each step, [R, 1]."""
        return self.optimizer.effective_rate

    def seen_outputs(self) -> Tensor:
        """Return bool [C]: the outputs of the tasks up to and with this one."""
        return self.outputs.seen(self.task)

    def outputs_of(self, tasks: Tensor) -> Tensor | None:
        """Return the mask that samples of these tasks [R, B] are trained with now.

        Returns:
            bool [R, B, C] in the task scenario, else what all samples share: [C], or None.
        """
        if self.scenario is Scenario.TASK:
            return self.outputs.of_task[tasks]
        return self.outputs.competing(self.task, training=True)

    def settings_of(
        self, strategy: type[Strategy], configs: Sequence[RunConfig]
    ) -> dict[str, object]:
        """Return a strategy's settings: free ones as [R, 1] tensors, the others as they are."""
        given = [all_settings(strategy, config.strategy.settings) for config in configs]
        values: dict[str, object] = dict(given[0])
        for name in free_settings(strategy):
            values[name] = column([float(each[name]) for each in given], self.device)
        return values

    def step(self, strategy: Strategy, batch: Batch) -> None:
        """Take one training step on a minibatch, with the strategy's hooks."""
        self.fresh = batch
        self.batch = batch = strategy.begin_step(batch)
        own = type(strategy).loss is not Strategy.loss
        self._backward(batch, strategy.loss if own else None, self.theta, self.gradient)
        self.count_passes(batch.labels.shape[1] / self.batch_size)
        strategy.adjust_gradient(self.gradient)
        self.optimizer.step(self.theta, self.gradient)
        self.steps += 1
        self.step_number += 1
        strategy.after_step()
        del self.fresh, self.batch
        self.on_step()

    def gradient_of(
        self, batch: Batch, loss: Loss | None = None, theta: Tensor | None = None
    ) -> Tensor:
        """Return the gradient [R, D] of a loss on a minibatch, besides that of the step.

        Args:
            batch: the minibatch.
            loss: the loss; None is the cross-entropy.
            theta: weights [R, D]; None is those in training.
        """
        at = self.theta if theta is None else theta
        gradient = torch.empty_like(at)
        self._backward(batch, loss, at, gradient)
        self.count_passes(batch.labels.shape[1] / self.batch_size)
        return gradient

    def count_passes(self, batches: float) -> None:
        """Add to the cost: gradients taken, in minibatches of the training batch size."""
        self.gradient_passes += batches

    def _backward(self, batch: Batch, loss: Loss | None, theta: Tensor, out: Tensor) -> None:
        def cotangent(logits: Tensor) -> Tensor:
            if loss is None:
                return _cross_entropy_cotangent(logits, batch)
            leaf = logits.detach().requires_grad_()
            with torch.enable_grad():
                value = loss(leaf, batch)
                if value.shape != (self.runs, 1):
                    raise ValueError(
                        f"a loss has the shape {list(value.shape)}; "
                        f"it must be [{self.runs}, 1], one number a run"
                    )
                return torch.autograd.grad(value.sum(), leaf)[0]

        rule: Cotangent = cotangent
        self.network.backward(theta, batch.images, rule, out, batch.gates)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Return uniform numbers in [0, 1), [R, *shape], each run's from its own stream.

        The stream is that of the purpose, the run's seed, the task and the step: the same call
        gives the same numbers, and two draws in one step need two purposes.
        """
        return self._draw(torch.rand, "uniform", purpose, shape)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Return standard normal numbers, [R, *shape], drawn as `uniform` draws."""
        return self._draw(torch.randn, "normal", purpose, shape)

    def _draw(
        self, draw: Callable[..., Tensor], kind: str, purpose: str, shape: tuple[int, ...]
    ) -> Tensor:
        many = _BLOCK if math.prod(shape) <= _SMALL else 1
        block, within = divmod(self.step_number, many)
        key = (kind, purpose, shape)
        kept = self._draws.get(key)
        place = self.task * 2**40 + block
        if kept is None or kept[0] != place:
            names = ("strategy", kind, purpose)

            def drawn(seed: int) -> Tensor:
                generator = torch_generator(*names, seed, self.task, block)
                return draw((many, *shape), generator=generator)

            kept = self._draws[key] = (place, self._made_by(self.seeds, drawn))
        return kept[1][:, within]

    def _made_by(self, seeds: Sequence[int], make: Callable[[int], Tensor]) -> Tensor:
        """Return what the seed of each run makes, [R, …]."""
        made = {seed: make(seed) for seed in set(seeds)}
        return torch.stack([made[seed] for seed in seeds]).to(self.device)
