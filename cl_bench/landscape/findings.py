"""What a study found: its setting, named tables, verdicts; kept in the store's kind of folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from cl_bench.errors import UserError
from cl_bench.landscape.relation import Verdict
from cl_bench.landscape.setting import Setting
from cl_bench.results import files, folder
from cl_bench.results.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2


@dataclass(frozen=True)
class Findings:
    """What a study found."""

    setting: Setting
    tables: dict[str, pd.DataFrame]
    """By name: `directions` (seed, source, analysis, index, variance, flatness, left, right,
    error), `relations` (source, analysis, range, psi, rho and their intervals), `training` (seed,
    epoch, loss, error), and those of `noise`, `annealing` and `claims`."""
    verdicts: list[Verdict]
    provenance: Provenance = field(default_factory=Provenance)


def directory(out: Path, setting: Setting) -> Path:
    """Return where the record of a setting is kept."""
    return out / f"landscape-{setting.setting_id}"


def exists(out: Path, setting: Setting) -> bool:
    """Return whether there is a whole, undamaged record of a setting."""
    return _is_whole(directory(out, setting))


def write(out: Path, found: Findings) -> Path:
    """Write a record and return its directory; it takes the place of a damaged one.

    Raises:
        UserError: it cannot be written.
    """
    final = directory(out, found.setting)
    content = {
        "format": FORMAT,
        "setting_id": found.setting.setting_id,
        "setting": found.setting.model_dump(mode="json"),
        "verdicts": [asdict(verdict) for verdict in found.verdicts],
        "provenance": found.provenance,
    }
    contents = {
        f"{name}{folder.TABLE}": files.table_bytes(table) for name, table in found.tables.items()
    }
    try:
        folder.write(final, content, contents, _is_whole)
    except OSError as error:
        raise UserError(f"cannot write {final}: {error.strerror or error}") from error
    return final


def read(path: Path) -> Findings:
    """Return the record in a directory; a UserError names the file that is damaged or missing."""
    kept, setting, verdicts = _open(path)
    tables = {name: kept.read_table(name) for name in kept.tables()}
    return Findings(setting, tables, verdicts, kept.content["provenance"])


def _open(path: Path) -> tuple[folder.Folder, Setting, list[Verdict]]:
    header = path / folder.HEADER
    found = folder.read(path)
    try:
        version = found.content["format"]
        if version > FORMAT:
            raise UserError(f"{header} was written by a newer cl_bench; install that")
        if version < FORMAT:
            raise UserError(f"{header} was written by an older cl_bench; measure again")
        verdicts = [Verdict(**verdict) for verdict in found.content["verdicts"]]
        return found, Setting.model_validate(found.content["setting"]), verdicts
    except ValidationError as error:
        raise files.damaged(header, str(error).splitlines()[0]) from error
    except (KeyError, TypeError) as error:
        raise files.damaged(header, f"a key is missing or of the wrong type: {error}") from error


def _is_whole(path: Path) -> bool:
    try:
        _open(path)[0].check()
    except UserError:
        return False
    return True
