"""Lets `python -m cl_bench` be the command line."""

import sys

from cl_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
