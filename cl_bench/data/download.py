"""Fetches a published dataset from torchvision's mirrors into the cache folder.

Files are checked before they appear under their names, so a reader never meets half a
file. `CL_BENCH_MIRROR` names another place with the layout of a data folder.
"""

from __future__ import annotations

import gzip
import os
import queue
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

from cl_bench import atomic
from cl_bench.data import files, idx
from cl_bench.data.catalogue import Archived, Published
from cl_bench.errors import UserError

MIRROR_VARIABLE = "CL_BENCH_MIRROR"
CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 180.0
"""For a dataset of files of up to 200 MB; larger ones have as much more."""
_CHUNK = 2**18


class DownloadError(Exception):
    """The dataset could not be fetched; the message says why."""


def fetch(published: Published | Archived, cache: Path) -> Path:
    """Download what is missing of a dataset and return the folder that then holds all of it.

    A failure is remembered: within one process it is not tried again.

    Raises:
        DownloadError: no mirror gave the right files in time, or the cache is not writable.
    """
    outcome = _fetch(published, cache, os.environ.get(MIRROR_VARIABLE, ""))
    if isinstance(outcome, str):
        raise DownloadError(outcome)
    return outcome


@lru_cache(maxsize=16)
def _fetch(published: Published | Archived, cache: Path, mirror: str) -> Path | str:
    target = cache / published.place
    deadline = time.monotonic() + TOTAL_SECONDS * max(1, published.megabytes / 200)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, md5 in published.md5:
            path = target / published.names_of(name)[-1]
            if not path.is_file():
                atomic.replace(path, _first_answer(published, mirror, (name, md5), deadline))
    except (DownloadError, UserError) as error:
        return str(error)
    except OSError as error:
        return f"{target} cannot be written: {error.strerror or error}"
    return target


def _addresses(published: Published | Archived, mirror: str, name: str) -> Iterator[str]:
    file = published.names_of(name)[-1]
    if mirror:
        yield "/".join(part for part in (mirror.rstrip("/"), published.place, file) if part)
        return
    for base in published.mirrors:
        yield f"{base}{file}"


def _first_answer(
    published: Published | Archived, mirror: str, file: tuple[str, str], deadline: float
) -> bytes:
    name, md5 = file
    faults = []
    for address in _addresses(published, mirror, name):
        try:
            content = _get(address, deadline, published.megabytes)
            if isinstance(published, Published):
                idx.check(gzip.decompress(content), md5, address)
            elif not files.has_md5(content, md5):
                raise files.wrong_content(content, md5, address, "is another file", whole=True)
            return content
        except UserError as error:
            faults.append(str(error).removesuffix("; replace the file"))
        except urllib.error.HTTPError as error:
            faults.append(f"{address}: {error}")
        except urllib.error.URLError as error:
            faults.append(f"{address}: {error.reason}")
        except (OSError, EOFError, ValueError, zlib.error, HTTPException) as error:
            faults.append(f"{address}: {error or type(error).__name__}")
    raise DownloadError("; ".join(faults))


def _get(address: str, deadline: float, megabytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    left = min(CONNECT_SECONDS, deadline - time.monotonic())
    with _open(address, left) as answer:
        while part := answer.read1(_CHUNK):
            parts.append(part)
            size += len(part)
            if time.monotonic() > deadline:
                raise TimeoutError(f"the download took longer than {TOTAL_SECONDS:.0f} s")
            if size > megabytes * 2**20:
                raise ValueError(f"more than {megabytes} MiB: not the dataset's file")
    return b"".join(parts)


def _open(address: str, seconds: float) -> Any:
    """Return the answer of a server, waiting for it no longer than so many seconds in all.

    The time limit of urllib holds for each of a server's network addresses and not for
    the look-up of its name, so behind some firewalls it never ends: hence the thread.
    """
    outcomes: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        try:
            outcomes.put(urllib.request.urlopen(address, timeout=seconds))
        except Exception as error:
            outcomes.put(error)

    if seconds <= 0:
        raise TimeoutError(f"the download took longer than {TOTAL_SECONDS:.0f} s")
    threading.Thread(target=ask, daemon=True).start()
    try:
        outcome = outcomes.get(timeout=seconds + 1)
    except queue.Empty:
        raise TimeoutError("timed out") from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
