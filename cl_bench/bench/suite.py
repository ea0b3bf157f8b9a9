"""What is measured, in turns on one core: training, evaluation, the peak, and every strategy.

Each figure is a rate of this suite, a rate of what it is compared with, and their ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.bench.timing import Contender, Row, compare, lone, take_turns
from cl_bench.bench.workload import LARGE, SMALL, TASK, Shape
from cl_bench.engine.threads import one_thread
from cl_bench.planning import finding

if TYPE_CHECKING:
    from avalanche.benchmarks import NCScenario

    from cl_bench.bench.ours import OurTasks
    from cl_bench.benchmarks import Benchmark

TARGETS: dict[tuple[str, Shape], float] = {
    ("naive", SMALL): 20,
    ("ewc", SMALL): 50,
    ("evaluation", SMALL): 10,
    ("naive", LARGE): 10,
    ("ewc", LARGE): 30,
    ("evaluation", LARGE): 10,
}
"""The least ratios to Avalanche that the suite sets itself, for a stack."""
PEER_FIRST_TASK = 512
"""Images the peer sees of its first task: enough for its penalty to exist."""
PEERS = {
    "shipped": "Avalanche 0.6, PermutedMNIST as shipped",
    "plain": "Avalanche 0.6, PermutedMNIST without normalising each image",
}


@dataclass(frozen=True)
class Effort:
    """How much is timed."""

    rounds: int
    """Turns of every contender."""
    stack: int
    """Runs of the stack."""
    our_images: int
    """Training images of ours a turn, all runs together."""
    peer_images: int
    """Training images of the peer a turn."""
    shapes: tuple[Shape, ...] = (SMALL, LARGE)
    train_samples: int | None = None
    """Images of each task; None is all of them."""
    test_samples: int | None = None
    strategy_rounds: int = 1
    strategy_runs: int = 1
    strategy_samples: int | None = None
    """Images of each task of the runs that compare strategies; None is all of them."""
    strategies: tuple[str, ...] | None = None
    """Strategies compared with naive; None is every one that is registered."""


FULL = Effort(
    rounds=5,
    stack=8,
    our_images=50_000,
    peer_images=2560,
    strategy_rounds=2,
    strategy_runs=1,
    strategy_samples=20_000,
)
QUICK = Effort(
    rounds=3,
    stack=4,
    our_images=12_000,
    peer_images=1280,
    train_samples=4000,
    test_samples=1000,
    strategy_samples=4000,
)


def measure(
    data_dir: Path | None = None,
    effort: Effort = FULL,
    on_progress: Callable[[str], None] = lambda what: None,
) -> list[dict[str, Any]]:
    """Return one row a comparison (`timing.Row`); torch uses one thread throughout.

    Args:
        data_dir: folder to search first for the data.
        effort: how much is timed.
        on_progress: told what is timed next.

    Raises:
        UserError: the data are not available.
    """
    from cl_bench.bench.ours import OurTasks, make_benchmark
    from cl_bench.bench.peak import matrix_product_peak

    rows: list[Row] = []
    with one_thread():
        benchmark = make_benchmark(data_dir, effort.train_samples, effort.test_samples)
        on_progress("preparing data")
        stacks = [OurTasks(benchmark, runs) for runs in dict.fromkeys((effort.stack, 1))]
        streams = _peer_streams(benchmark, effort)
        peak = matrix_product_peak()
        for shape in effort.shapes:
            for strategy in ("naive", "ewc"):
                on_progress(f"training: {strategy}, {shape.name}")
                rows += _training(strategy, shape, stacks, streams, effort)
                peak = max(peak, matrix_product_peak())
            on_progress(f"evaluation: {shape.name}")
            rows += _evaluation(shape, stacks, streams, effort)
        rows += _peak(rows, peak, effort)
        rows += _strategy_rates(data_dir, effort, on_progress)
    return [row.as_dict() for row in rows]


def _peer_streams(benchmark: Benchmark, effort: Effort) -> dict[str, NCScenario]:
    from cl_bench.bench.avalanche_peer import make_stream, peer_tasks
    from cl_bench.benchmarks.permuted import Permuted

    assert isinstance(benchmark, Permuted)
    tasks = peer_tasks(benchmark, 0, (PEER_FIRST_TASK, effort.peer_images))
    return {peer: make_stream(tasks, normalise=peer == "shipped") for peer in PEERS}


def _training(
    strategy: str,
    shape: Shape,
    stacks: Sequence[OurTasks],
    streams: dict[str, NCScenario],
    effort: Effort,
) -> list[Row]:
    from cl_bench.bench.avalanche_peer import AvalanchePeer
    from cl_bench.bench.ours import OurSide

    def peer(stream: NCScenario) -> float:
        # A fresh one each time: EWC adds an anchor with every task that it is trained on.
        side = AvalanchePeer(stream, strategy, shape)
        side.train(0)
        return len(stream.train_stream[TASK].dataset) / side.train(TASK)

    ours: dict[str, Contender] = {
        f"R{stack.runs}": partial(OurSide(stack, strategy, shape).train, effort.our_images)
        for stack in stacks
    }
    return _against_peers(strategy, shape, ours, peer, streams, effort)


def _evaluation(
    shape: Shape, stacks: Sequence[OurTasks], streams: dict[str, NCScenario], effort: Effort
) -> list[Row]:
    from cl_bench.bench.avalanche_peer import AvalanchePeer
    from cl_bench.bench.ours import OurSide

    def peer(stream: NCScenario) -> float:
        seconds, _ = AvalanchePeer(stream, "naive", shape).evaluate(TASK)
        return len(stream.test_stream[TASK].dataset) / seconds

    sides = [OurSide(stack, "naive", shape) for stack in stacks]
    for side in sides:
        side.evaluate()
    ours: dict[str, Contender] = {f"R{side.tasks.runs}": side.evaluate for side in sides}
    ours[f"R{effort.stack}/first time"] = sides[0].evaluate_first
    return _against_peers("evaluation", shape, ours, peer, streams, effort)


def _against_peers(
    what: str,
    shape: Shape,
    ours: dict[str, Contender],
    peer: Callable[[NCScenario], float],
    streams: dict[str, NCScenario],
    effort: Effort,
) -> list[Row]:
    """Let ours and the peers take turns; the first of ours, a stack, has the target."""
    contenders: dict[str, Contender] = dict(ours)
    contenders |= {name: partial(peer, stream) for name, stream in streams.items()}
    rates = take_turns(contenders, effort.rounds)
    batch = "" if what == "evaluation" else f"/B{shape.batch_size}"
    rows = []
    for number, variant in enumerate(ours):
        name = f"{what}/{shape.name}{batch}/{variant}"
        target = TARGETS.get((what, shape)) if number == 0 else None
        rows.append(
            compare(name, rates[variant], rates["shipped"], PEERS["shipped"], target=target)
        )
        if number == 0:
            rows.append(compare(f"{name}/plain", rates[variant], rates["plain"], PEERS["plain"]))
    return rows


def _peak(rows: Sequence[Row], peak: float, effort: Effort) -> list[Row]:
    """Return the peak, and the share of it that naive training reaches in matrix products."""
    giga = 1e9
    found = [lone("peak", peak / giga, "GFLOP/s", "best of square float32 products")]
    rates = {row.name: row.ours for row in rows}
    for shape in effort.shapes:
        for runs in dict.fromkeys((effort.stack, 1)):
            name = f"{shape.name}/B{shape.batch_size}/R{runs}"
            reached = rates[f"naive/{name}"] * shape.training_flops
            row = compare(
                f"share of peak/{name}", [reached / giga], [peak / giga], "peak", unit="GFLOP/s"
            )
            found.append(replace(row, ratio_min=None, ratio_max=None))
    return found


def _strategy_rates(
    data_dir: Path | None, effort: Effort, on_progress: Callable[[str], None]
) -> list[Row]:
    """Return each strategy's rate beside that of naive, at equally many gradients taken."""
    from cl_bench.bench.ours import make_split_benchmark, whole_run_rate

    benchmark = make_split_benchmark(data_dir, effort.strategy_samples)
    names = [n for n in effort.strategies or finding.strategy_names() if n != "naive"]

    def contender(name: str) -> float:
        on_progress(f"strategies: {name}")
        return whole_run_rate(benchmark, name, SMALL, effort.strategy_runs, data_dir)

    contenders = {name: partial(contender, name) for name in ("naive", *names)}
    contender("naive")  # the first run of a process is slower
    rates = take_turns(contenders, effort.strategy_rounds)
    return [
        compare(f"strategy-rate/{name}", rates[name], rates["naive"], "naive") for name in names
    ]
