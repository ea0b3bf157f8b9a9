"""Turns many small images by one angle: bilinear, exact integer arithmetic, the same everywhere."""

from __future__ import annotations

import math

import numpy as np

_BITS = 12
_ONE = 1 << _BITS
_CHUNK = 256


def rotate(images: np.ndarray, degrees: float, input_shape: tuple[int, ...]) -> np.ndarray:
    """Return images uint8 [n, channels * height * width] turned about their centre.

    Positions are rounded to 1/4096 pixel and the weights of the four neighbours are integers,
    so the result does not depend on the machine's floating-point arithmetic.

    Args:
        images: uint8 [n, channels * height * width].
        degrees: the angle, counter-clockwise; what comes from outside the image is 0.
        input_shape: channels, height, width.
    """
    sources, weights = _neighbours(degrees, input_shape)
    turned = np.empty_like(images)
    shape = (min(_CHUNK, len(images)), images.shape[1])
    total, term = np.empty(shape, np.uint32), np.empty(shape, np.uint32)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        sums, terms = total[: len(part)], term[: len(part)]
        sums[:] = 1 << (2 * _BITS - 1)
        for source, weight in zip(sources, weights, strict=True):
            np.multiply(part.take(source, axis=1), weight, out=terms)
            sums += terms
        sums >>= 2 * _BITS
        turned[start : start + len(part)] = sums
    return turned


def _neighbours(degrees: float, input_shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the four source pixels int64 [4, pixels] of each pixel, and their weights uint32.

    The weights of a pixel sum to 2^24; a source outside the image has weight 0.
    """
    channels, height, width = input_shape
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    row, column = np.mgrid[:height, :width].reshape(2, -1)
    down, right = row - (height - 1) / 2, column - (width - 1) / 2
    source_row = np.rint((cosine * down + sine * right + (height - 1) / 2) * _ONE).astype(np.int64)
    source_column = np.rint((cosine * right - sine * down + (width - 1) / 2) * _ONE).astype(
        np.int64
    )
    sources, weights = [], []
    for row_step in (0, 1):
        for column_step in (0, 1):
            y, x = (source_row >> _BITS) + row_step, (source_column >> _BITS) + column_step
            y_weight = np.abs(_ONE * (1 - row_step) - (source_row & (_ONE - 1)))
            x_weight = np.abs(_ONE * (1 - column_step) - (source_column & (_ONE - 1)))
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            sources.append(np.where(inside, y * width + x, 0))
            weights.append(np.where(inside, y_weight * x_weight, 0))
    planes = np.arange(channels)[:, None] * (height * width)
    every = [(planes + source).ravel() for source in sources]
    return np.stack(every), np.tile(np.stack(weights), (1, channels)).astype(np.uint32)
