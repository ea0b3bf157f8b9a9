"""The files of a run record as bytes: typed Parquet tables and safetensors weights.

Each table's types are written here, so that a file means the same whatever wrote it.
"""

from __future__ import annotations

import os
import re
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

COLUMNS: dict[str, dict[str, str]] = {
    "accuracy": {
        "after_task": "int64",
        "task": "int64",
        "accuracy": "float64",
        "accuracy_agnostic": "float64",
        "loss": "float64",
        "samples": "int64",
    },
    "curve": {
        "training_task": "int64",
        "step": "int64",
        "samples_seen": "int64",
        "task": "int64",
        "accuracy": "float64",
        "loss": "float64",
    },
    "predictions": {
        "after_task": "int64",
        "task": "int64",
        "label": "int64",
        "predicted": "int64",
        "count": "int64",
    },
    "landscape": {
        "after_task": "int64",
        "task": "int64",
        "loss": "float64",
        "sharpness": "float64",
        "trace": "float64",
        "flatness": "float64",
        "flatness_sharpest": "float64",
        "variance": "float64",
        "distance": "float64",
        "quadratic": "float64",
    },
}
"""The tables of a record: columns, in order, and their types."""


def safe_name(name: str) -> str:
    """Return a name as a part of a file's name on any system."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:80] or "_"


def damaged(path: Path, reason: str) -> UserError:
    """Return the error for a file of a record that cannot be used."""
    return UserError(f"{path} is damaged ({reason}); running it again replaces it")


def table_bytes(name: str, frame: pd.DataFrame) -> bytes:
    """Return a table as a Parquet file.

    Raises:
        ValueError: its columns are not those of `COLUMNS`, or a value does not fit its type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if set(frame.columns) != set(COLUMNS[name]):
        raise ValueError(f"table {name} has columns {list(frame)}, not {list(COLUMNS[name])}")
    table = pa.Table.from_pandas(frame, schema=_schema(name), preserve_index=False)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def parse_table(data: bytes, path: Path) -> pd.DataFrame:
    """Return the table in the bytes of a Parquet file; a UserError where they are not one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        return table.cast(_schema(path.stem)).to_pandas(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, str(error).splitlines()[0]) from error


def weights_bytes(weights: dict[str, np.ndarray]) -> bytes:
    """Return the weights as a safetensors file."""
    import numpy as np
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(value) for name, value in weights.items()})


def parse_weights(data: bytes, path: Path) -> dict[str, np.ndarray]:
    """Return the weights in a safetensors file; a UserError where the bytes are not one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except SafetensorError as error:
        raise damaged(path, str(error)) from error


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; a UserError where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise damaged(path, "it is missing") from error
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
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


@cache
def _schema(name: str) -> Any:
    import pyarrow as pa

    types = {"int64": pa.int64(), "float64": pa.float64()}
    return pa.schema([(column, types[kind]) for column, kind in COLUMNS[name].items()])


def replace(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or what was there before."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(temporary, data)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
