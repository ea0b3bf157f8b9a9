"""Reads IDX files, the format of MNIST and its relatives.

Contents are checked before they are parsed, so what is returned is what the authors published.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from cl_bench.data import files
from cl_bench.errors import UserError

_UNSIGNED_BYTE = 0x08


def read_verified(path: Path, md5: str) -> np.ndarray:
    """Return the array in an IDX file whose uncompressed content has this MD5.

    Raises:
        UserError: the file cannot be read, is damaged, or holds something else.
    """
    content = files.read_content(path)
    check(content, md5, str(path))
    return parse(content, str(path))


def check(content: bytes, md5: str, name: str) -> None:
    """Raise a UserError unless the content (of the IDX file so named) has this MD5."""
    if files.has_md5(content, md5):
        return
    fault = "has other content than the published file"
    try:
        parse(content, name)
    except UserError as error:
        fault = str(error).removeprefix(f"{name} ")
    raise files.wrong_content(content, md5, name, fault)


def parse(content: bytes, name: str) -> np.ndarray:
    """Return the uint8 array in the content of an IDX file (read-only, not copied).

    Raises:
        UserError: it is not IDX of unsigned bytes, or shorter or longer than its header says.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise UserError(f"{name} is not an IDX file of unsigned bytes")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise UserError(f"{name} is truncated: its header is incomplete")
    shape = tuple(int(size) for size in np.frombuffer(content[4:header], ">u4"))
    expected = header + math.prod(shape)
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "too long"
        raise UserError(
            f"{name} is {fault}: its header asks for {expected:,} bytes, it has {len(content):,}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
