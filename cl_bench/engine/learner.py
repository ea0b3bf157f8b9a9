"""A stack of learners in training: weights, gradient, optimiser, counters and random numbers.

Strategies see this object and the current task's data, and nothing else of the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cl_bench.config import RunConfig, Scenario
from cl_bench.engine.draws import Draws, by_seed
from cl_bench.engine.losses import Loss, cross_entropy_cotangent
from cl_bench.engine.modules import same_kernels
from cl_bench.engine.networks import Network
from cl_bench.engine.optimizers import Optimizer, build_optimizer
from cl_bench.engine.tasks import Batch, Outputs


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
        self.initial = by_seed([c.weights_seed for c in configs], network.initial).to(device)
        """The weights before any training, [R, D]."""
        self.theta = self.initial.clone()
        """The weights, [R, D]."""
        self.gradient = torch.zeros_like(self.theta)
        """The loss gradient of the last minibatch, [R, D]."""
        network.remember(self.theta)
        network.remember(self.gradient)
        self._rules = [c.optimizer for c in configs]
        self.optimizer = build_optimizer(self._rules, device)
        self.task = 0
        """Number of the task in training, from 0."""
        self.step_number = 0
        """Training steps taken on this task; 0 while it begins."""
        self.steps = 0
        """Training steps taken on all tasks."""
        self.samples_seen = 0
        """Images of the tasks trained on, repetitions counted."""
        self.gradient_passes = 0.0
        """Minibatches whose gradient was taken, by training and by all else."""
        self.draws = Draws(self.seeds, device)

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

    def new_optimizer(self) -> Optimizer:
        """Return another optimiser by the runs' rules, at their present rates."""
        made = build_optimizer(self._rules, self.device)
        made.set_rate(self.learning_rate)
        return made

    def gradient_of(
        self,
        batch: Batch,
        loss: Loss | None = None,
        theta: Tensor | None = None,
        out: Tensor | None = None,
        *,
        objective: Loss | None = None,
        along: Sequence[Tensor] = (),
    ) -> Tensor:
        """Return the gradient [R, D] of a loss on a minibatch; its cost is counted.

        Args:
            batch: the minibatch.
            loss: the loss; None is the cross-entropy.
            theta: weights [R, D]; None is those in training.
            out: where to write it; None is a new tensor.
            objective: the loss as a function of the weights and the minibatch, in place of `loss`.
            along: other tensors [R, …] that the loss is a function of: their gradients are left
                in their `grad`.
        """
        at = self.theta if theta is None else theta
        gradient = torch.empty_like(at) if out is None else out

        def cotangent(logits: Tensor) -> Tensor:
            if batch.logits is None:
                batch.logits = logits.detach()
            if loss is None:
                return cross_entropy_cotangent(logits, batch)
            return self._derivative(lambda leaf: loss(leaf, batch), logits, along)

        if objective is None:
            self.network.backward(at, batch.images, cotangent, gradient, batch.gates)
        else:
            with same_kernels():
                gradient.copy_(self._derivative(lambda leaf: objective(leaf, batch), at, along))
        self.count_passes(batch.labels.shape[1] / self.batch_size)
        return gradient

    def _derivative(
        self, loss: Callable[[Tensor], Tensor], at: Tensor, along: Sequence[Tensor]
    ) -> Tensor:
        """Return the gradient of a loss by a tensor; those by others go to their `grad`."""
        leaf = at.detach().requires_grad_()
        with torch.enable_grad():
            for other in along:
                other.requires_grad_()
            value = loss(leaf)
            if value.shape != (self.runs, 1):
                raise ValueError(
                    f"a loss has the shape {list(value.shape)}; "
                    f"it must be [{self.runs}, 1], one number a run"
                )
            found = torch.autograd.grad(
                value.sum(), [leaf, *along], allow_unused=True, materialize_grads=True
            )
        for other, gradient in zip(along, found[1:], strict=True):
            other.requires_grad_(False)
            other.grad = gradient
        return found[0]

    def count_step(self, images: int) -> None:
        """Add to what was done: a step on so many images of the task in training."""
        self.steps += 1
        self.step_number += 1
        self.samples_seen += images

    def count_passes(self, batches: float) -> None:
        """Add to the cost: gradients taken, in minibatches of the training batch size."""
        self.gradient_passes += batches

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Return uniform numbers in [0, 1), [R, *shape], each run's from its own stream.

        The stream is that of the purpose, the run's seed, the task and the step: the same call
        gives the same numbers, so that two draws of one shape in one step need two purposes.
        """
        return self.draws.draw("uniform", purpose, shape, self.task, self.step_number)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Return standard normal numbers, [R, *shape], drawn as `uniform` draws."""
        return self.draws.draw("normal", purpose, shape, self.task, self.step_number)
