"""The curvature of the mean training loss: Hessian-vector products and what they give.

Leading eigenvalues come by Lanczos's method with full reorthogonalisation, the trace by
Hutchinson's, and the curvature along given directions directly. Everything can be restricted to a
span of the weights: the block of the Hessian that belongs to one layer, say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.engine.linalg import gram, symmetric_eigen
from cl_bench.engine.losses import cross_entropy, less_one_hot_, masked
from cl_bench.engine.modules import same_kernels
from cl_bench.engine.networks import MLP, Network
from cl_bench.engine.tasks import Batch
from cl_bench.seeding import torch_generator

Product = Callable[[Tensor], Tensor]
"""Maps vectors [R, K, n] to their products with each run's symmetric matrix, [R, K, n]."""
_VECTORS = 16
_TINY = 1e-7


def hessian_product(
    network: Network, theta: Tensor, batches: Sequence[Batch], span: slice | None = None
) -> Product:
    """Return the product with the Hessian of the mean cross-entropy over all images.

    Args:
        network: the architecture; an MLP's product is written out (Pearlmutter 1994) and works for
            many vectors at once, any other's is the forward derivative of its gradient.
        theta: where, [R, D].
        batches: the images; for an MLP the activations from the span's first layer on are kept.
        span: which weights vary; None is all.
    """
    span = slice(*(span or slice(None)).indices(network.size))
    total = sum(batch.labels.shape[1] for batch in batches)
    if isinstance(network, MLP):
        one = _mlp_product(network, theta, batches, span, total)
    else:
        one = _any_product(network, theta, batches, span, total)
    return lambda vectors: torch.cat([one(part) for part in vectors.split(_VECTORS, 1)], 1)


def _any_product(
    network: Network, theta: Tensor, batches: Sequence[Batch], span: slice, total: int
) -> Product:
    def gradient(weights: Tensor, batch: Batch) -> Tensor:
        def summed(at: Tensor) -> Tensor:
            logits = network.forward(at, batch.images)
            return cross_entropy(logits, batch).sum() * (batch.labels.shape[1] / total)

        return torch.func.grad(summed)(weights)

    def product(vectors: Tensor) -> Tensor:
        whole = theta.unsqueeze(1).repeat(1, vectors.shape[1], 1).zero_()
        whole[..., span] = vectors
        found = torch.zeros_like(vectors)
        with same_kernels():
            for batch in batches:
                for number, vector in enumerate(whole.unbind(1)):
                    change = torch.func.jvp(lambda w, b=batch: gradient(w, b), (theta,), (vector,))
                    found[:, number] += change[1][:, span]
        return found

    return product


def _mlp_product(
    network: MLP, theta: Tensor, batches: Sequence[Batch], span: slice, total: int
) -> Product:
    first = next(i for i, (_, bias) in enumerate(network.layers) if bias.stop > span.start)
    kept = []
    for batch in batches:
        values = network.activations(theta, batch.images)
        probability = functional.softmax(masked(values.pop(), batch.mask), -1)
        kept.append((values[first:], probability, batch.labels))

    def product(vectors: Tensor) -> Tensor:
        whole = theta.unsqueeze(1).repeat(1, vectors.shape[1], 1).zero_()
        whole[..., span] = vectors
        found = torch.zeros_like(whole)
        for values, probability, labels in kept:
            _add_products(network, theta, whole, first, values, probability, labels, found)
        return found[..., span].div_(total)

    return product


def _add_products(
    network: MLP,
    theta: Tensor,
    vectors: Tensor,
    first: int,
    values: Sequence[Tensor],
    probability: Tensor,
    labels: Tensor,
    found: Tensor,
) -> None:
    """Add the products of one minibatch's summed loss to `found`, [R, K, D].

    `moved` and `turned` are the derivatives along each vector of a layer's input and of the loss's
    gradient by its output, [R, B, K, …].
    """
    runs, many, _ = vectors.shape
    layers = network.layers[first:]
    batch = labels.shape[1]
    moved: list[Tensor | None] = [None]
    for i, (weight, bias) in enumerate(layers):
        joined = weight.view(vectors).reshape(runs, -1, weight.shape[1])
        change = torch.bmm(values[i], joined.transpose(1, 2)).view(runs, batch, many, -1)
        change += bias.view(vectors).unsqueeze(1)
        if (before := moved[-1]) is not None:
            passed = torch.bmm(before.flatten(1, 2), weight.view(theta).transpose(1, 2))
            change += passed.view_as(change)
        if i + 1 < len(layers):
            change *= (values[i + 1] > 0).unsqueeze(2)
        moved.append(change)
    logits = moved.pop()
    assert logits is not None
    weighed = probability.unsqueeze(2) * logits
    turned = weighed - probability.unsqueeze(2) * weighed.sum(-1, keepdim=True)
    signal = less_one_hot_(probability.clone(), labels)
    for i in range(len(layers) - 1, -1, -1):
        weight, bias = layers[i]
        spread = turned.flatten(2).transpose(1, 2)
        slot = weight.view(found)
        slot += torch.bmm(spread, values[i]).view_as(slot)
        if (before := moved[i]) is not None:
            mixed = torch.bmm(signal.transpose(1, 2), before.flatten(2))
            slot += mixed.unflatten(2, (many, -1)).transpose(1, 2)
        bias.view(found).add_(turned.sum(1))
        if i:
            gate = values[i] > 0
            rows = weight.view(vectors).transpose(1, 2).flatten(2)
            back = torch.bmm(turned.flatten(1, 2), weight.view(theta))
            turned = back.view(runs, batch, many, -1)
            turned += torch.bmm(signal, rows).view_as(turned)
            turned *= gate.unsqueeze(2)
            signal = torch.bmm(signal, weight.view(theta)) * gate


