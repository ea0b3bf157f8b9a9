"""Run records on disk: one directory a run, written in one move, checked when read.

A directory is named `<strategy>-s<seed>-<run_id>` and holds `record.json` (all that is scalar,
with the SHA-256 of every other file), Parquet tables (three, and the loss landscape's where that
was measured) and the weights as safetensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from cl_bench import atomic
from cl_bench.config import SCHEMA_VERSION, RunConfig
from cl_bench.errors import UserError
from cl_bench.metrics import diverged
from cl_bench.plain import sha256
from cl_bench.results import files, folder
from cl_bench.results.record import TABLES, RunRecord

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

UPGRADES: dict[int, Upgrade] = {}
"""Schema version to the function that turns the content of a record.json of that version into
the next version's; written together with each change of `SCHEMA_VERSION`. It keeps run_id,
group_id and protocol_id as they were, unless runs of both versions may be compared."""

WEIGHTS = "weights.safetensors"
REPLACED = ".replaced"
"""The folder, within that of the records, of those that runs of newer code took the place of: in
it a folder of records for each such code."""
TableName = Literal["accuracy", "curve", "predictions", "landscape"]

_DIRECTORY = re.compile(r"[^.].*-s\d+-([0-9a-f]{16})")
_SCALARS = ("stream_id", "tasks", "data", "weights_sha256", "cost", "provenance")
_OLD_LEFT_OVERS = (".damaged-*", ".probe-*")


@dataclass(frozen=True)
class StoredRun(folder.Folder):
    """A run on disk whose record.json was read and checked; tables are read when asked for."""

    config: RunConfig

    @property
    def code(self) -> str | None:
        """Return the hash of the code that trained it; None in records from before that was kept.

        The latter count as being of whatever code there is now.
        """
        code = self.content["provenance"].get("code")
        return None if code is None else str(code)

    @cached_property
    def diverged(self) -> bool:
        """Return whether the run diverged (`RunRecord.diverged`).

        Records from before that was kept are judged from their losses, which weights that are not
        finite make so, too. A UserError names the table that is damaged.
        """
        flag = self.content.get("diverged")
        return diverged(self.table("accuracy"), self.table("curve")) if flag is None else bool(flag)

    def table(self, name: TableName) -> pd.DataFrame:
        """Return a table of the run; a UserError names its file where that is damaged."""
        return self.read_table(name, TABLES[name])

    def weights(self) -> dict[str, np.ndarray]:
        """Return the final weights by parameter name; a UserError where the file is damaged."""
        return files.parse_weights(self.read_file(WEIGHTS), self.path / WEIGHTS)

    def record(self) -> RunRecord:
        """Return the whole record; a UserError names the file that is missing or damaged."""
        return RunRecord(
            config=self.config,
            accuracy=self.table("accuracy"),
            curve=self.table("curve"),
            predictions=self.table("predictions"),
            landscape=self.table("landscape") if self.has("landscape") else None,
            weights=self.weights(),
            schema_version=SCHEMA_VERSION,
            **{name: self.content[name] for name in _SCALARS},
        )


class RunStore:
    """The run directories under one root.

    Any number of processes may read and write one store at the same time: the first writer of a
    run wins, and a reader sees a whole record or none.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def directory(self, config: RunConfig) -> Path:
        """Return where the run of this config is kept."""
        strategy, seed = atomic.safe_name(config.strategy.name), str(config.seed)[:80]
        return self.root / f"{strategy}-s{seed}-{config.run_id}"

    def find(self, config: RunConfig) -> StoredRun | None:
        """Return the run of this config; None where no whole, undamaged record is there."""
        return _whole(self.directory(config))

    def exists(self, config: RunConfig, code: str | None = None) -> bool:
        """Return whether a whole, undamaged record of this config is there.

        A damaged one counts as absent, so that the run is made again. Files that were not touched
        since record.json was written are not read.

        Args:
            config: the run.
            code: of which code it must be (`StoredRun.code`); None takes any.
        """
        found = self.find(config)
        return found is not None and _is_of(found, code)

    def check_writable(self) -> None:
        """Raise a UserError where records could not be written; makes the root directory.

        What killed processes left behind there is removed.
        """
        try:
            with atomic.new_folder(self.root / "probe"):
                pass
        except OSError as error:
            raise _unwritable(self.root, error) from error
        atomic.sweep(self.root, *_OLD_LEFT_OVERS)

    def write(self, record: RunRecord) -> Path:
        """Write a record and return its directory; one that is already there is left as it is.

        A record of other code is not left: it is moved to the folder `REPLACED`.

        Raises:
            UserError: the directory cannot be written (permissions, no space).
            ValueError: the record is not of this schema version or a table has wrong columns.
        """
        if record.schema_version != SCHEMA_VERSION:
            raise ValueError(f"a record of schema version {record.schema_version} is not written")
        code = record.provenance.get("code")

        def stays(path: Path) -> bool:
            found = _whole(path)
            return found is not None and _is_of(found, code)

        def aside(path: Path) -> Path | None:
            found = _whole(path)
            return self.root / REPLACED / (found.code or "")[:16] if found else None

        final = self.directory(record.config)
        contents, content = _contents(record), _content(record)
        try:
            folder.write(final, content, contents, stays, aside)
        except OSError as error:
            raise _unwritable(self.root, error) from error
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
        """Return every readable run once, and one warning for each directory that is left out."""
        found: dict[str, list[StoredRun]] = {}
        warnings = []
        for path in self.paths():
            try:
                run = _open(path)
            except UserError as error:
                warnings.append(f"skipped: {error}")
            else:
                found.setdefault(run.content["run_id"], []).append(run)
        runs = []
        for same in found.values():
            own = self.directory(same[0].config).name
            first, *copies = sorted(same, key=lambda run: run.path.name != own)
            runs.append(first)
            warnings += [f"skipped: {_described(copy, first)}" for copy in copies]
        return sorted(runs, key=lambda run: run.path), warnings

    def _locate(self, run: Path | str) -> Path:
        if isinstance(run, str) and re.fullmatch(r"[0-9a-f]{16}", run):
            found = sorted(p for p in self.root.glob(f"*-{run}") if _DIRECTORY.fullmatch(p.name))
            if not found:
                raise UserError(f"no run {run} in {self.root}")
            own = self.directory(_open(found[0]).config) if len(found) > 1 else found[0]
            return own if own in found else found[0]
        if not Path(run).is_dir():
            raise UserError(f"{run} is not a run directory")
        return Path(run)


