"""Lets `python -m cl_bench` be the command line."""

import signal
import sys

from cl_bench.cli import main


def script() -> int:
    """Run the command line as a program of its own, and return its exit code."""
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is Python's own tidying up
    return code


if __name__ == "__main__":
    sys.exit(script())
