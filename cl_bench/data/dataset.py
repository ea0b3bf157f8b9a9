"""The images and labels that every benchmark is made of, whole in memory.

A dataset is named, checked and never changed: its arrays are read-only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Dataset:
    """One dataset: training and test images with their classes."""

    name: str
    """The data that are really here ("mnist-5k" where the full MNIST was not found)."""
    train_images: np.ndarray
    """uint8 [N, channels * height * width]; features are float32 [N, F]."""
    train_labels: np.ndarray
    """int64 [N]: the class, from 0."""
    test_images: np.ndarray
    """uint8 [M, channels * height * width]; float32 [M, F]."""
    test_labels: np.ndarray
    """int64 [M]."""
    input_shape: tuple[int, int, int]
    """Channels, height, width; (1, 1, F) of features."""
    n_classes: int
    checksum: str
    """16 hexadecimal digits of the SHA-256 of all four arrays."""
    source: str
    """Where the data were found, for people."""


def make_dataset(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    input_shape: tuple[int, int, int],
    source: str,
) -> Dataset:
    """Return a dataset of these (images, labels) pairs, frozen and with its checksum.

    Args:
        name: the dataset's name.
        train: uint8 images [N, pixels] or float features [N, F], and their labels [N].
        test: the same of the test set.
        input_shape: channels, height, width.
        source: where the data were found, for people.
    """
    kind = np.float32 if np.issubdtype(train[0].dtype, np.floating) else np.uint8
    pairs = [
        (np.ascontiguousarray(images, kind), np.ascontiguousarray(labels, np.int64))
        for images, labels in (train, test)
    ]
    checksum = hashlib.sha256()
    for images, labels in pairs:
        checksum.update(repr((images.shape, input_shape)).encode())
        checksum.update(images.astype(images.dtype.newbyteorder("<"), copy=False).data)
        checksum.update(labels.astype("<i8").data)
        images.flags.writeable = False
        labels.flags.writeable = False
    (train_images, train_labels), (test_images, test_labels) = pairs
    return Dataset(
        name=name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        input_shape=input_shape,
        n_classes=int(train_labels.max()) + 1,
        checksum=checksum.hexdigest()[:16],
        source=source,
    )
