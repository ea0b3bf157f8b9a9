"""Values as JSON has them: plain, flat, and the hash that addresses them.

Whatever is printed, written or addressed as JSON goes through here, so that it reads the same.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's numbers and arrays as Python's, the rest as text.

    What is not finite becomes None.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (int, float, bool, str, type(None))) else str(value)


def counted(number: int, word: str) -> str:
    """Return a number with its noun: `1 run`, `2 runs`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def flatten(values: Mapping[str, Any], prefix: str = "", separator: str = ".") -> dict[str, Any]:
    """Return nested mappings as one, their keys joined: `{"training.batch_size": 64}`.

    An empty mapping stays as a value.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{separator}{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, name, separator))
        else:
            flat[name] = value
    return flat


def sha256(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content's canonical JSON; every address is the start of one."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def address(content: Mapping[str, Any]) -> str:
    """Return an address: 16 hexadecimal digits of the SHA-256 of the content as JSON."""
    return sha256(content)[:16]
