"""Trains what protocols ask for, keeps the records and sends them: `run`, on either road."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cl_bench.errors import UserError, unknown
from cl_bench.execution.plans import plan_runs, prepare, train
from cl_bench.execution.remarks import Say, remark
from cl_bench.tracking.mode import Mode

if TYPE_CHECKING:
    from cl_bench.api.runs import Runs
    from cl_bench.config import Protocol, RunConfig
    from cl_bench.execution.pool import Failure
    from cl_bench.planning.packing import Plan, Stack
    from cl_bench.tracking.sink import Sink


@dataclass(frozen=True)
class Terms:
    """How and where a plan is trained; none of it changes what comes of a run."""

    out: Path = Path("runs")
    """The folder of the records."""
    device: str = "auto"
    """"auto" (cuda where there is one), "cpu" or "cuda"."""
    workers: int | None = None
    """Processes; None is one a core, or one on cuda."""
    data_dir: Path | None = None
    """The folder to search for data first."""
    download: bool = True
    """Whether to fetch data that are missing."""
    checkpoint_seconds: float = 15
    """Seconds between checkpoints of a stack; 0 for none."""
    checkpoint_steps: int = 0
    """Training steps between checkpoints; 0 for none."""
    wandb: str = "auto"
    """"auto" (online where there is a key), "online", "offline" or "off"."""


@dataclass(frozen=True)
class Done:
    """A plan that was carried out."""

    plan: Plan
    failures: tuple[Failure[Stack], ...]
    """The stacks that failed."""


class TrainingError(RuntimeError):
    """Some runs failed in training; the others are stored, and `runs` holds those of `run`."""

    def __init__(self, message: str, runs: Runs | None = None) -> None:
        super().__init__(message)
        self.runs = runs


def carry_out(
    protocols: Sequence[Protocol], terms: Terms, *, go_on: str, say: Say = remark
) -> Done:
    """Train the runs that have no record yet, and send all of them to W&B.

    Args:
        protocols: what is asked for.
        terms: how and where.
        go_on: what a user who has stopped it is told to do.
        say: is told what the user should know, a line at a time.

    Raises:
        UserError: something that cannot work; nothing has been trained then.
        Interrupted: by Ctrl-C or a polite kill; what has been trained is kept.
    """
    mode = _mode(terms.wandb)
    for name in ("checkpoint_seconds", "checkpoint_steps"):
        if (value := getattr(terms, name)) < 0:
            raise UserError(f"{name} = {value}: should be 0 or more")
    work, workers = prepare(terms.out, terms.device, terms.data_dir, terms.workers)
    work = replace(
        work,
        checkpoint_seconds=terms.checkpoint_seconds or None,
        checkpoint_steps=terms.checkpoint_steps or None,
    )
    plan = plan_runs(protocols, work, workers, terms.download, say)
    from cl_bench.tracking.sink import Sink

    with Sink(mode, directory=work.out, say=say) as sink:
        if mode != Mode.DISABLED:
            say(sink.describe())
        _send(sink, plan.stored, work.out)

        def on_finished(stack: Stack) -> None:
            _send(sink, stack.configs, work.out)

        failures = train(plan, work, workers, on_finished=on_finished, go_on=go_on, say=say)
    return Done(plan, tuple(failures))


def _mode(text: str) -> Mode:
    names = {"off": Mode.DISABLED, **{mode.value: mode for mode in Mode}}
    if text not in names:
        raise unknown("W&B mode", text, names)
    return names[text]


def _send(sink: Sink, configs: Sequence[RunConfig], out: Path) -> None:
    """Send stored runs to W&B, unless they are there; a sink never fails a run."""
    from cl_bench.results.store import RunStore

    if sink.mode == Mode.DISABLED:
        return
    store = RunStore(out)
    for config in configs:
        run = store.open(store.directory(config))
        if not sink.sent_before(config.run_id, run.content["weights_sha256"]):
            sink.send(run.record())
