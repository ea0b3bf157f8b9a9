"""What the gradient of a single sample is made of, layer by layer, for many samples at once.

In a layer's matrix [out, in + 1] it is signal input^T: one column, one row. Methods that need
single samples' gradients keep or average these two, never the matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.engine.networks import MLP, Network


def layer_inputs(network: Network, theta: Tensor, images: Tensor) -> list[Tensor]:
    """Return the input of every layer, [R, B, in + 1]; the last column is the bias's 1.

    Args:
        network: an MLP.
        theta: weights [R, D].
        images: [R, B, F].
    """
    assert isinstance(network, MLP)
    values = network.activations(theta, images)[:-1]
    return [functional.pad(value, (0, 1), value=1.0) for value in values]


def second_moment(rows: Tensor) -> Tensor:
    """Return the sum of row^T row over rows [R, n, m], [R, m, m]."""
    return torch.bmm(rows.mT, rows)


def layer_signals(
    network: Network, theta: Tensor, inputs: list[Tensor], cotangents: Tensor
) -> list[Tensor]:
    """Return the gradient of v_{b,k} . logits(x_b) by the output of every layer, [R, B, K, out].

    Args:
        network: an MLP.
        theta: weights [R, D].
        inputs: what `layer_inputs` returned for the samples.
        cotangents: vectors v on the logits, [R, B, K, C].
    """
    assert isinstance(network, MLP)
    many = cotangents.shape[2]
    signals = [cotangents]
    for layer in range(len(inputs) - 1, 0, -1):
        weight = network.layers[layer][0].view(theta)
        back = torch.bmm(signals[0].flatten(1, 2), weight).unflatten(1, (-1, many))
        signals.insert(0, back * (inputs[layer][..., :-1] > 0).unsqueeze(2))
    return signals
