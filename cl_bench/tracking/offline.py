"""Read a run back from the file that W&B writes when it is offline.

The file is a log in LevelDB's framing (7 bytes of header, then fragments of crc 4, length 2 and
type 1 bytes, in blocks of 32 KiB) whose entries are `wandb.proto.wandb_internal_pb2.Record`s.
The sink uses this to make sure that nothing was lost; `wandb leet inspect` reads the same, but is
a program that takes a second a run.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAGIC = b":W&B"
HEADER_BYTES = 7
BLOCK_BYTES = 32 * 1024
FRAGMENT = struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """The parts of an offline file that say what the run was."""

    run_id: str = ""
    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    job_type: str = ""
    host: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    """Metric, or glob of metrics, to the metric on its x axis; "" for an axis itself."""
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    """Whether the run was closed, so that nothing is missing at the end."""


def read_offline(path: Path) -> OfflineRun:
    """Return the run that a `.wandb` file holds.

    Args:
        path: the file, or the folder `offline-run-…` around it.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is not a W&B log, or it breaks off.
    """
    if path.is_dir():
        files = sorted(path.glob("*.wandb"))
        if len(files) != 1:
            raise FileNotFoundError(f"{path} holds {len(files)} .wandb files, not one")
        path = files[0]
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto import wandb_internal_pb2

    message: Any = wandb_internal_pb2  # generated: its classes are made when it is imported
    run = OfflineRun()
    for entry in _entries(path.read_bytes(), path):
        try:
            record = message.Record.FromString(entry)
        except DecodeError as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        _add(run, record)
    return run


def _entries(raw: bytes, path: Path) -> Iterator[bytes]:
    if not raw.startswith(MAGIC):
        raise ValueError(f"{path} is not a W&B log")
    position, parts = HEADER_BYTES, b""
    while position < len(raw):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < FRAGMENT.size:  # a block's tail too short for a fragment is padding
            position += left
            continue
        if position + FRAGMENT.size > len(raw):
            raise ValueError(f"{path} breaks off at byte {len(raw)}")
        _, length, kind = FRAGMENT.unpack_from(raw, position)
        position += FRAGMENT.size
        if position + length > len(raw) or kind not in (FULL, FIRST, MIDDLE, LAST):
            raise ValueError(f"{path} breaks off or is damaged near byte {position}")
        parts += raw[position : position + length]
        position += length
        if kind in (FULL, LAST):
            yield parts
            parts = b""


def _add(run: OfflineRun, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        said = record.run
        run.run_id, run.name, run.host = said.run_id, said.display_name, said.host
        run.project, run.entity = said.project, said.entity
        run.group, run.job_type, run.tags = said.run_group, said.job_type, tuple(said.tags)
        run.config |= _items(said.config.update)
    elif kind == "config":
        run.config |= _items(record.config.update)
    elif kind == "metric":
        run.axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
    elif kind == "history":
        run.history.append(_items(record.history.item))
    elif kind == "summary":
        run.summary |= _items(record.summary.update)
    elif kind == "exit":
        run.finished = True


def _items(items: Any) -> dict[str, Any]:
    """Return key to value; the parts of a nested key are joined by periods."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
