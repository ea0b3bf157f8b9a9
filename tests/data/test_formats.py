"""Datasets in their authors' formats: small files of the true format, from a folder or a server."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from cl_bench import benchmarks
from cl_bench.config import BenchmarkConfig
from cl_bench.data import load
from cl_bench.data.catalogue import CATALOGUE, Archived
from cl_bench.errors import UserError
from tests.data.conftest import idx_content

Files = dict[str, bytes]
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (30, 28, 28), np.uint8), RNG.integers(0, 256, (20, 28, 28), np.uint8)
COLOUR = (
    RNG.integers(0, 256, (30, 3, 32, 32), np.uint8),
    RNG.integers(0, 256, (20, 3, 32, 32), np.uint8),
)
LABELS = np.arange(30) % 10, np.arange(20) % 10


def kmnist() -> Files:
    arrays = (GREY[0], LABELS[0], GREY[1], LABELS[1])
    names = [name for name, _ in entry("kmnist").md5]
    return {n: gzip.compress(idx_content(a)) for n, a in zip(names, arrays, strict=True)}


def emnist(part: str, first: int) -> Files:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for half, images, labels in zip(("train", "test"), GREY, LABELS, strict=True):
            for kind, array in (
                ("images-idx3", images.swapaxes(1, 2)),
                ("labels-idx1", labels + first),
            ):
                content = gzip.compress(idx_content(array))
                archive.writestr(f"gzip/emnist-{part}-{half}-{kind}-ubyte.gz", content)
    return {"gzip.zip": packed.getvalue()}


def usps() -> Files:
    found = {}
    for name, images, labels in zip(("usps.bz2", "usps.t.bz2"), GREY, LABELS, strict=True):
        lines = []
        for image, label in zip(images[:, :16, :16].reshape(-1, 256), labels, strict=True):
            greys = [f"{k}:{v / 255 * 2 - 1:.9f}" for k, v in enumerate(image, 1) if v]
            lines.append(f"{label + 1} {' '.join(greys)} ")
        found[name] = bz2.compress("\n".join(lines).encode())
    return found


def svhn() -> Files:
    found = {}
    for half, images, labels in zip(("train", "test"), COLOUR, LABELS, strict=True):
        file = io.BytesIO()
        told = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(file, {"X": images.transpose(2, 3, 1, 0), "y": told})
        found[f"{half}_32x32.mat"] = file.getvalue()
    return found


def cifar(classes: int) -> Files:
    x, y = COLOUR, LABELS
    if classes == 10:
        folder, parts = "cifar-10-batches-py", {"test_batch": (x[1], y[1])}
        for number in range(5):
            rows = slice(6 * number, 6 * number + 6)
            parts[f"data_batch_{number + 1}"] = (x[0][rows], y[0][rows])
    else:
        folder, parts = "cifar-100-python", {"train": (x[0], y[0]), "test": (x[1], y[1])}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        key = b"labels" if classes == 10 else b"fine_labels"
        batches = {
            name: {b"data": images.reshape(len(images), -1), key: labels.tolist()}
            for name, (images, labels) in parts.items()
        }
        for name, batch in {**batches, "batches.meta": {b"label_names": [b"cat"]}}.items():
            content = pickle.dumps(batch, protocol=2)
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return {f"cifar-{classes}-python.tar.gz": packed.getvalue()}


def entry(name: str) -> Archived:
    found = CATALOGUE[name]
    assert isinstance(found, Archived)
    return found


MADE: dict[str, Callable[[], Files]] = {
    "kmnist": kmnist,
    "emnist-letters": lambda: emnist("letters", 1),
    "emnist-digits": lambda: emnist("digits", 0),
    "usps": usps,
    "svhn": svhn,
    "cifar10": lambda: cifar(10),
    "cifar100": lambda: cifar(100),
}


def publish(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small dataset's files where torchvision has them, and publish their checksums."""
    made, real = MADE[name](), entry(name)
    md5 = tuple((file, hashlib.md5(made[file]).hexdigest()) for file, _ in real.md5)
    monkeypatch.setitem(CATALOGUE, name, replace(real, md5=md5))
    place = folder / real.place
    place.mkdir(parents=True, exist_ok=True)
    for file, content in made.items():
        (place / file).write_bytes(content)
    return folder


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("name", MADE)
def test_pixels_and_labels_are_those_that_were_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(name, publish(name, tmp_path / "d", monkeypatch), download=False)
    train, test = COLOUR if found.input_shape[0] == 3 else GREY
    if name == "usps":
        train, test = train[:, :16, :16], test[:, :16, :16]
        close = np.abs(found.train_images.reshape(-1, 16, 16).astype(int) - train).max()
        assert close <= 1, "the text's greys are cut off, as torchvision does it"
    else:
        np.testing.assert_array_equal(found.train_images, train.reshape(30, -1))
        np.testing.assert_array_equal(found.test_images, test.reshape(20, -1))
    assert found.input_shape[1:] == train.shape[-2:]
    np.testing.assert_array_equal(found.train_labels, LABELS[0])
    np.testing.assert_array_equal(found.test_labels, LABELS[1])
    assert (found.name, found.n_classes) == (name, 10)


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("name", ["kmnist", "usps", "cifar10"])
def test_they_are_downloaded_from_a_mirror(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(name, tmp_path / "served", monkeypatch)
    monkeypatch.setenv("CL_BENCH_MIRROR", (tmp_path / "served").as_uri())
    assert len(load(name).train_labels) == 30
    monkeypatch.delenv("CL_BENCH_MIRROR")
    assert len(load(name, download=False).train_labels) == 30, "kept"


@pytest.mark.usefixtures("bare_machine")
def test_other_files_are_refused_before_they_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish("cifar10", tmp_path / "d", monkeypatch)
    (folder / "cifar-10-python.tar.gz").write_bytes(b"anything")
    with pytest.raises(UserError, match=r"has other content .*MD5 of the file: expected"):
        load("cifar10", folder, download=False)
    with pytest.raises(UserError, match=r"svhn was not found .* put train_32x32.mat, test_32x32"):
        load("svhn", folder, download=False)
    (folder / "train_32x32.mat").write_bytes(b"")
    with pytest.raises(UserError, match=r"only part of svhn: missing test_32x32.mat"):
        load("svhn", folder, download=False)


def test_a_pickle_that_would_do_something_is_not_loaded() -> None:
    from cl_bench.data import formats

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("done",))

    with pytest.raises(pickle.UnpicklingError, match="print has no place"):
        formats._Arrays(io.BytesIO(pickle.dumps(Evil()))).load()


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_colour_images_are_split_and_permuted_by_channel(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish("cifar10", tmp_path / "d", monkeypatch)
    config = BenchmarkConfig.model_validate({"name": "split-cifar10", "scenario": scenario})
    split = benchmarks.get(config, folder, download=False)
    assert split.input_shape == (3, 32, 32)
    assert split.n_outputs == (2 if scenario == "domain" else 10)
    shown = split.examples(0, 1, "train").images
    np.testing.assert_array_equal(shown, COLOUR[0][np.isin(LABELS[0], (2, 3))].reshape(6, -1))
    permuted = benchmarks.get(BenchmarkConfig(name="permuted-cifar10"), folder, download=False)
    one = permuted.examples(0, 1, "train").images[0].reshape(3, -1)
    given = COLOUR[0][0].reshape(3, -1)
    order = permuted.permutation(0, 1)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(one, given[:, order])


def test_checksums_and_addresses_are_those_of_torchvision() -> None:
    spec = find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    files = ("mnist", "usps", "svhn", "cifar")
    folder = Path(spec.origin).parent / "datasets"
    text = "".join((folder / f"{name}.py").read_text() for name in files)
    for each in CATALOGUE.values():
        if isinstance(each, Archived):
            for name, md5 in each.md5:
                assert name in text
                assert md5 in text
            assert all(mirror in text for mirror in each.mirrors)
