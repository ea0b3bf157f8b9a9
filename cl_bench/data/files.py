"""Reads data files, plain or gzip'd, and tells in one sentence what is wrong with a damaged one."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

from cl_bench.errors import UserError


def read_content(path: Path) -> bytes:
    """Return a file's content, decompressed where its name ends in `.gz`.

    Raises:
        UserError: the file cannot be read, or its compressed stream is damaged.
    """
    content = read_raw(path)
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise UserError(
            f"{path} is truncated: its gzip stream ends after {len(content):,} bytes;"
            " replace the file"
        ) from error
    except (OSError, zlib.error) as error:
        raise UserError(f"{path} is damaged: {error}; replace the file") from error


def read_raw(path: Path) -> bytes:
    """Return a file's content as it is.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def md5_of(content: bytes) -> str:
    """Return the MD5 of a content, in hexadecimal digits."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def has_md5(content: bytes, md5: str) -> bool:
    """Return whether a content has this MD5."""
    return md5_of(content) == md5


def wrong_content(
    content: bytes, md5: str, name: str, fault: str, *, whole: bool = False
) -> UserError:
    """Return the error for a file (of this name) whose content hasn't the MD5 it should have.

    `whole`: the MD5 is that of the file as it is, not of what it decompresses to.
    """
    return UserError(
        f"{name} {fault} (MD5 of the {'file' if whole else 'uncompressed content'}: expected {md5},"
        f" found {md5_of(content)}); replace the file"
    )
