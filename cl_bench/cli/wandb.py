"""`cl_bench wandb`: send finished runs to Weights & Biases, now or later than they were trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_bench.cli.output import Format, FormatOption
from cl_bench.tracking.mode import Mode

if TYPE_CHECKING:
    from cl_bench.results.store import StoredRun
    from cl_bench.tracking.sink import SendResult, Sink


def wandb(
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    project: Annotated[
        str | None, typer.Option(help="W&B project (else WANDB_PROJECT, cl_bench).")
    ] = None,
    entity: Annotated[str | None, typer.Option(help="W&B user or team.")] = None,
    mode: Annotated[Mode, typer.Option(help="auto: online where there is a key.")] = Mode.AUTO,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Only runs of this strategy; may be repeated.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Send what was sent before, too.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Send finished runs to Weights & Biases; each W&B run replaces an earlier one of its id."""
    from cl_bench.cli.output import counted, emit, remark
    from cl_bench.tracking.sink import Sink

    runs, damaged = _select(out, strategy or [])
    for warning in damaged:
        remark(warning)
    with Sink(mode, project, entity, out, again=again, say=remark) as sink:
        if sink.mode != "offline":
            remark(sink.describe())
        results = [(run, _send(sink, run)) for run in runs]
    rows = [_row(run, result) for run, result in results]
    offline = sum(result.mode == "offline" for _, result in results)
    sent = sum(result.mode == "online" for _, result in results)
    emit(rows, format.value, f"{sent} of {counted(len(runs), 'run')} in {out} are on W&B")
    if offline:
        remark(f"not sent: {counted(offline, 'run')}; {sink.describe()}")
    failed = [result for _, result in results if _failed(result, mode)]
    if failed or damaged:
        raise typer.Exit(1)


def _select(out: Path, strategies: list[str]) -> tuple[list[StoredRun], list[str]]:
    """Return the runs of these strategies (of all, where none is named), and the damaged ones."""
    from cl_bench.errors import UserError, unknown
    from cl_bench.results.store import RunStore

    if not out.is_dir():
        raise UserError(f"there is no folder of runs at {out}")
    runs, damaged = RunStore(out).scan()
    known = {run.config.strategy.name for run in runs}
    for name in strategies:
        if name not in known:
            raise unknown("strategy", name, known)
    chosen = set(strategies) or known
    return [run for run in runs if run.config.strategy.name in chosen], damaged


def _send(sink: Sink, run: StoredRun) -> SendResult:
    from cl_bench.errors import UserError
    from cl_bench.tracking.sink import SendResult

    run_id = run.config.run_id
    try:
        weights = run.content["weights_sha256"]
        return sink.sent_before(run_id, weights) or sink.send(run.record())
    except UserError as error:  # one of the record's files is damaged
        return SendResult(run_id, "failed", error=str(error))


def _failed(result: SendResult, asked: Mode) -> bool:
    return result.mode == "failed" or (asked == Mode.ONLINE and result.mode != "online")


def _row(run: StoredRun, result: SendResult) -> dict[str, Any]:
    return {
        "strategy": run.config.strategy.name,
        "seed": run.config.seed,
        "run_id": result.run_id,
        "mode": result.mode,
        "new": not result.skipped,
        "where": result.url or result.path,
        "error": result.error,
    }
