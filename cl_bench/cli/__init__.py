"""The command line: one file a command, each thin: parse, call, print."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from cl_bench.execution.signals import Interrupted, interruptible


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 (a run failed) or 2 (a mistake).

    It is 130 after Ctrl-C, and then there is no traceback, whatever it fell into.

    Args:
        arguments: what was typed after the program's name; None takes it from the process.
    """
    try:
        with interruptible(signal.SIGINT):
            from cl_bench.cli.app import run_app

            return run_app(arguments)
    except Interrupted as stopped:
        return stopped.exit_code