def curvature_along(product: Product, directions: Tensor) -> Tensor:
    """Return p^T H p for unit vectors p, [R, k, n] -> [R, k]."""
    return (directions * product(directions)).sum(-1)


@dataclass(frozen=True)
class Spectrum:
    """The leading eigenvalues of each run's matrix."""

    values: Tensor
    """[R, k], the largest first."""
    vectors: Tensor
    """Unit vectors, [R, k, n]."""
    residuals: Tensor
    """[R, k]: an eigenvalue lies no further than this from each value, rounding counted in."""


def leading_eigenvalues(
    product: Product, start: Tensor, count: int, steps: int | None = None
) -> Spectrum:
    """Return the largest eigenvalues by Lanczos's method with full reorthogonalisation.

    An eigenvalue that comes more than once is found once; where the matrix has fewer than `count`
    different ones, zeros fill the rest.

    Args:
        product: multiplies with the matrix.
        start: first vector of each run, [R, n]: `probes(...)[:, 0]`.
        count: k, how many.
        steps: dimensions of the Krylov space, a product each; None is 2k + 20.
    """
    runs, size = start.shape
    steps = min(size, 2 * count + 20 if steps is None else steps)
    basis = start.new_zeros(runs, steps, size)
    band = torch.zeros(runs, steps, steps, dtype=torch.float64, device=start.device)
    vector = start / torch.linalg.vector_norm(start, dim=1, keepdim=True)
    scale = torch.zeros(runs, 1, dtype=start.dtype, device=start.device)
    length = torch.zeros_like(scale)
    for step in range(steps):
        basis[:, step] = vector
        vector = product(vector.unsqueeze(1)).squeeze(1)
        known = basis[:, : step + 1]
        for again in range(2):  # Once loses orthogonality where much cancels.
            part = gram(vector.unsqueeze(1), known)
            if not again:
                band[:, step, step] = part[:, 0, -1]
            vector = vector - torch.bmm(part.to(vector.dtype), known).squeeze(1)
        length = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
        scale = torch.maximum(
            scale, torch.maximum(length, band[:, step, step, None].abs().to(length))
        )
        # The space is exhausted: what is left is rounding, and the rest of the basis is zero.
        length = torch.where(length > _TINY * scale, length, torch.zeros_like(length))
        vector = torch.where(length > 0, vector / length, torch.zeros_like(vector))
        if step + 1 < steps:
            band[:, step, step + 1] = band[:, step + 1, step] = length.squeeze(1)
    values, mix = symmetric_eigen(band)
    values, mix = values.flip(1)[:, :count], mix.flip(2)[:, :, :count]
    vectors = torch.bmm(mix.transpose(1, 2).to(basis.dtype), basis)
    rounding = 4 * torch.finfo(start.dtype).eps * scale
    residuals = mix[:, -1].abs() * length + rounding
    return Spectrum(values.to(start.dtype), vectors, residuals.to(start.dtype))


def probes(purpose: str, seeds: Sequence[int], count: int, size: int) -> Tensor:
    """Return vectors of random signs, [R, count, size], each run's from its own named stream."""
    drawn = [
        torch.randint(0, 2, (count, size), generator=torch_generator("landscape", purpose, seed))
        for seed in seeds
    ]
    return torch.stack(drawn).to(torch.float32).mul_(2).sub_(1)


@dataclass(frozen=True)
class Trace:
    """An estimate of each run's trace."""

    value: Tensor
    """[R]."""
    error: Tensor
    """Standard error, [R]."""


def trace(product: Product, vectors: Tensor) -> Trace:
    """Return Hutchinson's estimate of the trace from vectors of random signs, [R, m, n], m > 1."""
    found = (vectors * product(vectors)).sum(-1)
    return Trace(found.mean(1), found.std(1) / vectors.shape[1] ** 0.5)