def _content(record: RunRecord) -> dict[str, Any]:
    """Return what record.json holds of a record besides checksums."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": record.config.run_id,
        "group_id": record.config.group_id,
        "protocol_id": record.config.protocol_id,
        "config": record.config.model_dump(mode="json"),
        **{name: getattr(record, name) for name in _SCALARS},
        "diverged": record.diverged,
    }


def _contents(record: RunRecord) -> dict[str, bytes]:
    tables: dict[str, pd.DataFrame | None] = {name: getattr(record, name) for name in TABLES}
    found = {
        f"{name}{folder.TABLE}": files.table_bytes(table, name, TABLES[name])
        for name, table in tables.items()
        if table is not None
    }
    return {**found, WEIGHTS: files.weights_bytes(record.weights)}


def _is_of(run: StoredRun, code: str | None) -> bool:
    return code is None or run.code in (None, code)


def _described(copy: StoredRun, kept: StoredRun) -> str:
    what = "a copy" if copy.content["sha256"] == kept.content["sha256"] else "another record"
    return f"{copy.path} is {what} of run {kept.content['run_id']}, which is in {kept.path.name}"


def _whole(path: Path) -> StoredRun | None:
    try:
        run = _open(path)
        run.check()
    except UserError:
        return None
    return run


def _open(path: Path) -> StoredRun:
    header = path / folder.HEADER
    content = folder.read(path).content
    try:
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
    except ValidationError as error:
        raise files.damaged(header, str(error).splitlines()[0]) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise files.damaged(header, f"a key is missing or of the wrong type: {error}") from error
    return StoredRun(path, content, config)


def _check(content: dict[str, Any], header: Path) -> None:
    """Compare a record's run_id, as it was written, with its content."""
    address = sha256({"schema": content["schema_version"], **content["config"]})[:16]
    if address != content["run_id"]:
        raise files.damaged(header, f"its config is that of run {address}, not {content['run_id']}")
    missing = [name for name in (*_SCALARS, "sha256") if name not in content]
    if missing:
        raise files.damaged(header, f"{missing[0]} is missing")


def _unwritable(root: Path, error: OSError) -> UserError:
    return UserError(f"cannot write runs to {root}: {error.strerror or error}")
