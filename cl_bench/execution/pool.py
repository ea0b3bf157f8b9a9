"""Trains the stacks of a plan, several at a time in processes of their own.

A worker that dies takes its stack with it and nothing else; an interrupted plan leaves every
finished run's record in place, so that the same command resumes it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from cl_bench.execution.worker import Work, explain, serve, train_and_store
from cl_bench.planning.packing import Stack

GRACE = 2.0
"""Seconds that workers are given to end before they are killed."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Interrupted(KeyboardInterrupt):
    """The user (Ctrl-C) or the system (SIGTERM) has asked the plan to stop.

    Args:
        signal_number: what was received; the exit code is 128 more.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


@dataclass(frozen=True)
class Failure:
    """A stack that has no records."""

    stack: Stack
    reason: str
    """One line."""
    traceback: str = ""
    """Set where the suite itself is at fault."""


@dataclass
class Outcome:
    """What came of a plan."""

    finished: list[Stack] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Watcher:
    """Is told how a plan gets on; the base class keeps silent."""

    def progress(self, stack: int, done: int, total: int) -> None:
        """Be told the steps done, and all steps, of the stack with this position."""

    def finished(self, stack: int) -> None:
        """Be told that a stack is trained and stored."""

    def failed(self, failure: Failure) -> None:
        """Be told that a stack has failed."""


def execute(
    stacks: Sequence[Stack], work: Work, *, workers: int = 1, watcher: Watcher | None = None
) -> Outcome:
    """Train every stack and store its records; one that fails does not stop the others.

    With one worker, or one stack, this happens in the calling process.

    Args:
        stacks: what to train, in this order.
        work: what all stacks share.
        workers: how many processes train at the same time, one stack each.
        watcher: is told of progress, of each finished stack and of each failure.

    Raises:
        Interrupted: on SIGINT or SIGTERM, once all workers have ended.
    """
    watcher = watcher or Watcher()
    workers = min(workers, len(stacks))
    with _interruptible():
        if workers <= 1:
            return _execute_here(stacks, work, watcher)
        return _Pool(stacks, work, workers, watcher).run()


def _execute_here(stacks: Sequence[Stack], work: Work, watcher: Watcher) -> Outcome:
    outcome = Outcome()
    for number, stack in enumerate(stacks):

        def report(done: int, total: int, number: int = number) -> None:
            watcher.progress(number, done, total)

        try:
            train_and_store(stack, work, report)
        except Exception as error:
            failure = Failure(stack, *explain(error))
            outcome.failures.append(failure)
            watcher.failed(failure)
        else:
            outcome.finished.append(stack)
            watcher.finished(number)
    return outcome


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    stack: int | None = None
    """Position of the stack it trains."""


class _Pool:
    """The parent's side of a plan's worker processes."""

    def __init__(self, stacks: Sequence[Stack], work: Work, workers: int, watcher: Watcher) -> None:
        self.stacks = stacks
        self.work = work
        self.watcher = watcher
        self.size = workers
        self.queue = list(range(len(stacks)))
        self.workers: list[_Worker] = []
        self.outcome = Outcome()

    def run(self) -> Outcome:
        try:
            with _environment():
                for _ in range(self.size):
                    self._start()
            while self.workers:
                ready = wait([worker.connection for worker in self.workers])
                for worker in [w for w in self.workers if w.connection in ready]:
                    self._listen(worker)
        finally:
            self._stop()
        return self.outcome

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self.work), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self.workers.append(worker)
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        """Send a worker its next stack, or let it end."""
        worker.stack = self.queue.pop(0) if self.queue else None
        try:
            worker.connection.send(None if worker.stack is None else self.stacks[worker.stack])
        except (BrokenPipeError, ConnectionResetError):
            return  # it has died; the pipe's end is heard next
        if worker.stack is None:
            self.workers.remove(worker)
            worker.process.join(GRACE)
            worker.connection.close()

    def _listen(self, worker: _Worker) -> None:
        assert worker.stack is not None
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._died(worker)
            return
        if kind == "progress":
            self.watcher.progress(worker.stack, *content)
            return
        stack = worker.stack
        self._give(worker)  # first, so that it works on while the watcher acts
        if kind == "done":
            self.outcome.finished.append(self.stacks[stack])
            self.watcher.finished(stack)
        else:
            self._fail(stack, *content)

    def _died(self, worker: _Worker) -> None:
        assert worker.stack is not None
        worker.process.join(GRACE)
        code = worker.process.exitcode
        how = f"exit code {code}"
        if code is not None and code < 0:
            how = signal.Signals(-code).name
            if -code == signal.SIGKILL:
                how += ", perhaps for want of memory: fewer --workers need less"
        self.workers.remove(worker)
        worker.connection.close()
        self._fail(worker.stack, f"its worker process was ended ({how})")
        if self.queue:
            with _environment():
                self._start()

    def _fail(self, stack: int, reason: str, traceback: str = "") -> None:
        failure = Failure(self.stacks[stack], reason, traceback)
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


@contextmanager
def _environment() -> Iterator[None]:
    """Let workers that start in here take one thread, in every library they load."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Interrupted`; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)  # once is enough: what follows is tidying up
        raise Interrupted(number)

    before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {
        each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
