"""Small real data for Avalanche's benchmarks, and how items of both sides are read."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cl_bench import benchmarks
from cl_bench.benchmarks import Benchmark
from cl_bench.config import BenchmarkConfig
from cl_bench.data import load
from cl_bench.engine.threads import one_thread

TRAIN, TEST = 1500, 500
SPLITS = ("train", "test")
Build = Callable[..., Any]


def idx_content(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def digits() -> list[np.ndarray]:
    """Return real images and labels, the classes not quite balanced."""
    source = load("mnist-5k")
    return [
        source.train_images[:TRAIN].reshape(-1, 28, 28),
        source.train_labels[:TRAIN],
        source.test_images[:TEST].reshape(-1, 28, 28),
        source.test_labels[:TEST],
    ]


def ours(name: str, download: bool = False, **settings: Any) -> Benchmark:
    wanted = BenchmarkConfig.model_validate({"name": f"avalanche:{name}", **settings})
    return benchmarks.get(wanted, download=download)


def items(experience: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images [n, pixels], labels [n] and task labels [n] of an experience, one by one."""
    with one_thread():
        found = [experience.dataset[i] for i in range(len(experience.dataset))]
    images = torch.stack([image for image, _, _ in found]).flatten(1).numpy()
    return images, np.array([y for _, y, _ in found]), np.array([t for _, _, t in found])


def scaled(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / np.float32(255)
