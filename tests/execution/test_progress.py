"""What a user is told of a plan: how far it is, what failed and why, what was trained."""

import io
from typing import Any

import pytest

from cl_bench import benchmarks
from cl_bench.execution.progress import PlanProgress, describe
from cl_bench.execution.worker import Work, execute
from cl_bench.planning import finding, packing, reading

SMALL = [
    "benchmark.name=permuted-mnist-5k",
    "benchmark.tasks=1",
    "benchmark.train_samples=200",
    "benchmark.test_samples=50",
    "network.hidden=[8]",
]
FAULTY = '''"""Fails in its own way at each seed."""
from cl_bench.engine.strategy import Strategy


class Wrong(Strategy):
    def begin_task(self, task):
        raise RuntimeError(f"a fault with weights {float(self.theta.sum())}")
'''


def planned(*assignments, strategies=("naive",)):
    read = reading.read(strategies=list(strategies), assignments=[*SMALL, *assignments])
    return packing.make_plan(read, benchmarks.get, max_runs=2)


def test_progress_ends_with_what_was_trained_and_is_whole_only_then():
    stream = io.StringIO()
    stored: list[Any] = []
    stacks = planned("seeds=5").stacks
    with PlanProgress(stacks, stream=stream, on_finished=stored.append) as progress:
        for number, stack in enumerate(stacks):
            progress.next_line = 0.0
            progress.progress(number, "", 1.0)
            progress.next_line = 0.0
            progress.finished(number)
            assert stored[-1] is stack
    *lines, last = stream.getvalue().splitlines()
    counts = [line.partition(", ")[2].partition(",")[0] for line in lines]
    assert counts == [f"{n} of 5 runs" for n in (0, 2, 2, 4, 4, 5)]
    assert not any(line.startswith("100%") for line in lines)
    assert last.startswith("trained 5 of 5 runs in 0:0")
    assert last.endswith(": 5 of naive")


def test_a_fault_prints_its_traceback_once_and_says_how_many_stacks_failed_so(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(finding, "_added", {})
    (tmp_path / "wrong.py").write_text(FAULTY)
    stream = io.StringIO()
    made = planned("seeds=5", strategies=[str(tmp_path / "wrong.py"), "naive"])
    assert len(made.stacks) == 6
    with PlanProgress(made.stacks, stream=stream) as progress:
        execute(made.stacks, Work(tmp_path / "runs"), watcher=progress)
    said = stream.getvalue()
    assert said.count("Traceback") == said.count("failed: wrong (seeds 0, 1): RuntimeError") == 1
    assert "failed in the same way as wrong (seeds 0, 1): 2 more stacks: wrong" in said
    assert said.splitlines()[-1].startswith("trained 5 of 10 runs in ")


def test_stacks_of_one_strategy_and_seed_are_told_apart_by_what_they_differ_in(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "wrong.py"
    path.write_text(FAULTY)
    made = [
        stack
        for hidden in ("[8]", "[9, 9]")
        for stack in planned(
            "seeds=1", f"network.hidden={hidden}", strategies=[str(path), "ewc"]
        ).stacks
    ]
    stream = io.StringIO()
    with PlanProgress(made, stream=stream) as progress:
        execute(made, Work(tmp_path / "runs"), watcher=progress)
    said = stream.getvalue()
    assert "failed: wrong (seed 0; network.hidden=[8]): RuntimeError" in said
    assert "as wrong (seed 0; network.hidden=[8]): 1 more stack: wrong (seed 0; network." in said
    one, other = planned("seeds=1", "ewc.strength=[1,2,3]", strategies=["ewc"]).stacks
    told = [describe(stack, [one, other]) for stack in (one, other)]
    assert sorted(told) == ["ewc (seed 0; strength=1 or 2)", "ewc (seed 0; strength=3)"]


def test_an_interrupted_plan_says_nothing_of_what_was_trained():
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), PlanProgress(planned().stacks, stream=stream):
        raise KeyboardInterrupt
    assert stream.getvalue() == ""
