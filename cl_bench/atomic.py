"""Files and folders that appear whole or not at all, whoever is killed in the midst of writing.

What is being written has a hidden name beside its place and is moved there in one step. What a
killed process left behind is known by that name, and removed once nobody can be writing it.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from cl_bench.errors import UserError

ABANDONED = 3600.0
"""Seconds after which what a process of another machine was writing counts as left behind."""
LONGEST = 24 * 3600.0
"""The same for a process of this machine whose number is still in use."""
_WRITING = ".writing-"
_OWNER = re.compile(r"\.writing-([0-9a-f]{8})-(\d+)-[0-9a-f]{32}")


def safe_name(name: str) -> str:
    """Return a name as a part of a file's name on any system."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:80] or "_"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Wait until a directory's entries are on the disk, where the platform can."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or what was there before.

    Raises:
        UserError: it cannot be written.
    """
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(temporary, data)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # where nothing could be written there is nothing to remove
            temporary.unlink()


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield a hidden empty folder that is to be filled and moved to `final`, as by `place`.

    It is removed where it was not moved.
    """
    temporary = _beside(final)
    try:
        temporary.mkdir(parents=True)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_folder(
    final: Path,
    contents: Mapping[str, bytes],
    stays: Callable[[Path], bool],
    aside: Callable[[Path], Path | None] = lambda found: None,
) -> None:
    """Write a folder of files in one move, in the order given; see `place`.

    Raises:
        OSError: it cannot be written.
    """
    with new_folder(final) as temporary:
        for name, data in contents.items():
            write_bytes(temporary / name, data)
        sync_directory(temporary)
        place(temporary, final, stays, aside)


def place(
    temporary: Path,
    final: Path,
    stays: Callable[[Path], bool],
    aside: Callable[[Path], Path | None] = lambda found: None,
) -> None:
    """Move a folder to its place, unless what is there already stays.

    Args:
        temporary: the folder to move, on the same disk.
        final: where to.
        stays: whether a folder found there is as good; the first writer wins.
        aside: the folder in which one that does not stay is kept; None removes it.

    Raises:
        OSError: it cannot be moved.
    """
    for _ in range(10):  # each round that fails, another writer of the same got in between
        if final.exists() and stays(final):
            return
        try:
            temporary.rename(final)
        except OSError:
            if not final.exists():
                raise
        else:
            sync_directory(final.parent)
            return
        if not stays(final):
            _put_aside(final, aside(final))
    raise OSError(f"{final.name} is being rewritten by another process")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file or folder alone, while others wait; it ends with the process at the latest.

    A folder that is there is held as it is, and no file is left in it; a file that is not is made.
    Where the system or the disk has no locks, or nothing can be opened, nobody waits.
    """
    try:
        import fcntl

        make = 0 if path.is_dir() else os.O_CREAT
        descriptor = os.open(path, os.O_RDONLY | make, 0o666)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sweep(folder: Path, *patterns: str) -> None:
    """Remove what killed processes left behind in a folder as they wrote.

    Args:
        folder: where; it need not exist.
        patterns: names that earlier versions gave to what they were writing.
    """
    ours = f"{_WRITING}*-{'[0-9a-f]' * 32}"
    for pattern in (ours, *patterns):
        for left in folder.glob(pattern):
            if _is_abandoned(left):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)


def _put_aside(folder: Path, aside: Path | None) -> None:
    if aside is None:
        removed = _beside(folder)
        folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)
        return
    aside.mkdir(parents=True, exist_ok=True)
    kept, number = aside / folder.name, 1
    while kept.exists():
        kept, number = aside / f"{folder.name}.{number}", number + 1
    folder.rename(kept)


def _beside(path: Path) -> Path:
    return path.with_name(f"{_WRITING}{_machine()}-{os.getpid()}-{uuid.uuid4().hex}")


@cache
def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _is_abandoned(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False  # it has just been moved to its place
    owner = _OWNER.fullmatch(path.name)
    if owner is None or owner[1] != _machine() or os.name == "nt":
        return age > ABANDONED
    return age > LONGEST or not _is_alive(int(owner[2]))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True
