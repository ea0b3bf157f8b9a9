"""What the tests of the data chain share: a machine without data, and a tiny published dataset."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cl_bench.data import catalogue, load

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder with the real MNIST and Fashion-MNIST, or skip and say how to get them."""
    given = os.environ.get("CL_BENCH_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not (folder / "MNIST" / "raw").is_dir():
        pytest.skip(f"the full MNIST is not in {folder}; set CL_BENCH_DATA")
    return folder


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder without any data, on a machine without a network."""
    home = tmp_path / "home"
    work = home / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("CL_BENCH_DATA", raising=False)
    monkeypatch.setenv("CL_BENCH_MIRROR", (tmp_path / "no mirror").as_uri())
    return home


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Publish a "mnist" of 30 + 10 real images; return its file names and contents."""
    source = load("mnist-5k")
    arrays = (
        source.train_images[:30].reshape(-1, 28, 28),
        source.train_labels[:30],
        source.test_images[:10].reshape(-1, 28, 28),
        source.test_labels[:10],
    )
    real = catalogue.CATALOGUE["mnist"]
    assert isinstance(real, catalogue.Published)
    contents = {name: idx_content(a) for (name, _), a in zip(real.md5, arrays, strict=True)}
    tiny = catalogue.Published(
        name="mnist",
        folder="MNIST",
        md5=tuple((name, hashlib.md5(content).hexdigest()) for name, content in contents.items()),
        mirrors=(),
        fallback="mnist-5k",
    )
    monkeypatch.setitem(catalogue.CATALOGUE, "mnist", tiny)
    return contents


@pytest.fixture
def write_files(tiny_mnist: dict[str, bytes]) -> Callable[..., Path]:
    """Return a function that writes the tiny dataset's files into a folder."""

    def write(folder: Path, compressed: bool = False) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in tiny_mnist.items():
            if compressed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
        return folder

    return write


def idx_content(array: np.ndarray) -> bytes:
    """Return an array as the bytes of an IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()
