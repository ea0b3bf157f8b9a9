"""A record on disk, of whatever kind: a folder with tables and a `record.json`.

`record.json` holds all that is scalar and the SHA-256 of every other file, and is written last,
so that a folder is whole or is known not to be. Runs and studies of the loss landscape are kept so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench import atomic
from cl_bench.plain import plain, sha256
from cl_bench.results import files
from cl_bench.results.files import Columns

if TYPE_CHECKING:
    import pandas as pd

HEADER = "record.json"
TABLE = ".parquet"


@dataclass(frozen=True)
class Folder:
    """A record whose `record.json` was read and checked; other files are read when asked for."""

    path: Path
    content: dict[str, Any]
    """The content of record.json."""

    def tables(self) -> list[str]:
        """Return the names of the tables there are."""
        return [name.removesuffix(TABLE) for name in self.content["files"] if name.endswith(TABLE)]

    def has(self, table: str) -> bool:
        """Return whether there is a table of this name."""
        return f"{table}{TABLE}" in self.content["files"]

    def read_table(self, name: str, columns: Columns | None = None) -> pd.DataFrame:
        """Return a table; a UserError names its file where that is damaged."""
        file = f"{name}{TABLE}"
        return files.parse_table(self.read_file(file), self.path / file, columns)

    def read_file(self, name: str) -> bytes:
        """Return a file's bytes; a UserError where they are missing or not those written."""
        path = self.path / name
        data = files.read_bytes(path)
        if hashlib.sha256(data).hexdigest() != self.content["files"].get(name):
            raise files.damaged(path, f"its checksum differs from the one in {HEADER}")
        return data

    def verify(self) -> None:
        """Raise a UserError naming the first file that is missing or differs from its checksum."""
        for name in self.content["files"]:
            self.read_file(name)

    def check(self) -> None:
        """Do what `verify` does, reading no file that was last written before `record.json` was.

        Harm that leaves a file's time as it was is found where the file is read.
        """
        sealed = _written(self.path / HEADER)
        for name in self.content["files"]:
            if _written(self.path / name) >= sealed:
                self.read_file(name)


def write(
    path: Path,
    content: Mapping[str, Any],
    contents: Mapping[str, bytes],
    stays: Callable[[Path], bool],
    aside: Callable[[Path], Path | None] = lambda found: None,
) -> None:
    """Write a record in one move.

    Args:
        path: its folder.
        content: what record.json is to hold besides checksums; what is not finite becomes null.
        contents: the other files.
        stays: whether what is found there is as good (`atomic.place`).
        aside: where a record that does not stay is kept; None removes it.

    Raises:
        OSError: it cannot be written.
    """
    header = plain(content)
    header["files"] = {n: hashlib.sha256(data).hexdigest() for n, data in contents.items()}
    header["sha256"] = sha256(header)
    text = json.dumps(header, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    atomic.write_folder(path, {**contents, HEADER: text.encode()}, stays, aside)


def read(path: Path) -> Folder:
    """Return the record in a folder; a UserError names what is missing or damaged.

    A header without a checksum of its own, as studies once had them, is taken as it is.
    """
    header = path / HEADER
    try:
        content = json.loads(files.read_bytes(header))
        listed = content["files"]
        signed = {key: value for key, value in content.items() if key != "sha256"}
        genuine = content.get("sha256") in (None, sha256(signed))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise files.damaged(header, str(error).splitlines()[0]) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise files.damaged(header, f"a key is missing or of the wrong type: {error}") from error
    if not genuine:
        raise files.damaged(header, "its checksum differs from its content")
    if not isinstance(listed, dict):
        raise files.damaged(header, "files is not a list of checksums by name")
    return Folder(path, content)


def _written(path: Path) -> int:
    """Return when a file was last written, in nanoseconds; a UserError where it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise files.damaged(path, "it is missing") from error
