"""Does the parts of some work, several at a time in processes of their own.

It knows nothing of what a part is: a worker that dies takes its part with it and nothing else,
and an interrupted pool leaves nothing running; what the parts have kept by then is theirs.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from cl_bench.errors import UserError
from cl_bench.execution.signals import interruptible, uninterrupted
from cl_bench.execution.starting import starting

GRACE = 2.0
"""Seconds that workers are given to end before they are killed."""
REPORT_EVERY = 0.2
"""Seconds between a part's reports of progress, unless it turns to something else."""

Part = TypeVar("Part")
Report = Callable[[str, float], None]
"""Is told what is being done ("" where a part is all one), and the share of it that is done."""
Function = Callable[[Part, Report], None]
"""Does a part; what comes of it, it keeps itself."""


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Failure(Generic[Part]):
    """A part that was not done."""

    part: Part
    number: int
    """The part's position."""
    reason: str
    """One line."""
    traceback: str = ""
    """Set where it is a fault, rather than a mistake of the user's or a worker's death."""


@dataclass
class Outcome(Generic[Part]):
    """What came of the parts, in the order in which they ended."""

    finished: list[Part] = field(default_factory=list)
    failures: list[Failure[Part]] = field(default_factory=list)


class Watcher(Generic[Part]):
    """Is told how the parts get on; the base class keeps silent."""

    def progress(self, number: int, doing: str, share: float) -> None:
        """Be told what the part with this position does, and how much of that is done."""

    def finished(self, number: int) -> None:
        """Be told that a part is done."""

    def failed(self, failure: Failure[Part]) -> None:
        """Be told that a part has failed."""


def carry_out(
    function: Function[Part],
    parts: Sequence[Part],
    *,
    workers: int = 1,
    watcher: Watcher[Part] | None = None,
    here: Callable[[Part], bool] = lambda part: False,
) -> Outcome[Part]:
    """Do every part; one that fails does not stop the others.

    With one worker, or one part, this happens in the calling process.

    Args:
        function: can be pickled, as the parts can.
        parts: what to do, in this order.
        workers: how many processes work at the same time, on one part each.
        watcher: is told of progress, of each finished part and of each failure.
        here: whether the calling process alone can do a part; it does so while others work.

    Raises:
        Interrupted: on SIGINT or SIGTERM, once all workers have ended.
    """
    pool = _Pool(function, parts, watcher or Watcher(), here)
    with interruptible(signal.SIGINT, signal.SIGTERM):
        if min(workers, len(parts)) <= 1:
            pool.run_here()
        else:
            pool.run(min(workers, len(parts)))
    return pool.outcome


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    number: int | None = None
    """Position of the part it does."""


