"""Takes a user's arrays in: images or features of any shape and their labels, checked and flat.

Whatever cannot be trained on (unequal lengths, NaN, labels that are none) is refused in one line.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from cl_bench.errors import UserError

Layout = Literal["first", "last"]
_COLOURS = (1, 3, 4)


def images_of(
    values: Any, where: str, layout: Layout | None = None
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return images or features flat, [n, F], uint8 or float32, and their input shape.

    Args:
        values: uint8 (0 to 255; networks get them over 255) or floats (networks get them as they
            are): [n, F] features, [n, H, W], [n, H, W, C] or [n, C, H, W].
        where: names the array in an error.
        layout: whether channels come "first" or "last"; None tells by the axis of 1, 3 or 4.

    Raises:
        UserError: they are no such array, or hold NaN or infinity.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UserError(f"{where} is no array: {' '.join(str(error).split())}") from None
    if array.ndim not in (2, 3, 4) or 0 in array.shape[1:]:
        raise UserError(
            f"{where} has shape {array.shape}; give [n, features], [n, height, width],"
            " [n, height, width, channels] or [n, channels, height, width]"
        )
    if array.ndim == 4 and _channels_last(array.shape[1:], where, layout):
        array = np.moveaxis(array, 3, 1)
    shape = {2: (1, 1), 3: (1,), 4: ()}[array.ndim] + array.shape[1:]
    channels, height, width = shape
    flat = np.ascontiguousarray(array).reshape(len(array), channels * height * width)
    return _numbers(flat, where), (channels, height, width)


def _channels_last(shape: tuple[int, ...], where: str, layout: Layout | None) -> bool:
    if layout is not None:
        return layout == "last"
    first, last = shape[0] in _COLOURS, shape[2] in _COLOURS
    if first == last:
        raise UserError(
            f"{where} holds images of shape {shape}, which may have their channels first or last;"
            ' say which: channels="first" or channels="last"'
        )
    return last


def _numbers(array: np.ndarray, where: str) -> np.ndarray:
    """Return an array as uint8 or float32."""
    if array.dtype == np.uint8:
        return array
    if np.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):
            floats = array.astype(np.float32)
        if bad := int(floats.size - np.isfinite(floats).sum()):
            row = int(np.flatnonzero(~np.isfinite(floats).all(1))[0])
            raise UserError(
                f"{where} holds {bad} values that are NaN or infinite, the first in row {row}"
            )
        return floats
    if np.issubdtype(array.dtype, np.integer):
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        if low >= 0 and high <= 255:
            return array.astype(np.uint8)
        raise UserError(
            f"{where} holds whole numbers from {low} to {high}; give bytes (0 to 255) or floats"
        )
    raise UserError(f"{where} is of type {array.dtype}; give bytes (0 to 255) or floats")


def labels_of(values: Any, number: int, where: str, of: str) -> np.ndarray:
    """Return labels [n] of whole numbers or texts.

    Args:
        values: the labels; a column [n, 1] is taken as [n].
        number: how many there must be.
        where: names them in an error.
        of: names the images they belong to.

    Raises:
        UserError: they are no such labels, or not as many as the images.
    """
    labels = np.asarray(values)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise UserError(f"{where} has shape {labels.shape}; give one label an image, [n]")
    if len(labels) != number:
        raise UserError(f"{where} has {len(labels)} labels for the {number} images of {of}")
    if labels.dtype.kind not in "iuUb":
        raise UserError(f"{where} is of type {labels.dtype}; give whole numbers or texts")
    return labels.astype(np.int64) if labels.dtype.kind in "iub" else labels
