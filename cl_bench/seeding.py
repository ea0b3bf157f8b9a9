"""Named random streams: every draw in the suite comes from a generator that its purpose names.

A generator is seeded from a hash of the names given (purpose, run seed, task, …), so no
result depends on the order of calls, and adding a draw somewhere moves no other draw.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Name = str | int


def _digest(names: tuple[Name, ...]) -> bytes:
    if not names:
        raise ValueError("a random stream needs at least one name")
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    return hashlib.sha256(text.encode()).digest()


def numpy_generator(*names: Name) -> np.random.Generator:
    """Return a fresh NumPy generator (Philox) for the stream with these names."""
    key = np.frombuffer(_digest(names)[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def torch_generator(*names: Name) -> torch.Generator:
    """Return a fresh CPU generator of torch for the stream with these names.

    Draws are made on the CPU and moved, so that every device sees the same numbers.
    """
    import torch

    seed = int.from_bytes(_digest(names)[:8], "little") & (2**63 - 1)
    return torch.Generator(device="cpu").manual_seed(seed)
