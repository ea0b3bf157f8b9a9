"""What Ctrl-C and a polite kill mean: an orderly end, never a traceback.

Nothing heavy is imported here: the command line is interruptible from its first line on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN_SECONDS = 0.05
"""Time after which a signal that came during an import comes again."""
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


class Interrupted(KeyboardInterrupt):
    """The user (Ctrl-C) or the system (SIGTERM) has asked the work to stop.

    Args:
        signal_number: what was received.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number
        """Of the command, as shells have it."""


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[None]:
    """Turn these signals into `Interrupted`; only a main thread can.

    Not in the middle of an import, for what is imported may catch it, print it, or make another
    error of it: the signal comes again when the import has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if not _importing(frame):
            raise Interrupted(number)
        again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    with _handled(stop, signals):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore both signals for a moment of tidying up; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled(signal.SIG_IGN, (signal.SIGINT, signal.SIGTERM)):
        yield


@contextmanager
def _handled(handler: Any, signals: Sequence[signal.Signals]) -> Iterator[None]:
    before = {each: signal.signal(each, handler) for each in signals}
    try:
        yield
    finally:
        for each, own in before.items():
            signal.signal(each, signal.SIG_DFL if own is None else own)


@contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """Let Ctrl-C wait; processes started in here never get it, not even as they start."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
