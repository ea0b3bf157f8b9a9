"""The files of a record as bytes: typed Parquet tables and safetensors weights.

Bytes that are not what they should be are a UserError that names the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Columns = Mapping[str, str]
"""A table's columns, in order, and their types: `int64` or `float64`."""


def damaged(path: Path, reason: str) -> UserError:
    """Return the error for a file of a record that cannot be used."""
    return UserError(f"{path} is damaged ({reason}); running it again replaces it")


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; a UserError where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise damaged(path, "it is missing") from error
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from error


def table_bytes(frame: pd.DataFrame, name: str = "", columns: Columns | None = None) -> bytes:
    """Return a table as a Parquet file.

    Args:
        frame: the table; its index is left out.
        name: what it is called where it is refused.
        columns: what it must hold; None takes what there is.

    Raises:
        ValueError: its columns are not these, or a value does not fit its type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if columns is not None and set(frame.columns) != set(columns):
        raise ValueError(f"table {name} has columns {list(frame)}, not {list(columns)}")
    schema = None if columns is None else _schema(columns)
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(), sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def parse_table(data: bytes, path: Path, columns: Columns | None = None) -> pd.DataFrame:
    """Return the table in the bytes of a Parquet file; a UserError where they are not one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        if columns is not None:
            table = table.cast(_schema(columns))
        return table.to_pandas(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, str(error).splitlines()[0]) from error


def weights_bytes(weights: Mapping[str, np.ndarray]) -> bytes:
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


def _schema(columns: Columns) -> Any:
    import pyarrow as pa

    types = {"int64": pa.int64(), "float64": pa.float64()}
    return pa.schema([(column, types[kind]) for column, kind in columns.items()])
