"""Datasets of a user's own: a NumPy `.npz`, a folder of images, or Hugging Face data on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cl_bench.data.arrays import images_of, labels_of
from cl_bench.data.dataset import Dataset, make_dataset
from cl_bench.errors import UserError

_KEYS = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_x", "train_y", "test_x", "test_y"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
_added: dict[str, Dataset] = {}


def add(dataset: Dataset) -> str:
    """Make a dataset known by its name in this process, and return the name."""
    _added[dataset.name] = dataset
    return dataset.name


def added() -> dict[str, Dataset]:
    """Return the datasets that were added, by name."""
    return dict(_added)


def from_path(path: str | Path) -> Dataset:
    """Return the dataset in a `.npz` file or a folder, which it is called after.

    Raises:
        UserError: there is none.
    """
    place = Path(path).expanduser().resolve()
    if place.is_dir():
        on_disk = any((place / name).is_file() for name in ("dataset_dict.json", "state.json"))
        return from_huggingface(place) if on_disk else from_folder(place)
    if not place.is_file():
        raise UserError(f"there is no data file or folder {path}")
    return from_npz(place)


def from_npz(path: str | Path) -> Dataset:
    """Return the dataset in a NumPy file of four arrays, as `numpy.savez` writes it.

    Args:
        path: holds `x_train`, `y_train`, `x_test`, `y_test`; `train_x`, …; or `train_images`,
            `train_labels`, `test_images`, `test_labels`.

    Raises:
        UserError: it is no such file, or the arrays cannot be trained on.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = next((keys for keys in _KEYS if set(keys) <= set(file.files)), None)
            if keys is None:
                raise UserError(
                    f"{path} holds {', '.join(file.files) or 'nothing'}; it needs"
                    f" {', '.join(_KEYS[0])}"
                )
            arrays = [file[key] for key in keys]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} is no file of arrays: {' '.join(str(error).split())}") from error
    return from_arrays(_name(path), *arrays, source=str(path), where=keys)


def from_arrays(
    name: str,
    train_x: Any,
    train_y: Any,
    test_x: Any,
    test_y: Any,
    *,
    source: str = "arrays",
    where: Sequence[str] = _KEYS[1],
) -> Dataset:
    """Return a dataset of arrays; labels become 0, 1, … in their order.

    Args:
        name: the dataset's.
        train_x: images or features, as `Tasks.from_arrays` takes them.
        train_y: their labels [n], whole numbers or texts.
        test_x: the same of the test set.
        test_y: its labels.
        source: where they come from, for people.
        where: names the four arrays in an error.

    Raises:
        UserError: they do not fit one another, or cannot be trained on.
    """
    pairs, shapes = [], []
    for images, labels, at, of in ((train_x, train_y, *where[:2]), (test_x, test_y, *where[2:])):
        flat, shape = images_of(images, at)
        if not len(flat):
            raise UserError(f"{name}: {at} is empty")
        pairs.append((flat, labels_of(labels, len(flat), of, at)))
        shapes.append((shape, str(flat.dtype)))
    if shapes[0] != shapes[1]:
        raise UserError(f"{name}: {where[0]} is of {shapes[0]}, {where[2]} of {shapes[1]}")
    classes = np.unique(pairs[0][1])
    if len(only := np.setdiff1d(pairs[1][1], classes)):
        raise UserError(f"{name}: {where[3]} has labels that {where[1]} has not: {only[:5]}")
    train, test = ((images, np.searchsorted(classes, labels)) for images, labels in pairs)
    return make_dataset(name, train, test, shapes[0][0], source)


def from_folder(path: str | Path) -> Dataset:
    """Return the dataset of a folder `train/<class>/<image>`, `test/<class>/<image>`.

    All images have one size. They are grey where all are, else red, green and blue.

    Raises:
        UserError: there are no such images, or they differ in size.
    """
    path = Path(path)
    found = {half: _images_in(path / half) for half in ("train", "test")}
    grey = all(mode in ("1", "L", "I;16") for mode in _modes(found.values()))
    arrays = []
    for files in found.values():
        arrays += [_pixels(files, "L" if grey else "RGB"), [file.parent.name for file in files]]
    return from_arrays(_name(path), *arrays, source=str(path))


def _images_in(folder: Path) -> list[Path]:
    files = [file for file in sorted(folder.glob("*/*")) if file.suffix.lower() in _SUFFIXES]
    if not files:
        raise UserError(
            f"{folder} holds no images; a folder of data has train/<class>/ and test/<class>/"
        )
    return files


def _modes(parts: Any) -> set[str]:
    from PIL import Image

    modes = set()
    for file in (file for part in parts for file in part):
        try:
            with Image.open(file) as image:
                modes.add(image.mode)
        except OSError as error:
            raise UserError(f"{file} is no image: {error}") from error
    return modes


def _pixels(files: Sequence[Path], mode: str) -> np.ndarray:
    from PIL import Image

    images: np.ndarray | None = None
    for number, file in enumerate(files):
        try:
            with Image.open(file) as image:
                pixels = np.asarray(image.convert(mode))
        except OSError as error:
            raise UserError(f"{file} is damaged: {error}") from error
        if images is None:
            images = np.empty((len(files), *pixels.shape), np.uint8)
        if pixels.shape != images.shape[1:]:
            raise UserError(
                f"{file} is {pixels.shape[1]} x {pixels.shape[0]} pixels, {files[0]}"
                f" {images.shape[2]} x {images.shape[1]}; all must have one size"
            )
        images[number] = pixels
    assert images is not None
    return images


def from_huggingface(
    path: str | Path, image: str | None = None, label: str | None = None
) -> Dataset:
    """Return a dataset that Hugging Face's `datasets` saved to disk (`save_to_disk`).

    Args:
        path: the folder; it holds the splits `train` and `test`.
        image: the column of images or features; None is the first of `image`, `img`, `pixels`,
            `features` and `embedding`.
        label: that of labels; None is the first of `label`, `labels` and `fine_label`.

    Raises:
        UserError: there is no such data, or the package is not installed.
    """
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError:
        raise UserError(f"{path} needs the package datasets: pip install datasets") from None
    try:
        splits = load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(splits, DatasetDict) or not {"train", "test"} <= set(splits):
        raise UserError(f"{path} needs the splits train and test")
    columns = splits["train"].column_names
    wanted = (
        _column(columns, image, ("image", "img", "pixels", "features", "embedding"), path),
        _column(columns, label, ("label", "labels", "fine_label"), path),
    )
    arrays: list[Any] = []
    for half in ("train", "test"):
        rows = splits[half].with_format(None)
        arrays += [np.stack([np.asarray(each) for each in rows[wanted[0]]]), rows[wanted[1]][:]]
    return from_arrays(_name(Path(path)), *arrays, source=str(path))


def _column(
    columns: Sequence[str], given: str | None, usual: Sequence[str], path: str | Path
) -> str:
    found = next((name for name in ([given] if given else usual) if name in columns), None)
    if found is None:
        raise UserError(f"{path} has the columns {', '.join(columns)}, none of {', '.join(usual)}")
    return found


def _name(path: Path) -> str:
    return path.stem.replace("_", "-")
