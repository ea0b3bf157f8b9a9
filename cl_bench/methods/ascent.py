"""A short step uphill: where sharpness-aware methods look at the loss besides at the weights."""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-12


def uphill(gradient: Tensor, rho: Tensor) -> Tensor:
    """Return rho * g / |g| for each run: the step of length rho that raises the loss the most.

    Args:
        gradient: g, [R, D]; a run whose gradient is zero gets a step of zero.
        rho: length of the step in weight space, [R, 1].

    Returns:
        [R, D]; Foret et al. 2021 (arXiv 2010.01412), eq. 2 with p = 2.
    """
    return gradient * (rho / (torch.linalg.vector_norm(gradient, dim=1, keepdim=True) + _TINY))
