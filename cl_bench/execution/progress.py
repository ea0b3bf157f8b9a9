"""Shows on stderr how far a whole plan is, how long it still takes, and what came of it.

On a terminal it is one line that moves, in a notebook a bar below the cell; elsewhere a plain line
now and then, for logs.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TextIO

from cl_bench.execution.notebook import NotebookBar, in_notebook
from cl_bench.execution.pool import Failure, Watcher
from cl_bench.plain import flatten
from cl_bench.planning.packing import Stack
from cl_bench.results.labels import setting_text

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


class PlanProgress(Watcher[Stack]):
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
        self.trained: Counter[str] = Counter()
        """Runs that are trained and stored, by strategy."""
        self.faults: dict[tuple[str, ...], list[Failure[Stack]]] = {}
        """Failures that are alike but for the error's own words."""
        self.started = time.monotonic()
        self.first_progress: tuple[float, float] | None = None
        self.next_line = self.started + PLAIN_EVERY
        self._bar: Any = None
        self._cell: NotebookBar | None = None

    def __enter__(self) -> PlanProgress:
        if self.stream.isatty():
            self._bar = _bar(self.stream)
            self._bar.start()
            self._task = self._bar.add_task(self._text(), total=1.0, to_go="")
        elif self.stream is sys.stderr and in_notebook():
            self._cell = NotebookBar()
            self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._cell is not None:
            self._draw()
        for first, *others in self.faults.values():
            if others:
                stacks = "; ".join(self._named(failure.part) for failure in others)
                more = "1 more stack" if len(others) == 1 else f"{len(others)} more stacks"
                self._say(f"failed in the same way as {self._named(first.part)}: {more}: {stacks}")
        if error is None:
            parts = ", ".join(f"{count} of {name}" for name, count in self.trained.items())
            took = clock(time.monotonic() - self.started)
            self._say(f"trained {self._text()} in {took}" + (f": {parts}" if parts else ""))

    def progress(self, number: int, doing: str, share: float) -> None:
        self.shares[number] = max(self.shares[number], share)
        self._draw()

    def finished(self, number: int) -> None:
        self.shares[number] = 1.0
        stack = self.stacks[number]
        self.trained.update(config.strategy.name for config in stack.configs)
        self.on_finished(stack)
        self._draw()

    def failed(self, failure: Failure[Stack]) -> None:
        self.shares[failure.number] = 1.0
        if failure.traceback:
            alike = self.faults.setdefault(_kind(failure), [])
            alike.append(failure)
            if len(alike) > 1:
                return
        self._say(f"{failure.traceback}failed: {self._named(failure.part)}: {failure.reason}")

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

    def _named(self, stack: Stack) -> str:
        return describe(stack, self.stacks)

    def _text(self) -> str:
        return f"{self.trained.total()} of {self.runs} {'run' if self.runs == 1 else 'runs'}"

    def _draw(self) -> None:
        left = self.time_to_go()
        to_go = f"{clock(left)} to go" if left is not None else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=self._text(), to_go=to_go)
        elif self._cell is not None:
            self._cell.update(self.done, self._text() + (f", {to_go}" if to_go else ""))
        elif time.monotonic() >= self.next_line:
            self.next_line = time.monotonic() + PLAIN_EVERY
            share = min(self.done, 0.99)  # what is trained has yet to be stored
            self._say(f"{share:.0%}, {self._text()}" + (f", {to_go}" if to_go else ""))

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self.stream, flush=True)


def _kind(failure: Failure[Stack]) -> tuple[str, ...]:
    """Return what failures that are alike share: strategies, error, and the lines of code."""
    strategies = dict.fromkeys(config.strategy.name for config in failure.part.configs)
    places = [line for line in failure.traceback.splitlines() if line.startswith("  File ")]
    return (*strategies, failure.reason.partition(":")[0], *places)


def describe(stack: Stack, plan: Sequence[Stack] = ()) -> str:
    """Return the runs of a stack in a few words, with what tells it from others of its plan."""
    names, seeds = _names_and_seeds(stack)
    alike = [_values(other) for other in plan if _names_and_seeds(other) == (names, seeds)]
    mine = _values(stack)
    apart = [key for key in mine if any(other.get(key) != mine[key] for other in alike)]
    texts = [
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}",
        *(f"{key.removeprefix('strategy.settings.')}={' or '.join(mine[key])}" for key in apart),
    ]
    return f"{', '.join(names)} ({'; '.join(texts)})"


def _names_and_seeds(stack: Stack) -> tuple[list[str], list[int]]:
    names = dict.fromkeys(config.strategy.name for config in stack.configs)
    return list(names), sorted({config.seed for config in stack.configs})


def _values(stack: Stack) -> dict[str, list[str]]:
    """Return what the configurations of a stack say but for their seeds, by dotted key."""
    found: dict[str, dict[str, None]] = {}
    for config in stack.configs:
        for key, value in flatten(config.model_dump(mode="json", exclude={"seed"})).items():
            found.setdefault(key, {})[setting_text(value)] = None
    return {key: list(texts) for key, texts in found.items()}


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
