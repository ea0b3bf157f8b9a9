"""Datasets are read as published: right pixels, right labels, and damage is told plainly."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlxtend.data import loadlocal_mnist

from cl_bench.data import load
from cl_bench.errors import UserError

Writer = Callable[..., Path]
IMAGES = "train-images-idx3-ubyte"


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("layout", ["MNIST/raw", "raw", "."])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_layout_and_compression(
    tmp_path: Path, write_files: Writer, layout: str, compressed: bool
) -> None:
    write_files(tmp_path / "d" / layout, compressed)
    data, source = load("mnist", tmp_path / "d", download=False), load("mnist-5k")
    np.testing.assert_array_equal(data.train_images, source.train_images[:30])
    np.testing.assert_array_equal(data.train_labels, source.train_labels[:30])
    np.testing.assert_array_equal(data.test_images, source.test_images[:10])
    np.testing.assert_array_equal(data.test_labels, source.test_labels[:10])
    assert data.name == "mnist"
    assert data.train_images.dtype == np.uint8
    assert data.train_labels.dtype == np.int64
    assert data.input_shape == (1, 28, 28)


def test_full_mnist_as_another_reader_reads_it(real_data: Path, tmp_path: Path) -> None:
    data = load("mnist", real_data)
    for kind in ("images-idx3", "labels-idx1"):
        name = f"t10k-{kind}-ubyte"
        plain, packed = (real_data / "MNIST/raw" / n for n in (name, f"{name}.gz"))
        content = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
        (tmp_path / name).write_bytes(content)
    images, labels = loadlocal_mnist(
        str(tmp_path / "t10k-images-idx3-ubyte"), str(tmp_path / "t10k-labels-idx1-ubyte")
    )
    np.testing.assert_array_equal(data.test_images, images)
    np.testing.assert_array_equal(data.test_labels, labels)
    assert data.train_images.shape == (60_000, 784)
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.n_classes == 10


def test_fashion_has_its_own_balanced_data(real_data: Path) -> None:
    data = load("fashion-mnist", real_data)
    assert data.train_images.shape == (60_000, 784)
    assert np.bincount(data.train_labels).tolist() == [6_000] * 10
    assert np.bincount(data.test_labels).tolist() == [1_000] * 10
    assert data.checksum != load("mnist", real_data).checksum


def test_mnist_5k_holds_each_packaged_image_once() -> None:
    data = load("mnist-5k")
    packaged = np.loadtxt(
        io.BytesIO(gzip.decompress(Path(data.source).read_bytes())), np.int64, delimiter=","
    )
    ours = np.column_stack(
        [
            np.vstack([data.train_images, data.test_images]),
            np.concatenate([data.train_labels, data.test_labels]),
        ]
    )
    assert sorted(map(bytes, ours.astype(np.uint8))) == sorted(
        map(bytes, packaged.astype(np.uint8))
    )
    assert np.bincount(data.train_labels).tolist() == [400] * 10
    assert np.bincount(data.test_labels).tolist() == [100] * 10
    assert data.checksum == "ccfccf81b0ee74f4"


def test_loaded_once_a_process_and_read_only() -> None:
    data = load("mnist-5k")
    assert load("mnist-5k") is data
    with pytest.raises(ValueError, match="read-only"):
        data.train_images[0, 0] = 1


def _flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize(
    ("damage", "compressed", "told"),
    [
        (_flipped, False, r"other content .*expected [0-9a-f]{32}, found [0-9a-f]{32}"),
        (lambda c: c[:-100], False, r"truncated: its header asks for 23,536 bytes.* 23,436"),
        (lambda c: c + b"x", False, "too long"),
        (lambda c: b"", False, "not an IDX file"),
        (lambda c: c[:6], False, "header is incomplete"),
        (lambda c: b"<html>not found</html>", False, "not an IDX file"),
        (lambda c: gzip.compress(c)[:-100], True, "truncated"),
        (lambda c: b"<html>not found</html>", True, "damaged"),
        (lambda c: gzip.compress(_flipped(c)), True, "other content"),
    ],
)
def test_damage_names_the_file_and_changes_nothing(
    tmp_path: Path,
    write_files: Writer,
    damage: Callable[[bytes], bytes],
    compressed: bool,
    told: str,
) -> None:
    folder = write_files(tmp_path / "MNIST" / "raw", compressed)
    path = folder / (f"{IMAGES}.gz" if compressed else IMAGES)
    content = path.read_bytes()
    damaged = damage(gzip.decompress(content) if compressed else content)
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=told) as caught:
        load("mnist", tmp_path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == damaged


@pytest.mark.usefixtures("bare_machine")
def test_a_file_mended_meanwhile_is_read_anew(tmp_path: Path, write_files: Writer) -> None:
    folder = write_files(tmp_path / "MNIST" / "raw")
    path = folder / IMAGES
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match="truncated"):
        load("mnist", tmp_path)
    path.write_bytes(content)
    assert len(load("mnist", tmp_path).train_labels) == 30
