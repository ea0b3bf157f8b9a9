"""`cl_bench describe`: what a name stands for, and what can be set of it."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_bench.cli.output import Format, FormatOption, cell_text, emit
from cl_bench.plain import plain

if TYPE_CHECKING:
    from cl_bench.api.describing import Description
    from cl_bench.planning.settings import Setting

WIDEST = 100
"""Letters in a line, where the terminal has as many."""


def describe(
    name: Annotated[
        str,
        typer.Argument(
            help="A strategy, benchmark, network, metric, config, dataset, or a key such as "
            "training.epochs."
        ),
    ],
    format: FormatOption = Format.TABLE,
) -> None:
    """Say what a name stands for: what it is, its source, what can be set and over which range."""
    from dataclasses import asdict

    from cl_bench.api.describing import describe as find

    found = find(name)
    rows: list[dict[str, Any]] = [asdict(each) for each in found]
    if format is Format.JSON:
        print(json.dumps(plain(rows), indent=2))
    elif format is Format.CSV:
        emit(rows, format)
    else:
        width = min(WIDEST, shutil.get_terminal_size().columns if sys.stdout.isatty() else 80)
        print("\n\n".join("\n".join(_lines(each, width)) for each in found))


def _lines(found: Description, width: int) -> Iterator[str]:
    title = "" if found.title == found.name else f": {found.title}"
    yield from _wrap(f"{found.name}{title} ({found.kind})", width)
    if found.about:
        yield ""
        yield from _wrap(found.about, width)
    if found.facts:
        yield ""
    room = max((len(key) for key in found.facts), default=0) + 2
    for key, text in found.facts.items():
        if text:
            yield from _hung(key.ljust(room), text, width)
    if found.settings:
        yield ""
        of = f"{found.name}." if found.kind == "strategy" else ""
        yield f"settings, as --set {of}<setting>=<value>:"
        for each in found.settings:
            yield from _setting(each, width)


def _setting(each: Setting, width: int) -> Iterator[str]:
    default = "none" if each.default is None else cell_text(each.default) or "''"
    tuned = f"; tuned over {each.tuned_over}" if each.tuned_over else ""
    yield from _hung(f"  {each.setting} = {default}  ", f"({each.values}{tuned})", width, 6)
    if each.meaning:
        yield from _wrap(each.meaning, width, "      ", "      ")


def _wrap(text: str, width: int, head: str = "", room: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=head, subsequent_indent=room, break_on_hyphens=False
    )


def _hung(head: str, text: str, width: int, indent: int | None = None) -> list[str]:
    """Return a text after its head, its further lines under the first (or so far in)."""
    room = " " * (len(head) if indent is None else indent)
    return _wrap(text, width, head, room)