class _Pool(Generic[Part]):
    """The parent's side of the worker processes."""

    def __init__(
        self,
        function: Function[Part],
        parts: Sequence[Part],
        watcher: Watcher[Part],
        here: Callable[[Part], bool],
    ) -> None:
        self.function = function
        self.parts = parts
        self.watcher = watcher
        self.own = [number for number, part in enumerate(parts) if here(part)]
        self.queue = [number for number in range(len(parts)) if number not in self.own]
        self.workers: list[_Worker] = []
        self.outcome: Outcome[Part] = Outcome()

    def run_here(self) -> None:
        for number in range(len(self.parts)):
            self._do(number, partial(self.watcher.progress, number))

    def run(self, size: int) -> None:
        try:
            for _ in range(min(size - bool(self.own), len(self.queue))):
                self._start()
            for number in self.own:
                self._do(number, partial(self._progress_here, number))
            if self.own and self.queue:
                self._start()  # in the place of this process
            while self.workers:
                self._listen_to_all(None)
        finally:
            with uninterrupted():
                self._stop()

    def _do(self, number: int, report: Report) -> None:
        """Do a part in this process."""
        try:
            with redirect_stdout(sys.stderr):  # what a strategy prints is no result
                self.function(self.parts[number], _throttled(report))
        except (Exception, SystemExit) as error:
            self._fail(number, *_explain(error))
        else:
            self._finish(number)

    def _progress_here(self, number: int, doing: str, share: float) -> None:
        self.watcher.progress(number, doing, share)
        self._listen_to_all(0)

    def _listen_to_all(self, seconds: float | None) -> None:
        """Hear what workers have sent; None waits for it."""
        ready = wait([worker.connection for worker in self.workers], seconds)
        for worker in [w for w in self.workers if w.connection in ready]:
            self._listen(worker)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.function), daemon=True)
        with starting():
            process.start()
            worker = _Worker(process, ours)
            self.workers.append(worker)
        theirs.close()
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        """Send a worker its next part, or let it end."""
        worker.number = self.queue.pop(0) if self.queue else None
        try:
            # In a tuple, for a part may be anything; None ends the worker.
            worker.connection.send(None if worker.number is None else (self.parts[worker.number],))
        except (BrokenPipeError, ConnectionResetError):
            return  # it has died; the pipe's end is heard next
        if worker.number is None:
            self.workers.remove(worker)
            worker.process.join(GRACE)
            worker.connection.close()

    def _listen(self, worker: _Worker) -> None:
        assert worker.number is not None
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._died(worker)
            return
        if kind == "progress":
            self.watcher.progress(worker.number, *content)
            return
        number = worker.number
        self._give(worker)  # first, so that it works on while the watcher acts
        if kind == "done":
            self._finish(number)
        else:
            self._fail(number, *content)

    def _died(self, worker: _Worker) -> None:
        assert worker.number is not None
        worker.process.join(GRACE)
        code = worker.process.exitcode
        how = f"exit code {code}"
        if code is not None and code < 0:
            how = signal.Signals(-code).name
            if -code == signal.SIGKILL:
                how += ", perhaps for want of memory: fewer --workers need less"
        self.workers.remove(worker)
        worker.connection.close()
        self._fail(worker.number, f"its worker process was ended ({how})")
        if self.queue:
            self._start()

    def _finish(self, number: int) -> None:
        self.outcome.finished.append(self.parts[number])
        self.watcher.finished(number)

    def _fail(self, number: int, reason: str, traceback: str = "") -> None:
        failure = Failure(self.parts[number], number, reason, traceback)
        self.outcome.failures.append(failure)
        self.watcher.failed(failure)

    def _stop(self) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(GRACE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _serve(connection: Connection, function: Function[Part]) -> None:
    """Do every part that comes through the pipe, in a process of its own, until None comes.

    It sends ("progress", doing, share) now and then, and for each part in the end ("done",) or
    ("failed", one line, traceback). It ends when its parent is gone, so that nothing is left
    running behind a killed command; what the parent still wanted can be resumed.
    """
    # Ctrl-C reaches the whole group of processes; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def send(*message: object) -> None:
        try:
            connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise _ParentGone from None

    with suppress(_ParentGone, EOFError, ConnectionResetError):
        while (given := connection.recv()) is not None:
            try:
                with redirect_stdout(sys.stderr):
                    function(given[0], _throttled(partial(send, "progress")))
            except (Exception, SystemExit) as error:
                send("failed", *_explain(error))
            else:
                send("done")


def _throttled(tell: Report) -> Report:
    """Return what may be called at every step and tells now and then; the first and the last."""
    last, before = -math.inf, ""

    def report(doing: str, share: float) -> None:
        nonlocal last, before
        now = time.monotonic()
        if doing != before or share >= 1 or now - last >= REPORT_EVERY:
            last, before = now, doing
            tell(doing, share)

    return report


class _ParentGone(BaseException):
    """Nobody is left to work for; not an `Exception`, so that a part's own code lets it pass."""


def _explain(error: BaseException) -> tuple[str, str]:
    """Return an error in one line, and its traceback where it is a fault."""
    if isinstance(error, UserError):
        return str(error), ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}", "".join(traceback.format_exception(error))
