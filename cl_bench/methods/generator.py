"""A variational auto-encoder for each run of a stack: makes images like those it was trained on.

Its weights and its optimiser's moments are state of the strategy that keeps it. Encoder and decoder
are fully connected, written out in batched products like the networks of the engine.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from cl_bench.config import OptimizerConfig
from cl_bench.engine.learner import Learner
from cl_bench.engine.networks import MLP
from cl_bench.engine.optimizers import Adam
from cl_bench.engine.state import Kept

_LOG_VARIANCE = 10.0
"""Bound of the encoder's log-variances: its exponential stays finite whatever the weights."""


class _Half(MLP):
    """An encoder or a decoder: an MLP whose inputs are given a gradient, too."""

    def pull_back(self, theta: Tensor, values: list[Tensor], signal: Tensor, out: Tensor) -> Tensor:
        """Return the gradient by the inputs [R, B, in], and write that by the weights into `out`.

        Args:
            theta: weights [R, D].
            values: what `activations` returned.
            signal: the gradient by the outputs, [R, B, out].
            out: [R, D].
        """
        for i in range(len(self.layers) - 1, -1, -1):
            weight, bias = self.layers[i]
            torch.bmm(signal.transpose(1, 2), values[i], out=weight.view(out))
            torch.sum(signal, 1, out=bias.view(out))
            signal = torch.bmm(signal, weight.view(theta))
            if i:
                signal = torch.ops.aten.threshold_backward(signal, values[i], 0)
        return signal


@lru_cache
def _halves(pixels: int, hidden: int, latent: int) -> tuple[_Half, _Half]:
    encoder = _Half(pixels, (hidden, hidden), 2 * latent)
    return encoder, _Half(latent, (hidden, hidden), pixels)


class Generator(Kept):
    """R variational auto-encoders in training (Kingma & Welling 2014, arXiv 1312.6114).

    Pixels in [0, 1] are taken as means of Bernoulli variables; the prior is a standard normal.

    Args:
        learner: the stack.
        pixels: numbers an image.
        hidden: width of the two hidden layers of either half.
        latent: size of the code.
        rate: Adam's learning rate.
    """

    def __init__(
        self, learner: Learner, pixels: int, hidden: int, latent: int, rate: Tensor
    ) -> None:
        self.shape = (pixels, hidden, latent)
        halves = _halves(*self.shape)
        draw = learner.uniform("generator weights", sum(half.size for half in halves))
        draw = draw.clone()
        start = 0
        for half in halves:
            for weight, bias in half.layers:
                part = draw[:, start + weight.start : start + bias.stop]
                part.sub_(0.5).mul_(2 / weight.shape[1] ** 0.5)
            start += half.size
        self.theta = draw
        """Weights [R, G], the encoder's and then the decoder's."""
        one = OptimizerConfig(name="adam")
        self.optimizer = Adam([one] * learner.runs, learner.device)
        self.optimizer.set_rate(rate)

    @property
    def decoder(self) -> Tensor:
        """The decoder's weights, a view [R, Gd]."""
        return self.theta[:, _halves(*self.shape)[0].size :]

    def images(self, codes: Tensor, decoder: Tensor) -> Tensor:
        """Return mean images [R, B, pixels] of codes [R, B, latent] from a decoder's weights."""
        return _halves(*self.shape)[1].forward(decoder, codes).sigmoid_()

    def train(self, images: Tensor, noise: Tensor, weights: Tensor) -> None:
        """Take one step down the weighted sum of the images' negative evidence bounds.

        Args:
            images: [R, B, pixels].
            noise: standard normal [R, B, latent], for one code an image.
            weights: weight of each image, [B].
        """
        self.optimizer.step(self.theta, self.gradient(images, noise, weights))

    def gradient(self, images: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
        """Return the gradient [R, G] of what `train` lowers."""
        encoder, decoder = _halves(*self.shape)
        theta, out = self.theta, torch.empty_like(self.theta)
        split = encoder.size
        below = encoder.activations(theta[:, :split], images)
        mean, log_variance = below[-1].chunk(2, -1)
        log_variance = log_variance.clamp(-_LOG_VARIANCE, _LOG_VARIANCE)
        deviation = (log_variance / 2).exp()
        above = decoder.activations(theta[:, split:], noise * deviation + mean)
        weight = weights.unsqueeze(1)
        signal = above[-1].sigmoid().sub_(images).mul_(weight)  # of the Bernoulli cross-entropy
        by_code = decoder.pull_back(theta[:, split:], above, signal, out[:, split:])
        # The divergence from the prior is (mean^2 + variance - log variance - 1) / 2 a number.
        by_mean = by_code + weight * mean
        by_log_variance = by_code * noise * deviation / 2 + weight * (deviation.square() - 1) / 2
        encoder.pull_back(
            theta[:, :split], below, torch.cat([by_mean, by_log_variance], -1), out[:, :split]
        )
        return out
