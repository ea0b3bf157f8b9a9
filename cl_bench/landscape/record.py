"""The record of a study: its setting, where it comes from, and named tables; one directory.

`landscape-<setting_id>` holds `record.json` (with the SHA-256 of every other file) and a Parquet
file a table. It is written in one move: a reader sees all of it or nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cl_bench.errors import UserError
from cl_bench.landscape.setting import Setting
from cl_bench.results import files

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
HEADER = "record.json"


@dataclass(frozen=True)
class LandscapeRecord:
    """What a study found."""

    setting: Setting
    tables: dict[str, pd.DataFrame]
    """By name: `directions` (seed, source, analysis, index, variance, flatness, left, right,
    error), `relations` (source, analysis, range, psi, rho and their intervals), `training` (seed,
    epoch, loss, error), and those of `noise`, `annealing` and `claims`."""
    verdicts: list[dict[str, str]]
    """`claim`, `verdict` and `reason` of each claim."""
    provenance: dict[str, Any] = field(default_factory=dict)


def directory(out: Path, setting: Setting) -> Path:
    """Return where the record of a setting is kept."""
    return out / f"landscape-{setting.setting_id}"


def exists(out: Path, setting: Setting) -> bool:
    """Return whether there is a whole, undamaged record of a setting."""
    try:
        read(directory(out, setting))
    except UserError:
        return False
    return True


def write(out: Path, record: LandscapeRecord) -> Path:
    """Write a record and return its directory; it takes the place of a damaged one.

    Raises:
        UserError: it cannot be written.
    """
    final = directory(out, record.setting)
    temporary = out / f".writing-{final.name}-{uuid.uuid4().hex}"
    contents = {f"{name}.parquet": _parquet(table) for name, table in record.tables.items()}
    header = {
        "format": FORMAT,
        "setting_id": record.setting.setting_id,
        "setting": record.setting.model_dump(mode="json"),
        "verdicts": record.verdicts,
        "provenance": record.provenance,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
    }
    text = json.dumps(header, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        temporary.mkdir(parents=True)
        for name, data in {**contents, HEADER: text.encode()}.items():
            files.write_bytes(temporary / name, data)
        files.sync_directory(temporary)
        if final.exists() and not exists(out, record.setting):
            shutil.rmtree(final)
        if not final.exists():
            temporary.rename(final)
            files.sync_directory(out)
    except OSError as error:
        raise UserError(f"cannot write {final}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def read(path: Path) -> LandscapeRecord:
    """Return the record in a directory; a UserError names the file that is damaged or missing."""
    header = path / HEADER
    try:
        content = json.loads(files.read_bytes(header))
        if content["format"] > FORMAT:
            raise UserError(f"{header} was written by a newer cl_bench; install that")
        if content["format"] < FORMAT:
            raise UserError(f"{header} was written by an older cl_bench; measure again")
        setting = Setting.model_validate(content["setting"])
        tables = {
            name.removesuffix(".parquet"): _table(path / name, digest)
            for name, digest in content["files"].items()
        }
        return LandscapeRecord(setting, tables, content["verdicts"], content["provenance"])
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise files.damaged(header, str(error).splitlines()[0]) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise files.damaged(header, f"a key is missing or of the wrong type: {error}") from error


def read_all(out: Path) -> list[LandscapeRecord]:
    """Return every readable record in a folder, sorted by directory."""
    found = []
    for path in sorted(out.glob("landscape-*")):
        try:
            found.append(read(path))
        except UserError:
            continue
    return found


def _parquet(table: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    found = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(found.replace_schema_metadata(), sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _table(path: Path, digest: str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = files.read_bytes(path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise files.damaged(path, "its checksum differs from the one in record.json")
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False).to_pandas()
