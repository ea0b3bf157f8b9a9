"""cl_bench: how much does each continual-learning method forget?

Importing the package costs nothing. `cl_bench.run(["ewc", "flatness"], "split-mnist")` trains
strategies, `cl_bench.load("runs")` returns finished runs as a tidy DataFrame,
`cl_bench.to_avalanche(benchmark, seed)` a task stream as Avalanche has them,
`cl_bench.StrategyPlugin("flatness")` a strategy for Avalanche's training loop, and the command
line is `python -m cl_bench`. `Strategy`, `setting` and the rest are what a strategy of one's own
is written with (docs/strategies.md).
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Asks MKL, which reads this at its first product, for results that depend neither on how memory
# is aligned nor on instructions that only newer machines have.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

if TYPE_CHECKING:
    from cl_bench.api.running import run
    from cl_bench.api.runs import Runs
    from cl_bench.api.training import TrainingError
    from cl_bench.api.tuning import Tuned, tune
    from cl_bench.avalanche.plugin import StrategyPlugin
    from cl_bench.avalanche.to_avalanche import to_avalanche
    from cl_bench.benchmarks.tasks import Tasks
    from cl_bench.config import Scenario
    from cl_bench.engine.learner import Learner
    from cl_bench.engine.losses import cross_entropy, masked
    from cl_bench.engine.settings import setting
    from cl_bench.engine.state import Kept
    from cl_bench.engine.strategy import Strategy
    from cl_bench.engine.tasks import Batch, TaskData
    from cl_bench.engine.trained import Trained
    from cl_bench.errors import UserError
    from cl_bench.methods.consolidation import Consolidation
    from cl_bench.methods.exploration import Exploration
    from cl_bench.methods.fisher import diagonal_fisher
    from cl_bench.methods.kronecker import Kronecker
    from cl_bench.methods.precision import Diagonal, LowRank, Precision
    from cl_bench.methods.projection import Projection
    from cl_bench.methods.replay import Buffer, Replay
    from cl_bench.results.frames import load

    __version__: str

_HOME = {
    "api.running": ("run",),
    "api.runs": ("Runs",),
    "api.training": ("TrainingError",),
    "api.tuning": ("Tuned", "tune"),
    "benchmarks.tasks": ("Tasks",),
    "errors": ("UserError",),
    "avalanche.plugin": ("StrategyPlugin",),
    "avalanche.to_avalanche": ("to_avalanche",),
    "config": ("Scenario",),
    "engine.learner": ("Learner",),
    "engine.losses": ("cross_entropy", "masked"),
    "engine.settings": ("setting",),
    "engine.state": ("Kept",),
    "engine.strategy": ("Strategy",),
    "engine.tasks": ("Batch", "TaskData"),
    "engine.trained": ("Trained",),
    "methods.consolidation": ("Consolidation",),
    "methods.exploration": ("Exploration",),
    "methods.fisher": ("diagonal_fisher",),
    "methods.kronecker": ("Kronecker",),
    "methods.precision": ("Diagonal", "LowRank", "Precision"),
    "methods.projection": ("Projection",),
    "methods.replay": ("Buffer", "Replay"),
    "results.frames": ("load",),
}
"""Where each public name is, which is imported when it is first asked for."""
_ELSEWHERE = {name: f"cl_bench.{module}" for module, names in _HOME.items() for name in names}

__all__ = [
    "Batch",
    "Buffer",
    "Consolidation",
    "Diagonal",
    "Exploration",
    "Kept",
    "Kronecker",
    "Learner",
    "LowRank",
    "Precision",
    "Projection",
    "Replay",
    "Runs",
    "Scenario",
    "Strategy",
    "StrategyPlugin",
    "TaskData",
    "Tasks",
    "Trained",
    "TrainingError",
    "Tuned",
    "UserError",
    "__version__",
    "cross_entropy",
    "diagonal_fisher",
    "load",
    "masked",
    "run",
    "setting",
    "to_avalanche",
    "tune",
]


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
