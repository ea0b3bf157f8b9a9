"""A stack of learners in training: weights, gradient, optimiser, and the one step they all take.

Strategies see this object and the current task's data, and nothing else of the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.config import RunConfig, Scenario
from cl_bench.engine.networks import Network
from cl_bench.engine.optimizers import build_optimizer, column
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.seeding import torch_generator
from cl_bench.strategy import Strategy

MASKED_LOGIT = -1e4
"""Logit of an output that does not compete: its probability is exactly 0 in float32."""


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
        scenario: what the outputs mean.
        device: where to train.
    """

    def __init__(
        self,
        network: Network,
        configs: Sequence[RunConfig],
        scenario: Scenario,
        device: torch.device,
    ) -> None:
        self.network = network
        self.runs = len(configs)
        self.seeds = tuple(c.seed for c in configs)
        self.scenario = scenario
        self.device = device
        self.batch_size = configs[0].training.batch_size
        initial = {seed: network.initial(seed) for seed in set(self.seeds)}
        self.initial = torch.stack([initial[s] for s in self.seeds]).to(device)
        """The weights before any training, [R, D]."""
        self.theta = self.initial.clone()
        """The weights, [R, D]."""
        self.gradient = torch.zeros_like(self.theta)
        """The loss gradient of the last minibatch, [R, D]."""
        network.remember(self.theta)
        network.remember(self.gradient)
        self.optimizer = build_optimizer([c.optimizer for c in configs], device)
        self.gradient_passes = 0
        """Minibatches whose gradient was taken."""
        self.on_step: Callable[[], None] = lambda: None

    @property
    def learning_rate(self) -> Tensor:
        """The optimiser's rate, [R, 1]."""
        return self.optimizer.learning_rate

    @property
    def effective_rate(self) -> Tensor:
        """How far a steady gradient of 1 moves a weight each step, [R, 1]."""
        return self.optimizer.effective_rate

    def settings_of(
        self, strategy: type[Strategy], configs: Sequence[RunConfig]
    ) -> dict[str, object]:
        """Return a strategy's settings: float fields as [R, 1] tensors, the others as they are."""
        values: dict[str, object] = {}
        for name, field in strategy.Settings.model_fields.items():
            given = [c.strategy.settings[name] for c in configs]
            if field.annotation is float:
                values[name] = column([float(v) for v in given], self.device)
            else:
                values[name] = given[0]
        return values

    def step(self, strategy: Strategy, batch: Batch) -> None:
        """Take one training step on a minibatch, with the strategy's hooks."""

        def cotangent(logits: Tensor) -> Tensor:
            if not own_loss:
                return _cross_entropy_cotangent(logits, batch)
            leaf = logits.detach().requires_grad_()
            with torch.enable_grad():
                loss = strategy.loss(leaf, batch)
                if loss.shape != (self.runs, 1):
                    raise ValueError(
                        f"loss() of {type(strategy).__name__} has the shape {list(loss.shape)}; "
                        f"it must be [{self.runs}, 1], one number a run"
                    )
                return torch.autograd.grad(loss.sum(), leaf)[0]

        batch = strategy.begin_step(batch)
        own_loss = type(strategy).loss is not Strategy.loss
        self.network.backward(self.theta, batch.images, cotangent, self.gradient)
        self.gradient_passes += 1
        strategy.adjust_gradient(self.gradient)
        self.optimizer.step(self.theta, self.gradient)
        strategy.after_step()
        self.on_step()

    def explore(
        self, strategy: Strategy, task: TaskData, steps: int, visit: Callable[[int], None]
    ) -> None:
        """Take extra ordinary training steps at a task's end; `visit` sees each one's number."""
        for number, batch in enumerate(
            task.minibatches(self.batch_size, steps, "exploration"), start=1
        ):
            self.step(strategy, batch)
            visit(number)

    def draw_uniform(self, purpose: str, task: int, *shape: int) -> Tensor:
        """Return uniform numbers in [0, 1), [R, *shape], each run's from its own stream."""
        draws = {
            seed: torch.rand(shape, generator=torch_generator(purpose, seed, task))
            for seed in set(self.seeds)
        }
        return torch.stack([draws[s] for s in self.seeds]).to(self.device)
