"""Reads a dataset that was found into memory: verified, decoded, once a process."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np

from cl_bench.data import files, formats, idx
from cl_bench.data.catalogue import CATALOGUE, Archived, Embedded, Published
from cl_bench.data.dataset import Dataset, make_dataset
from cl_bench.data.search import Found, resolve
from cl_bench.seeding import numpy_generator


def load(name: str, data_dir: Path | None = None, download: bool = True) -> Dataset:
    """Return a dataset, from the first place that has it (see `resolve`).

    The result's own `name` says what it is: where MNIST is not available, it is "mnist-5k".

    Raises:
        UserError: it is not available, or a file is damaged.
    """
    return load_found(resolve(name, data_dir, download))


def load_found(found: Found) -> Dataset:
    """Return the dataset in the files that `resolve` found; each is read once a process.

    Raises:
        UserError: a file is damaged or holds something else.
    """
    stamps = tuple((path, path.stat().st_mtime_ns) for path in found.files)
    return _read(CATALOGUE[found.name], stamps, found.source)


@lru_cache(maxsize=4)
def _read(
    entry: Published | Archived | Embedded, stamps: tuple[tuple[Path, int], ...], source: str
) -> Dataset:
    paths = [path for path, _ in stamps]
    if isinstance(entry, Embedded):
        return _read_embedded(entry, paths[0], source)
    if isinstance(entry, Archived):
        return _read_archived(entry, paths, source)
    arrays = [idx.read_verified(path, md5) for path, (_, md5) in zip(paths, entry.md5, strict=True)]
    train_images, train_labels, test_images, test_labels = arrays
    height, width = train_images.shape[1:]
    return make_dataset(
        entry.name,
        (train_images.reshape(len(train_images), -1), train_labels),
        (test_images.reshape(len(test_images), -1), test_labels),
        (1, height, width),
        source,
    )


def _read_archived(entry: Archived, paths: list[Path], source: str) -> Dataset:
    """Return the dataset in files as they are published, each verified before it is parsed."""
    contents = []
    for path, (_, md5) in zip(paths, entry.md5, strict=True):
        contents.append(files.read_raw(path))
        if not files.has_md5(contents[-1], md5):
            fault = "has other content than the published file"
            raise files.wrong_content(contents[-1], md5, str(path), fault, whole=True)
    train, test, shape = formats.READERS[entry.format](contents, entry.part)
    return make_dataset(entry.name, train, test, shape, source)


def _read_embedded(entry: Embedded, file: Path, source: str) -> Dataset:
    """Return the dataset in a CSV sorted by class: shuffled, and split evenly over the classes."""
    content = files.read_content(file)
    if not files.has_md5(content, entry.md5):
        raise files.wrong_content(content, entry.md5, str(file), "is not the file that is known")
    table = np.fromstring(content.replace(b"\n", b","), sep=",", dtype=np.int64)
    table = table.reshape(content.count(b"\n"), -1)
    table = table[numpy_generator(entry.name, "split").permutation(len(table))]
    bright, labels = table[:, :-1], table[:, -1]
    images = ((bright * 255 + entry.brightest // 2) // entry.brightest).astype(np.uint8)
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        test[np.flatnonzero(labels == label)[: entry.test_per_class]] = True
    side = math.isqrt(images.shape[1])
    return make_dataset(
        entry.name,
        (images[~test], labels[~test]),
        (images[test], labels[test]),
        (1, side, side),
        source,
    )
