"""What a network must be to be trained in a stack, tried on a few inputs before any training."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from cl_bench.config import NetworkConfig
from cl_bench.engine.architectures import build_network
from cl_bench.engine.modules import ModuleNetwork
from cl_bench.engine.networks import Network
from cl_bench.errors import UserError

_IMAGES = 4
"""Images that it is tried on."""


@lru_cache(maxsize=4)
def sound_network(config: NetworkConfig, input_shape: tuple[int, ...], n_outputs: int) -> Network:
    """Return the network of a configuration, having tried it if it is one of the user's own.

    Raises:
        UserError: it fails, gives another shape than [B, n_outputs], draws random numbers in
            training, or changes what cannot be a run's own.
    """
    where = f"network '{config.name}'"
    try:
        network = build_network(config, input_shape, n_outputs)
        if config.code is not None and isinstance(network, ModuleNetwork):
            _try(network, where)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{where} does not work on inputs of shape {list(input_shape)} with {n_outputs}"
            f" outputs: {type(error).__name__}: {reason[:200]}"
        ) from error
    return network


def _try(network: ModuleNetwork, where: str) -> None:
    images = torch.zeros(2, _IMAGES, math.prod(network.input_shape))
    images += torch.linspace(0, 1, images.shape[-1])
    _same_without_chance(network, images[0], where)
    theta = network.initial(0).expand(2, -1).contiguous()
    if not torch.isfinite(theta).all():
        raise UserError(f"{where} begins with weights that are not finite")
    network.backward(theta, images, torch.ones_like, torch.empty_like(theta))
    network.forward(theta, images)


def _same_without_chance(network: ModuleNetwork, images: Tensor, where: str) -> None:
    module = network.training
    shaped = images.unflatten(-1, network.input_shape)
    before = [buffer.clone() for buffer in module.buffers()]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        chance = torch.random.get_rng_state()
        logits = module(shaped)
        drew = not torch.equal(chance, torch.random.get_rng_state())
    if not isinstance(logits, Tensor) or logits.shape != (_IMAGES, network.n_outputs):
        found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"{where} returns {found} for {_IMAGES} inputs; it must return a tensor"
            f" [{_IMAGES}, {network.n_outputs}], one number an output"
        )
    if logits.dtype != torch.float32:
        raise UserError(f"{where} returns {logits.dtype}; it must return torch.float32")
    if drew:
        names = [n for n, m in module.named_modules() if "Dropout" in type(m).__name__]
        listed = f" ({', '.join(names)})" if names else ""
        raise UserError(
            f"{where} draws random numbers in training{listed}, which would not be a run's own:"
            " leave dropout and the like out"
        )
    changed = [
        name
        for (name, after), was in zip(module.named_buffers(), before, strict=True)
        if not torch.equal(after, was)
    ]
    if changed:
        raise UserError(
            f"{where}: the buffer {changed[0]} changes in training; only the running statistics of"
            " torch.nn.BatchNorm can be a run's own"
        )
