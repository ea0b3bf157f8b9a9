"""Maximally interfered retrieval: replayed is what the next step would harm most.

A step on the new minibatch alone is tried; what it does to the losses of kept samples decides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cl_bench.engine.losses import sample_losses
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch
from cl_bench.methods.replay import Replay


class MIR(Replay):
    """Of `candidates` drawn from a reservoir, those whose loss a trial step raises most.

    The trial is theta_v = theta - rate * gradient on the new minibatch, and a sample's score its
    loss at theta_v less its loss at theta (s_MI-1). The step that counts is on the new minibatch
    joined with the samples of the highest scores (algorithm 1). Samples enter the buffer at each
    step, so that those of the task in training may be chosen as well.
    """

    title = "MIR"
    source = "Aljundi et al. 2019, NeurIPS (arXiv 1908.04742), ER-MIR: s_MI-1, algorithm 1"

    candidates: int = setting(
        0, "kept samples that are scored at each step; 0 is 5 times those replayed", low=0
    )

    def begin_step(self, batch: Batch) -> Batch:
        count = self.replay_batch_size or self.learner.batch_size
        drawn = self.buffer.draw(
            min(self.candidates or 5 * count, max(self.buffer.filled, count)), "candidates"
        )
        if drawn is None:
            return batch
        index = self.scores(batch, drawn).topk(min(count, drawn.labels.shape[1]), 1).indices
        rows = torch.arange(index.shape[0], device=index.device).unsqueeze(1)
        per_sample = drawn.mask is not None and drawn.mask.dim() == 3
        return batch.joined(
            Batch(
                drawn.images[rows, index],
                drawn.labels[rows, index],
                drawn.mask[rows, index] if drawn.mask is not None and per_sample else drawn.mask,
                name="replay",
            )
        )

    def scores(self, batch: Batch, kept: Batch) -> Tensor:
        """Return how much a trial step on a minibatch raises each kept sample's loss, [R, B]."""
        learner = self.learner
        trial = self.theta - learner.learning_rate * learner.gradient_of(batch)
        learner.count_passes(2 * kept.labels.shape[1] / learner.batch_size / 3)
        return sample_losses(learner.network.forward(trial, kept.images), kept) - sample_losses(
            learner.network.forward(self.theta, kept.images), kept
        )
