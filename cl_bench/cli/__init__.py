"""The command line: one file a command, each thin: parse, call, print."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 (a run failed) or 2 (a mistake).

    Args:
        arguments: what was typed after the program's name; None takes it from the process.
    """
    from cl_bench.cli.app import run_app

    return run_app(arguments)
