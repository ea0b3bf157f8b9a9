"""Shows on stderr how far a whole plan is and how long it still takes.

On a terminal it is one line that moves; elsewhere a plain line now and then, for logs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TextIO

from cl_bench.execution.pool import Failure, Watcher
from cl_bench.planning.packing import Stack

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


class PlanProgress(Watcher):
    """A watcher that draws progress; use it as a context.

    Args:
        stacks: the plan's stacks.
        stream: where it writes; None is stderr.
        on_finished: called with each stack whose records are stored.
    """

    def __init__(
        self,
        stacks: Sequence[Stack],
        *,
        stream: TextIO | None = None,
        on_finished: Callable[[Stack], None] = lambda stack: None,
    ) -> None:
        self.stacks = stacks
        self.stream = stream or sys.stderr
        self.on_finished = on_finished
        self.shares = [0.0] * len(stacks)
        self.whole = sum(stack.work for stack in stacks) or 1.0
        self.runs = sum(len(stack.configs) for stack in stacks)
        self.runs_done = 0
        self.started = time.monotonic()
        self.first_progress: tuple[float, float] | None = None
        self.next_line = self.started + PLAIN_EVERY
        self._bar: Any = None

    def __enter__(self) -> PlanProgress:
        if self.stream.isatty():
            self._bar = _bar(self.stream)
            self._bar.start()
            self._task = self._bar.add_task(self._text(), total=1.0, to_go="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, stack: int, done: int, total: int) -> None:
        self.shares[stack] = max(self.shares[stack], done / total if total else 0.0)
        self._draw()

    def finished(self, stack: int) -> None:
        self.shares[stack] = 1.0
        self.runs_done += len(self.stacks[stack].configs)
        self.on_finished(self.stacks[stack])
        self._draw()

    def failed(self, failure: Failure) -> None:
        self.shares[self.stacks.index(failure.stack)] = 1.0
        names = describe(failure.stack)
        self._say(f"{failure.traceback}failed: {names}: {failure.reason}")

    @property
    def done(self) -> float:
        """Return the share of the whole plan that is done, 0 to 1."""
        pairs = zip(self.shares, self.stacks, strict=True)
        return sum(share * stack.work for share, stack in pairs) / self.whole

    def time_to_go(self) -> float | None:
        """Return the seconds that are left at the rate since the first progress."""
        now, done = time.monotonic(), self.done
        if self.first_progress is None:
            if done > 0:
                self.first_progress = (now, done)
            return None
        since, before = self.first_progress
        if done <= before or now - since < 1.0:
            return None
        return (1 - done) * (now - since) / (done - before)

    def _text(self) -> str:
        return f"{self.runs_done} of {self.runs} runs"

    def _draw(self) -> None:
        left = self.time_to_go()
        to_go = f"{clock(left)} to go" if left is not None else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=self._text(), to_go=to_go)
        elif time.monotonic() >= self.next_line:
            self.next_line = time.monotonic() + PLAIN_EVERY
            self._say(f"{self.done:.0%}, {self._text()}" + (f", {to_go}" if to_go else ""))

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self.stream, flush=True)


def describe(stack: Stack) -> str:
    """Return the runs of a stack in a few words."""
    strategies = dict.fromkeys(config.strategy.name for config in stack.configs)
    seeds = sorted({config.seed for config in stack.configs})
    word = "seed" if len(seeds) == 1 else "seeds"
    return f"{', '.join(strategies)} ({word} {', '.join(map(str, seeds))})"


def clock(seconds: float) -> str:
    """Return a duration as minutes:seconds, or hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[to_go]}"),
        console=Console(file=stream),
        transient=True,
    )
