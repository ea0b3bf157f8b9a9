"""Lists which datasets are on this machine, where, and whether their contents are right."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from cl_bench.data.catalogue import CATALOGUE, Published
from cl_bench.data.loading import load_found
from cl_bench.data.search import NotAvailableError, given_folders, names, resolve
from cl_bench.errors import UserError, unknown


def report(
    data_dir: Path | None = None, download: bool = False, wanted: Collection[str] = ()
) -> list[dict[str, object]]:
    """Return one plain dictionary a dataset: found where, whether it is right, its size.

    Args:
        data_dir: the folder to search first; it must exist.
        download: whether to fetch what is not here: of those wanted, or else of MNIST and
            Fashion-MNIST, which are small.
        wanted: only these datasets; all by default.

    `status` is "ok" (every checksum verified), "missing" or "damaged".

    Raises:
        UserError: a folder that was given does not exist, or there is no such dataset.
    """
    given_folders(data_dir)
    for name in wanted:
        if name not in names():
            raise unknown("dataset", name, names())
    return [
        _row(name, data_dir, download and (bool(wanted) or isinstance(entry, Published)))
        for name, entry in CATALOGUE.items()
        if not wanted or name in wanted
    ]


def _row(name: str, data_dir: Path | None, download: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "dataset": name,
        "status": "missing",
        "where": "",
        "bytes": 0,
        "train": 0,
        "test": 0,
        "classes": 0,
        "checksum": "",
        "note": "",
    }
    try:
        found = resolve(name, data_dir, download)
    except NotAvailableError as error:
        return row | {"note": str(error)}
    except UserError as error:
        return row | {"status": "damaged", "note": str(error)}
    if found.name != name:
        return row | {"note": found.notice or ""}
    row |= {
        "where": found.source,
        "bytes": sum(path.stat().st_size for path in found.files),
        "note": found.notice or "",
    }
    try:
        dataset = load_found(found)
    except UserError as error:
        return row | {"status": "damaged", "note": str(error)}
    return row | {
        "status": "ok",
        "train": len(dataset.train_labels),
        "test": len(dataset.test_labels),
        "classes": dataset.n_classes,
        "checksum": dataset.checksum,
    }
