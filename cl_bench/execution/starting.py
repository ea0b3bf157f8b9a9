"""What holds while a worker process starts, and so for all that it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import ModuleType

from cl_bench.execution.signals import ctrl_c_held_back

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def starting() -> Iterator[None]:
    """Let processes that start in here take one thread, never get Ctrl-C, and know no program."""
    resource_tracker.ensure_running()  # which would let Ctrl-C in again
    with _one_thread_each(), ctrl_c_held_back(), _program_left_out():
        yield


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start in here take one thread, in every library they load."""
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
def _program_left_out() -> Iterator[None]:
    """Let processes that start in here not import the running program, as spawned ones would.

    What they do stands in modules of its own, and a script that is imported would run again.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program
