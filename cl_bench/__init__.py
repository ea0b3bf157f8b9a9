"""cl_bench: how much does each continual-learning method forget?

Importing the package costs nothing; `cl_bench.load("runs")` returns finished runs as a tidy
DataFrame, `cl_bench.to_avalanche(benchmark, seed)` a task stream as Avalanche has them,
`cl_bench.StrategyPlugin("flatness")` a strategy for Avalanche's training loop, and the command
line is `python -m cl_bench`.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Asks MKL, which reads this at its first product, for results that depend neither on how memory
# is aligned nor on instructions that only newer machines have.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

if TYPE_CHECKING:
    from cl_bench.avalanche.plugin import StrategyPlugin
    from cl_bench.avalanche.to_avalanche import to_avalanche
    from cl_bench.results.frames import load

    __version__: str

__all__ = ["StrategyPlugin", "__version__", "load", "to_avalanche"]


_ELSEWHERE = {
    "load": "cl_bench.results.frames",
    "to_avalanche": "cl_bench.avalanche.to_avalanche",
    "StrategyPlugin": "cl_bench.avalanche.plugin",
}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("cl_bench")
        except PackageNotFoundError:  # imported from a source tree that was never installed
            return "0+unknown"
    raise AttributeError(f"module 'cl_bench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
