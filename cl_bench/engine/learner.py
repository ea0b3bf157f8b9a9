"""A stack of learners in training: weights, gradient, optimiser, counters and random numbers.

Strategies see this object and the current task's data, and nothing else of the engine.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_bench.config import RunConfig, Scenario
from cl_bench.engine.draws import Draws, by_seed
from cl_bench.engine.losses import Loss, cross_entropy_cotangent
from cl_bench.engine.networks import Network
from cl_bench.engine.optimizers import build_optimizer
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
        self.optimizer = build_optimizer([c.optimizer for c in configs], device)
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
        self.fresh: Batch
        """During a step: the task's own minibatch."""
        self.batch: Batch
        """During a step: the minibatch that is trained on, `begin_step`'s."""
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

    def gradient_of(
        self,
        batch: Batch,
        loss: Loss | None = None,
        theta: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return the gradient [R, D] of a loss on a minibatch; its cost is counted.

        Args:
            batch: the minibatch.
            loss: the loss; None is the cross-entropy.
            theta: weights [R, D]; None is those in training.
            out: where to write it; None is a new tensor.
        """
        at = self.theta if theta is None else theta
        gradient = torch.empty_like(at) if out is None else out

        def cotangent(logits: Tensor) -> Tensor:
            if loss is None:
                return cross_entropy_cotangent(logits, batch)
            leaf = logits.detach().requires_grad_()
            with torch.enable_grad():
                value = loss(leaf, batch)
                if value.shape != (self.runs, 1):
                    raise ValueError(
                        f"a loss has the shape {list(value.shape)}; "
                        f"it must be [{self.runs}, 1], one number a run"
                    )
                return torch.autograd.grad(value.sum(), leaf)[0]

        self.network.backward(at, batch.images, cotangent, gradient, batch.gates)
        self.count_passes(batch.labels.shape[1] / self.batch_size)
        return gradient

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
