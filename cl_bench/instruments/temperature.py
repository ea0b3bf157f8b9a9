"""SGD's noise along directions of weight space: its temperature, and how long it is remembered.

T_i = alpha / 2 <(dL^mu / dp_i)^2> over minibatches mu (Feng & Tu, arXiv 2001.01678, our reading; in
the paper the full gradient is taken away first, which is `noise` here). Near a quadratic minimum of
curvature h_i, SGD with independent minibatches keeps h_i sigma_i^2 = T_i and forgets in
tau_i = 1 / (alpha h_i) steps, so that sigma_i^2 = alpha T_i tau_i: all to first order in alpha h_i.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.engine.linalg import gram
from cl_bench.engine.losses import less_one_hot_, masked
from cl_bench.engine.networks import Network
from cl_bench.engine.tasks import Batch

_DIRECTIONS = 16


@dataclass(frozen=True)
class Temperature:
    """The strength of minibatch gradients, all in units of the loss."""

    total: Tensor
    """alpha / 2 <(g . p_i)^2> of minibatch gradients g, [R, k]."""
    noise: Tensor
    """The same about the minibatches' mean gradient: alpha / 2 times the variance, [R, k]."""
    error: Tensor
    """Standard error of `total`, [R, k], as if minibatches were drawn independently."""
    trace: Tensor
    """alpha / 2 times the trace of the gradients' covariance, [R]: `noise` summed over a basis."""
    minibatches: int


class GradientNoise:
    """The moments of minibatch gradients, summed as they come: at fixed weights, or in training.

    Args:
        directions: unit vectors p_i, [R, k, n].
    """

    def __init__(self, directions: Tensor) -> None:
        # Turned once: it would cost more than all else at every minibatch.
        self._directions = directions.double()
        self.count = 0
        """Minibatches added."""
        runs, many, size = directions.shape
        self._powers = [
            torch.zeros(runs, many, dtype=torch.float64, device=directions.device) for _ in range(3)
        ]
        self._mean = torch.zeros(runs, size, dtype=torch.float64, device=directions.device)
        self._square = torch.zeros(runs, dtype=torch.float64, device=directions.device)

    def add(self, gradient: Tensor) -> None:
        """Add a minibatch's gradient by the weights looked at, [R, n]."""
        along = gram(gradient.unsqueeze(1), self._directions).squeeze(1)
        square = along.square()
        for total, value in zip(self._powers, (along, square, square.square()), strict=True):
            total += value
        exact = gradient.double()
        self._mean += exact
        self._square += exact.square().sum(1)
        self.count += 1

    def temperature(self, learning_rate: Tensor) -> Temperature:
        """Return the temperature at a learning rate alpha, [R, 1].

        Moments are divided by the number of minibatches: exact for those of one whole epoch.
        """
        mean, square, fourth = (total / self.count for total in self._powers)
        half = learning_rate.double() / 2
        error = ((fourth - square.square()).clamp(min=0) / self.count).sqrt()
        spread = self._square / self.count - (self._mean / self.count).square().sum(1)
        return Temperature(
            half * square,
            half * (square - mean.square()).clamp(min=0),
            half * error,
            half.squeeze(1) * spread.clamp(min=0),
            self.count,
        )


def temperature(
    network: Network,
    theta: Tensor,
    minibatches: Iterable[Batch],
    directions: Tensor,
    learning_rate: Tensor,
    span: slice | None = None,
) -> Temperature:
    """Return the temperature along directions at fixed weights.

    Args:
        network: the architecture.
        theta: the weights, [R, D].
        minibatches: of the size that is trained with; one epoch of them makes it exact.
        directions: unit vectors in the span, [R, k, n].
        learning_rate: alpha, [R, 1].
        span: the weights looked at; None is all.
    """
    noise = GradientNoise(directions)
    for gradient in minibatch_gradients(network, theta, minibatches):
        noise.add(gradient[:, span or slice(None)])
    return noise.temperature(learning_rate)


def minibatch_gradients(
    network: Network, theta: Tensor, minibatches: Iterable[Batch]
) -> Iterable[Tensor]:
    """Yield the gradient of each minibatch's mean cross-entropy, [R, D]; the buffer is reused."""
    gradient = torch.empty_like(theta)
    for batch in minibatches:
        network.backward(
            theta,
            batch.images,
            lambda logits, b=batch: _score(logits, b),  # type: ignore[misc]
            gradient,
        )
        yield gradient


def _score(logits: Tensor, batch: Batch) -> Tensor:
    """Return the gradient of the mean cross-entropy by the logits, [R, B, C]."""
    probability = functional.softmax(masked(logits, batch.mask), -1)
    return less_one_hot_(probability, batch.labels) / logits.shape[1]


@dataclass(frozen=True)
class CorrelationTime:
    """How long the weights' motion along each direction is remembered."""

    steps: Tensor
    """tau_i = 1/2 + sum over lags of the autocorrelation, [R, k], in snapshots: exp(-t / tau) has
    tau (to 1 % from tau = 3 on), independent numbers have 1/2."""
    error: Tensor
    """Standard error, tau sqrt((4 W + 2) / T) (Madras & Sokal 1988), [R, k]."""
    window: Tensor
    """The lag W that the sum goes to, [R, k]."""
    converged: Tensor
    """bool [R, k]: the series is longer than 50 tau; else tau is a lower bound."""


def correlation_time(
    projections: Tensor, *, detrended: bool = False, factor: float = 5.0
) -> CorrelationTime:
    """Return the integrated autocorrelation time of each series (Sokal 1997, section 3).

    The sum over lags ends at the smallest window W that is at least `factor` times the time
    summed so far.

    Args:
        projections: the trajectory along each direction, [R, T, k].
        detrended: take each series' straight-line drift away first.
        factor: Sokal's c.
    """
    blocks = projections.split(_DIRECTIONS, 2)
    found = [_correlation_time(block.double(), detrended, factor) for block in blocks]
    steps, window = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
    length = projections.shape[1]
    error = steps * ((4 * window + 2) / length).sqrt()
    return CorrelationTime(steps, error, window, length > 50 * steps)


def _correlation_time(series: Tensor, detrended: bool, factor: float) -> tuple[Tensor, Tensor]:
    # The time axis last and in one piece: sums over it then do not depend on the stack.
    gap = series.transpose(1, 2).contiguous()
    gap = gap - gap.mean(2, keepdim=True)
    length = gap.shape[2]
    if detrended:
        time = torch.arange(length, dtype=gap.dtype, device=gap.device) - (length - 1) / 2
        gap = gap - (gap * time).sum(2, keepdim=True) / time.square().sum() * time
    spectrum = torch.fft.rfft(gap, 2 * length)
    covariance = torch.fft.irfft(spectrum.abs().square(), 2 * length)[..., :length]
    first = covariance[..., :1]
    # A direction in which nothing moves is like independent numbers.
    ratio = torch.where(first > 0, covariance / first, torch.zeros_like(covariance))
    ratio[..., 0] = 1
    summed = ratio.cumsum(2) - 0.5
    lags = torch.arange(length, dtype=gap.dtype, device=gap.device)
    enough = lags >= factor * summed
    enough[..., -1] = True
    window = enough.int().argmax(2, keepdim=True)
    steps = summed.gather(2, window).clamp(min=0)
    return steps.squeeze(2), window.squeeze(2).to(gap.dtype)
