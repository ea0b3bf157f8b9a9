"""Reads published datasets in the formats of their authors: archives, MATLAB files, sparse text.

Contents are verified before they come here. Each reader returns training and test (images, labels)
and the images' shape; images are uint8 [n, channels * height * width].
"""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cl_bench.data import idx

Pair = tuple[np.ndarray, np.ndarray]
Shape = tuple[int, int, int]
Reader = Callable[[Sequence[bytes], str], tuple[Pair, Pair, Shape]]


def read_idx(contents: Sequence[bytes], part: str) -> tuple[Pair, Pair, Shape]:
    """Read four gzip'd IDX files: training images and labels, test images and labels."""
    arrays = [idx.parse(gzip.decompress(content), "file") for content in contents]
    train_images, train_labels, test_images, test_labels = arrays
    height, width = train_images.shape[1:]
    return (
        (train_images.reshape(len(train_images), -1), train_labels),
        (test_images.reshape(len(test_images), -1), test_labels),
        (1, height, width),
    )


def read_emnist(contents: Sequence[bytes], part: str) -> tuple[Pair, Pair, Shape]:
    """Read one split of EMNIST's archive; its images lie on their side and are put upright."""
    with zipfile.ZipFile(io.BytesIO(contents[0])) as archive:
        files = [
            archive.read(f"gzip/emnist-{part}-{half}-{kind}-ubyte.gz")
            for half in ("train", "test")
            for kind in ("images-idx3", "labels-idx1")
        ]
    (train_x, train_y), (test_x, test_y), (_, height, width) = read_idx(files, part)
    upright = [
        x.reshape(-1, height, width).swapaxes(1, 2).reshape(len(x), -1) for x in (train_x, test_x)
    ]
    first = train_y.min()  # letters are counted from 1
    return (upright[0], train_y - first), (upright[1], test_y - first), (1, width, height)


def read_usps(contents: Sequence[bytes], part: str) -> tuple[Pair, Pair, Shape]:
    """Read LIBSVM's two texts: a label from 1 and 256 grey values in [-1, 1] a line."""
    pairs = []
    for content in contents:
        lines = bz2.decompress(content).decode("ascii").splitlines()
        table = np.full((len(lines), 256), -1.0)
        labels = np.empty(len(lines), np.int64)
        for row, line in enumerate(lines):
            label, *values = line.split()
            labels[row] = int(float(label)) - 1
            for value in values:
                place, _, grey = value.partition(":")
                table[row, int(place) - 1] = float(grey)
        pairs.append((((table + 1) / 2 * 255).astype(np.uint8), labels))
    return pairs[0], pairs[1], (1, 16, 16)


def read_svhn(contents: Sequence[bytes], part: str) -> tuple[Pair, Pair, Shape]:
    """Read two MATLAB files: X [32, 32, 3, n], and y [n, 1] in which 10 is the digit 0."""
    from scipy.io import loadmat

    pairs = []
    for content in contents:
        file = loadmat(io.BytesIO(content))
        images = np.ascontiguousarray(file["X"].transpose(3, 2, 0, 1))
        pairs.append((images.reshape(len(images), -1), file["y"].ravel().astype(np.int64) % 10))
    return pairs[0], pairs[1], (3, 32, 32)


def read_cifar(contents: Sequence[bytes], part: str) -> tuple[Pair, Pair, Shape]:
    """Read the archive of CIFAR-10 or CIFAR-100 (fine labels) for Python."""
    halves: dict[str, list[dict[bytes, Any]]] = {"train": [], "test": []}
    with tarfile.open(fileobj=io.BytesIO(contents[0]), mode="r:gz") as archive:
        members = {member.name: member for member in archive if member.isfile()}
        for name in sorted(members):
            half = "test" if name.rpartition("/")[2].startswith("test") else "train"
            if name.rpartition("/")[2].startswith(("data_batch", "test", "train")):
                file = archive.extractfile(members[name])
                assert file is not None
                halves[half].append(_Arrays(file, encoding="bytes").load())
    key = b"fine_labels" if part == "fine" else b"labels"
    train, test = (
        (np.concatenate([b[b"data"] for b in batches]), np.concatenate([b[key] for b in batches]))
        for batches in halves.values()
    )
    return train, test, (3, 32, 32)


class _Arrays(pickle.Unpickler):
    """Unpickles plain values and arrays, and nothing that could do anything."""

    allowed = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a dataset")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


READERS: dict[str, Reader] = {
    "idx": read_idx,
    "emnist": read_emnist,
    "usps": read_usps,
    "svhn": read_svhn,
    "cifar": read_cifar,
}
