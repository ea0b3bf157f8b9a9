"""`cl_bench landscape`: does the variance of weights fall with the flatness of the loss?"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_bench.cli.output import Format, FormatOption, counted, emit_many, remark
from cl_bench.cli.training import DataDirOption
from cl_bench.errors import UserError
from cl_bench.execution.pool import Watcher

if TYPE_CHECKING:
    from cl_bench.landscape.findings import Findings
    from cl_bench.landscape.setting import Setting
    from cl_bench.landscape.study import Part


def landscape(
    setting: Annotated[
        str,
        typer.Option(help="Names separated by commas, such as paper,momentum; `list` names all."),
    ] = "paper",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Such as batch_size=200 or optimizer.learning_rate=0.05; may be repeated.",
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds (default 5).")] = None,
    first_seed: Annotated[int | None, typer.Option(help="The first of them (default 0).")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes (default: one a core).", min=1)
    ] = None,
    data_dir: DataDirOption = None,
    download: Annotated[
        bool, typer.Option("--download/--no-download", help="Fetch data that are missing.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = Path("runs"),
    figures: Annotated[
        Path | None,
        typer.Option(help="Folder for figures, as a page and as PNG (default: OUT/landscape)."),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Print all tables that the verdicts follow from.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Measure variance and flatness along the directions of training, with null controls.

    A setting that has a record is not measured again; one that was stopped goes on.
    """
    from cl_bench.execution.pool import cores
    from cl_bench.landscape import findings, study
    from cl_bench.results.store import RunStore

    if setting == "list":
        _list(format)
        return
    given = {"seeds": seeds, "first_seed": first_seed}
    wanted = _settings(setting.split(","), set_ or [], given)
    RunStore(out).check_writable()
    found = {}
    for name, each in wanted.items():
        chosen, notice = study.resolved(each, data_dir, download)
        if notice:
            remark(notice)
        if findings.exists(out, chosen):
            remark(f"{name}: nothing to measure, its record is in {out} already")
        else:
            _measure(name, chosen, out, data_dir, workers or cores())
        found[name] = findings.read(findings.directory(out, chosen))
    _show(found, format, details)
    for name, done in found.items():
        remark(f"{name}: {findings.directory(out, done.setting)}")
    _draw(found, figures or out / "landscape")


def _list(format: Format) -> None:
    from cl_bench.landscape.setting import NAMED

    rows = [{"setting": name, "differs from the paper's in": d} for name, d in NAMED.items()]
    emit_many({"settings": rows}, format)


def _settings(
    names: Sequence[str], assignments: Sequence[str], options: dict[str, int | None]
) -> dict[str, Setting]:
    """Return the settings asked for, by name."""
    from cl_bench.landscape.setting import Setting, named
    from cl_bench.planning.parsing import parse_assignment
    from cl_bench.planning.validation import validated

    found = {}
    for name in names:
        content: dict[str, Any] = {"network": {"hidden": [50, 50]}}
        for key, value in named(name).items():
            content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
        content.update({key: value for key, value in options.items() if value is not None})
        for text in assignments:
            key, value = parse_assignment(text)
            head, dot, rest = key.partition(".")
            if dot:
                section = content.setdefault(head, {})
                if not isinstance(section, dict):
                    raise UserError(f"--set {text}: {head} has no keys of its own")
                section[rest] = value
            else:
                content[head] = value
        found[name] = validated(Setting, content, f"setting {name}: ")
    return found


def _measure(name: str, setting: Setting, out: Path, data_dir: Path | None, workers: int) -> None:
    """Measure a setting and write its findings."""
    from datetime import UTC, datetime

    from cl_bench.execution.pool import carry_out
    from cl_bench.execution.signals import Interrupted
    from cl_bench.landscape import study

    folder = study.work_folder(out, setting)
    parts = study.divide(setting, folder, data_dir, workers)
    going_on = "; going on from where it was stopped" if folder.exists() else ""
    remark(f"{name}: {counted(setting.seeds, 'seed')} on {counted(len(parts), 'worker')}{going_on}")
    started = datetime.now(UTC)
    try:
        with _Progress(parts) as watcher:
            outcome = carry_out(study.measure, parts, workers=workers, watcher=watcher)
    except Interrupted:
        remark("stopped; what has been measured is kept, and the same command goes on from there")
        raise
    for failure in outcome.failures:
        if not failure.traceback:
            raise UserError(f"{name}: {failure.reason}")
        print(failure.traceback, file=sys.stderr)
    if outcome.failures:
        remark(f"{name}: {outcome.failures[0].reason}; the rest is kept")
        raise typer.Exit(1)
    study.store(out, study.finish(setting, folder, started), folder)


def _show(found: Mapping[str, Findings], format: Format, details: bool) -> None:
    """Print the verdicts and what they follow from: for programs all of it."""
    from cl_bench.report import landscape as report

    if format is Format.TABLE:
        emit_many(report.tables(found) if details else report.brief(found), format)
        if not details:
            remark("--details prints all tables that the verdicts follow from")
        return
    tables: dict[str, list[dict[str, Any]]] = {"verdicts": report.verdicts(found)}
    for name, each in found.items():
        for title in report.DERIVED:
            if title in each.tables:
                rows = each.tables[title].to_dict("records")
                tables[f"{title.replace('_', ' ')}: {name}"] = [
                    {str(key): value for key, value in row.items()} for row in rows
                ]
    emit_many({**tables, "settings": report.settings(found)}, format)


def _draw(found: Mapping[str, Findings], folder: Path) -> None:
    from cl_bench.report.landscape import draw

    page, pictures, problem = draw(found, folder)
    remark(f"figures: {page}" + (f" and {len(pictures)} PNG files beside it" if pictures else ""))
    if problem:
        remark(problem)


class _Progress(Watcher["Part"]):
    """What each part is doing: lines that move on a terminal, elsewhere one now and then."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.names = [f"seeds {part.seeds[0]}-{part.seeds[-1]}" for part in parts]
        self.started = time.monotonic()
        self.doing = [""] * len(parts)
        self._bar: Any = None
        self._rows: list[Any] = []

    def __enter__(self) -> _Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
            self._bar = Progress(*columns, console=Console(file=sys.stderr), transient=True)
            self._bar.start()
            self._rows = [self._bar.add_task(name, total=1.0) for name in self.names]
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, number: int, doing: str, share: float) -> None:
        text = f"{self.names[number]}: {doing}"
        if self._bar is not None:
            self._bar.update(self._rows[number], completed=share, description=text)
        elif doing != self.doing[number]:
            remark(f"{time.monotonic() - self.started:.0f} s: {text}")
        self.doing[number] = doing
