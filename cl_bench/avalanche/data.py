"""Where Avalanche finds its data: what the suite's own chain finds, in the layout Avalanche wants.

Folders of the user are read and never written to; what is downloaded goes into the cache folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cl_bench import data
from cl_bench.data import files, idx
from cl_bench.data.catalogue import CATALOGUE, Published
from cl_bench.data.search import NotAvailableError, cache_folder, given_folders
from cl_bench.errors import UserError

CACHE_VARIABLE = "CL_BENCH_CACHE"


@dataclass(frozen=True)
class _Folder:
    """A dataset that torchvision or Avalanche reads from a folder."""

    inside: str
    """The folder that holds the data."""
    default: str
    """Avalanche's own name for the folder around it, in `~/.avalanche/data`."""


_FOLDERS = {
    "cifar10": _Folder("cifar-10-batches-py", "cifar10"),
    "cifar100": _Folder("cifar-100-python", "cifar100"),
    "tiny-imagenet": _Folder("tiny-imagenet-200", "tinyimagenet"),
}


def cache_dir() -> Path:
    """Return the folder that streams and downloads are kept in: `CL_BENCH_CACHE`, or the usual one.

    Raises:
        UserError: there is no such folder, as the user has no home.
    """
    given = os.environ.get(CACHE_VARIABLE)
    folder = Path(given) if given else cache_folder()
    if folder is None:
        raise UserError(f"there is no home folder for a cache; set {CACHE_VARIABLE}")
    return folder.absolute()


@contextmanager
def dataset_root(name: str, data_dir: Path | None, download: bool) -> Iterator[Path]:
    """Yield a folder that Avalanche can be given as the root of a dataset.

    Args:
        name: the dataset.
        data_dir: the folder to search first.
        download: whether data that are not here may be downloaded.

    Raises:
        UserError: the data are not available, or damaged.
    """
    entry = CATALOGUE.get(name)
    if not isinstance(entry, Published):
        yield _folder_of(name, data_dir, download)
        return
    found = data.resolve(name, data_dir, download)
    if found.name != name:
        raise NotAvailableError(
            f"{name} is not available here, and {found.name} is too small for"
            f" Avalanche's benchmarks ({found.notice})"
        )
    with TemporaryDirectory(prefix="cl_bench-") as root:
        raw = Path(root) / entry.folder / "raw"
        raw.mkdir(parents=True)
        for path, (file, md5) in zip(found.files, entry.md5, strict=True):
            content = files.read_content(path)
            idx.check(content, md5, str(path))
            (raw / file).write_bytes(content)
        yield Path(root)


def _folder_of(name: str, data_dir: Path | None, download: bool) -> Path:
    from avalanche.benchmarks.datasets import default_dataset_location

    known = _FOLDERS[name]
    own = cache_dir() / "avalanche" / "data" / known.default
    bases = [*given_folders(data_dir), Path("data").absolute(), Path("~/data").expanduser()]
    places = [base / below for base in bases for below in ("", known.default)]
    places += [own, Path(default_dataset_location(known.default))]
    for place in places:
        if (place / known.inside).is_dir():
            try:
                _load(name, place, download=False)
            except Exception as error:  # of whatever kind the libraries raise
                raise UserError(f"{place / known.inside} is not a whole {name}: {error}") from error
            return place
    reason = "downloads are switched off"
    if download:
        try:
            _load(name, own, download=True)
            return own
        except Exception as error:  # of whatever kind the libraries raise
            reason = f"the download failed ({error})"
    searched = ", ".join(dict.fromkeys(map(str, places)))
    raise NotAvailableError(
        f"{name} was not found in {searched} and {reason}; put its folder {known.inside} into a"
        " folder and give that as --data-dir or as CL_BENCH_DATA"
    )


def _load(name: str, root: Path, *, download: bool) -> Any:
    """Read a dataset, which checks that it is whole; with `download`, fetch it into the root."""
    if name == "tiny-imagenet":
        from avalanche.benchmarks.datasets import TinyImagenet

        return TinyImagenet(root, download=download)
    import torchvision.datasets

    return getattr(torchvision.datasets, name.upper())(str(root), download=download)
