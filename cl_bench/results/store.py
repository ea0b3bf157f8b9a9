"""Run records on disk: one directory a run, written in one move, checked when read.

A directory is named `<strategy>-s<seed>-<run_id>` and holds `record.json` (all that is scalar,
with the SHA-256 of every other file), Parquet tables (three, and the loss landscape's where that
was measured) and the weights as safetensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from cl_bench.config import SCHEMA_VERSION, RunConfig
from cl_bench.errors import UserError
from cl_bench.results import files

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from cl_bench.results.record import RunRecord

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

UPGRADES: dict[int, Upgrade] = {}
"""Schema version to the function that turns the content of a record.json of that version into
the next version's; written together with each change of `SCHEMA_VERSION`. It keeps run_id,
group_id and protocol_id as they were, unless runs of both versions may be compared."""

HEADER = "record.json"
WEIGHTS = "weights.safetensors"
TableName = Literal["accuracy", "curve", "predictions", "landscape"]

_DIRECTORY = re.compile(r"[^.].*-s\d+-([0-9a-f]{16})")
_PLAIN = ("stream_id", "tasks", "data", "weights_sha256", "cost", "provenance")


@dataclass(frozen=True)
class StoredRun:
    """A run on disk whose record.json was read and checked; tables are read when asked for."""

    path: Path
    config: RunConfig
    content: dict[str, Any]
    """The content of record.json, of the current schema version."""

    def has(self, name: TableName) -> bool:
        """Return whether the run has this table; all but `landscape` are always there."""
        return f"{name}.parquet" in self.content["files"]

    def table(self, name: TableName) -> pd.DataFrame:
        """Return a table of the run; a UserError names its file where that is damaged."""
        return files.parse_table(self._bytes(f"{name}.parquet"), self.path / f"{name}.parquet")

    def weights(self) -> dict[str, np.ndarray]:
        """Return the final weights by parameter name; a UserError where the file is damaged."""
        return files.parse_weights(self._bytes(WEIGHTS), self.path / WEIGHTS)

    def record(self) -> RunRecord:
        """Return the whole record; a UserError names the file that is missing or damaged."""
        from cl_bench.results.record import RunRecord

        return RunRecord(
            config=self.config,
            accuracy=self.table("accuracy"),
            curve=self.table("curve"),
            predictions=self.table("predictions"),
            landscape=self.table("landscape") if self.has("landscape") else None,
            weights=self.weights(),
            schema_version=SCHEMA_VERSION,
            **{name: self.content[name] for name in _PLAIN},
        )

    def verify(self) -> None:
        """Raise a UserError naming the first file that is missing or differs from its checksum."""
        for name in self.content["files"]:
            self._bytes(name)

    def _bytes(self, name: str) -> bytes:
        path = self.path / name
        data = files.read_bytes(path)
        if hashlib.sha256(data).hexdigest() != self.content["files"].get(name):
            raise files.damaged(path, "its checksum differs from the one in record.json")
        return data


class RunStore:
    """The run directories under one root.

    Any number of processes may read and write one store at the same time: the first writer of a
    run wins, and a reader sees a whole record or none.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def directory(self, config: RunConfig) -> Path:
        """Return where the run of this config is kept."""
        strategy = files.safe_name(config.strategy.name)
        return self.root / f"{strategy}-s{config.seed}-{config.run_id}"

    def exists(self, config: RunConfig) -> bool:
        """Return whether a whole, undamaged record of this config is there.

        A damaged one counts as absent, so that the run is made again.
        """
        return _is_whole(self.directory(config))

    def check_writable(self) -> None:
        """Raise a UserError where records could not be written; makes the root directory."""
        probe = self.root / f".probe-{uuid.uuid4().hex}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            raise _unwritable(self.root, error) from error

    def write(self, record: RunRecord) -> Path:
        """Write a record and return its directory; one that is already there is left as it is.

        The files are written into a hidden directory beside, which is then renamed.

        Raises:
            UserError: the directory cannot be written (permissions, no space).
            ValueError: the record is not of this schema version or a table has wrong columns.
        """
        if record.schema_version != SCHEMA_VERSION:
            raise ValueError(f"a record of schema version {record.schema_version} is not written")
        final = self.directory(record.config)
        token = uuid.uuid4().hex
        temporary = self.root / f".writing-{final.name}-{token}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            _write_files(record, temporary)
            _place(temporary, final, aside=self.root / f".damaged-{final.name}-{token}")
        except OSError as error:
            raise _unwritable(self.root, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return final

    def paths(self) -> list[Path]:
        """Return the run directories, sorted by name; empty where the root does not exist."""
        if not self.root.is_dir():
            return []
        return sorted(p for p in self.root.iterdir() if _DIRECTORY.fullmatch(p.name) and p.is_dir())

    def open(self, run: Path | str) -> StoredRun:
        """Return a run by its directory or run_id, with its tables still unread.

        Raises:
            UserError: there is no such run, its record.json is missing or damaged, or it was
                written by a newer version of cl_bench.
        """
        return _open(self._locate(run))

    def read(self, run: Path | str) -> RunRecord:
        """Return the record of a run by its directory or run_id; raises as `open` does."""
        return self.open(run).record()

    def scan(self) -> tuple[list[StoredRun], list[str]]:
        """Return every readable run, and one warning for each directory that is not."""
        runs, warnings = [], []
        for path in self.paths():
            try:
                runs.append(_open(path))
            except UserError as error:
                warnings.append(f"skipped: {error}")
        return runs, warnings

    def _locate(self, run: Path | str) -> Path:
        if isinstance(run, str) and re.fullmatch(r"[0-9a-f]{16}", run):
            for path in self.paths():
                if path.name.endswith(f"-{run}"):
                    return path
            raise UserError(f"no run {run} in {self.root}")
        if not Path(run).is_dir():
            raise UserError(f"{run} is not a run directory")
        return Path(run)


def _write_files(record: RunRecord, directory: Path) -> None:
    contents = {
        "accuracy.parquet": files.table_bytes("accuracy", record.accuracy),
        "curve.parquet": files.table_bytes("curve", record.curve),
        "predictions.parquet": files.table_bytes("predictions", record.predictions),
        WEIGHTS: files.weights_bytes(record.weights),
    }
    if record.landscape is not None:
        contents["landscape.parquet"] = files.table_bytes("landscape", record.landscape)
    content = {
        "schema_version": SCHEMA_VERSION,
        "run_id": record.config.run_id,
        "group_id": record.config.group_id,
        "protocol_id": record.config.protocol_id,
        "config": record.config.model_dump(mode="json"),
        **{name: _plain(getattr(record, name)) for name in _PLAIN},
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
    }
    content["sha256"] = _digest(content)
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    for name, data in {**contents, HEADER: text.encode()}.items():
        files.write_bytes(directory / name, data)
    files.sync_directory(directory)


def _place(temporary: Path, final: Path, aside: Path) -> None:
    """Rename `temporary` to `final`, unless a whole record is there already."""
    for _ in range(10):  # each round that fails, another writer of the same run got in between
        if _is_whole(final):
            return
        try:
            temporary.rename(final)
        except OSError:
            if not final.exists():
                raise
        else:
            files.sync_directory(final.parent)
            return
        if not _is_whole(final):
            final.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
    raise OSError(f"{final.name} is being rewritten by another process")


def _is_whole(path: Path) -> bool:
    try:
        _open(path).verify()
    except UserError:
        return False
    return True


def _open(path: Path) -> StoredRun:
    header = path / HEADER
    try:
        content = json.loads(files.read_bytes(header))
        version = content["schema_version"]
        if version > SCHEMA_VERSION:
            raise UserError(
                f"{header} has schema version {version}, this cl_bench reads up to "
                f"{SCHEMA_VERSION}; install a newer cl_bench"
            )
        _check(content, header)
        for old in range(version, SCHEMA_VERSION):
            content = UPGRADES[old](content)
        config = RunConfig.model_validate(content["config"])
    except (ValidationError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise files.damaged(header, str(error).splitlines()[0]) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise files.damaged(header, f"a key is missing or of the wrong type: {error}") from error
    return StoredRun(path, config, content)


def _check(content: dict[str, Any], header: Path) -> None:
    """Compare a record's hash and run_id, as they were written, with its content."""
    signed = {key: value for key, value in content.items() if key != "sha256"}
    if _digest(signed) != content["sha256"]:
        raise files.damaged(header, "its checksum differs from its content")
    address = _digest({"schema": content["schema_version"], **content["config"]})[:16]
    if address != content["run_id"]:
        raise files.damaged(header, f"its config is that of run {address}, not {content['run_id']}")
    missing = [name for name in (*_PLAIN, "files") if name not in content]
    if missing:
        raise files.damaged(header, f"{missing[0]} is missing")


def _digest(content: dict[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON; `RunConfig.run_id` is the start of such a hash."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy scalars as numbers, what is not finite as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _unwritable(root: Path, error: OSError) -> UserError:
    return UserError(f"cannot write runs to {root}: {error.strerror or error}")
