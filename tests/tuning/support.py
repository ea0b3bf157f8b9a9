"""What the tests of tuning share: a small protocol, a strategy with a bad default, a driver."""

from __future__ import annotations

from pathlib import Path

from cl_bench import benchmarks
from cl_bench.execution.worker import Work, execute
from cl_bench.planning import reading
from cl_bench.planning.packing import make_plan
from cl_bench.results.store import RunStore
from cl_bench.tuning.search import Method
from cl_bench.tuning.study import Request, Study, drive

SMALL = [
    "benchmark.name=permuted-mnist-5k",
    "benchmark.tasks=2",
    "benchmark.train_samples=600",
    "benchmark.test_samples=200",
    "training.batch_size=10",
    "network.hidden=[16]",
]
HOLD = '''"""Holds the weights where the last task left them, far too firmly by default."""

from cl_bench import Strategy, setting


class Hold(Strategy):
    title = "Hold"
    source = "a test"

    strength: float = setting(1e3, "the pull", low=0, high=1e6, tune=(1e-3, 1e3), log=True)
    delay: int = setting(1, "steps before it pulls", low=1)

    def begin_task(self, task):
        self.anchor = self.theta.clone()
        self.first = task.index == 0

    def after_step(self, batch):
        if not self.first and self.learner.step_number >= self.delay:
            self.theta.sub_(self.anchor).div_(1 + 0.1 * self.strength).add_(self.anchor)
'''


def request(*assignments: str, strategies=("l2",), **terms) -> Request:
    (read,) = reading.read(strategies=list(strategies), assignments=[*SMALL, *assignments])
    method = Method(terms.pop("method", "sobol"))
    return Request(read, method=method, **{"trials": 4, "seeds": 2, **terms})


def train(asked, store: RunStore, **rest):
    """Train what has no record; return the plan."""
    made = make_plan(asked, benchmarks.get, is_stored=store.exists, **rest)
    outcome = execute(made.stacks, Work(store.root))
    assert not outcome.failures
    return made


def tuned(wanted: Request, out: Path) -> dict:
    """Return the records of a request's strategies by name."""
    wanted.check()
    store = RunStore(out)
    studies = [Study(wanted, name, benchmarks.get) for name in wanted.protocol.strategies]
    drive(studies, store, lambda asked: train(asked, store))
    return {study.name: study.record(store, "cpu") for study in studies}
