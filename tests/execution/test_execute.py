"""Plans carried out: the same bits in one process or several, faults that stay where they are."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cl_bench import benchmarks
from cl_bench.engine.checkpoint import FOLDER, unfinished
from cl_bench.execution.pool import Watcher
from cl_bench.execution.worker import Work, execute
from cl_bench.planning import finding, packing, reading
from cl_bench.results.store import RunStore

SMALL = [
    "benchmark.name=permuted-mnist-5k",
    "benchmark.tasks=2",
    "benchmark.train_samples=200",
    "benchmark.test_samples=50",
    "network.hidden=[8]",
]
FAULTY = '''"""Dies, or fails, in its second task."""
import os
import signal

from cl_bench import Strategy, setting


class Faulty(Strategy):
    kill: bool = setting(True, "whether it dies rather than raises")

    def begin_task(self, task):
        if task.index == 1:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("a fault of its own")
'''


class Notes(Watcher):
    def __init__(self):
        self.done, self.stored, self.lost = [], [], []

    def progress(self, number, doing, share):
        self.done.append((number, share))

    def finished(self, number):
        self.stored.append(number)

    def failed(self, failure):
        self.lost.append(failure)


def planned(*assignments, strategies=("naive",), **rest):
    read = reading.read(strategies=list(strategies), assignments=[*SMALL, *assignments])
    return packing.make_plan(read, benchmarks.get, **rest)


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "faulty.py"
    path.write_text(FAULTY)
    return str(path)


def test_one_process_stores_every_run_and_tells_how_far_it_is(tmp_path):
    made, notes = planned("seeds=2"), Notes()
    outcome = execute(made.stacks, Work(tmp_path), watcher=notes)
    assert len(outcome.finished) == 1
    assert notes.stored == [0]
    assert notes.done[-1] == (0, 1.0)
    store = RunStore(tmp_path)
    assert all(store.exists(config) for config in made.configs)


def test_several_processes_give_the_same_bits_and_a_killed_one_takes_only_its_stack(
    tmp_path, faulty
):
    made = planned("seeds=2", strategies=["naive", faulty], max_runs=1)
    assert len(made.stacks) == 4
    notes, out = Notes(), tmp_path / "pool"
    work = Work(out, strategy_files=tuple(finding.added_files()))
    outcome = execute(made.stacks, work, workers=2, watcher=notes)

    def names(stacks):
        return [config.strategy.name for stack in stacks for config in stack.configs]

    assert names(outcome.finished) == ["naive", "naive"]
    assert names(failure.part for failure in outcome.failures) == ["faulty", "faulty"]
    assert "SIGKILL" in outcome.failures[0].reason
    assert notes.lost == outcome.failures

    alone = planned("seeds=2")
    execute(alone.stacks, Work(tmp_path / "here"))
    pooled, here = RunStore(out), RunStore(tmp_path / "here")
    for config in alone.configs:
        one, other = (s.open(s.directory(config)).content for s in (pooled, here))
        assert one["weights_sha256"] == other["weights_sha256"]


def test_a_fault_in_a_strategy_is_reported_and_the_rest_goes_on(tmp_path, faulty):
    made = planned("seeds=1", "faulty.kill=false", strategies=[faulty, "naive"])
    outcome = execute(made.stacks, Work(tmp_path / "out"))
    assert len(outcome.finished) == 1
    (failure,) = outcome.failures
    assert failure.reason == "RuntimeError: a fault of its own"
    assert "begin_task" in failure.traceback


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_ends_quickly_says_what_is_kept_and_how_to_go_on(tmp_path, number):
    workers = 2 if number == signal.SIGINT else 1
    command = [sys.executable, "-m", "cl_bench", "run", "--strategy", "naive", "--out"]
    command += [str(tmp_path), "--wandb", "off", "--workers", str(workers)]
    command += ["--checkpoint-steps", "5"]
    for assignment in [*SMALL, "seeds=1", "training.epochs=[1, 9999]"]:
        command += ["--set", assignment]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    store, deadline = RunStore(tmp_path), time.monotonic() + 120
    kept = 1 if workers == 2 else 0  # the short run ends while the long one trains

    def has_begun() -> bool:
        """The short run is stored, and the checkpoint is the long one's."""
        stored = {path.name.rpartition("-")[2] for path in store.paths()}
        held = {run_id for ids in unfinished(tmp_path).values() for run_id in ids}
        return len(stored) == kept and bool(held - stored)

    while not has_begun():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 128 + number
    assert "resume with: python -m cl_bench run --strategy naive" in errors
    assert "Traceback" not in errors
    assert f"stopped; {kept} of 2 runs are finished and kept, 1 more will go on from" in errors
    assert ends_within(process.pid, seconds=60)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path):
    command = [sys.executable, "-m", "cl_bench", "run", "--strategy", "naive", "--out"]
    command += [str(tmp_path), "--wandb", "off", "--workers", "2"]
    for assignment in [*SMALL, "seeds=2", "training.epochs=9999"]:
        command += ["--set", assignment]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    while "training 2 runs" not in process.stderr.readline():
        pass
    time.sleep(4)
    process.kill()
    process.wait()
    assert ends_within(process.pid, seconds=120)


def ends_within(group, *, seconds):
    """Return whether no process of a group is left after so long; end those that are."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return False


@pytest.mark.slow
def test_a_command_killed_outright_resumes_by_itself(tmp_path):
    """SIGKILL leaves no time to tidy up; what was written must do."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "cl_bench", "run", "--strategy", "ewc", "--wandb", "off"]
    command += ["--no-picture", "--workers", "1", "--checkpoint-steps", "5"]
    for assignment in [*SMALL, "seeds=2", "training.epochs=40", "ewc.exploration_steps=20"]:
        command += ["--set", assignment]
    process = subprocess.Popen([*command, "--out", str(killed)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any((killed / FOLDER).glob("*.safetensors")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    resumed = subprocess.run(
        [*command, "--out", str(killed), "--format", "csv"], capture_output=True, text=True
    )
    assert "2 resumed from a checkpoint" in resumed.stderr
    assert not list((killed / FOLDER).glob("[!.]*"))
    subprocess.run([*command, "--out", str(whole)], capture_output=True)
    stores = RunStore(killed), RunStore(whole)
    runs = [store.scan()[0] for store in stores]
    assert len(runs[0]) == 2
    for one, other in zip(*runs, strict=True):
        assert one.content["files"] == other.content["files"]


def test_unfinished_runs_stay_together(tmp_path):
    first = planned("seeds=5")
    ids = [config.run_id for config in first.configs]
    held = {tmp_path / "a": [ids[3], ids[1]], tmp_path / "b": [ids[1], "of another command"]}
    made = planned("seeds=5", unfinished=held, workers=2, is_stored=lambda c: c.run_id == ids[0])
    resumed = [stack for stack in made.stacks if stack.checkpoint]
    assert [stack.checkpoint for stack in resumed] == [tmp_path / "a"]
    assert [config.run_id for config in resumed[0].configs] == [ids[3], ids[1]]
    rest = {c.run_id for stack in made.stacks if not stack.checkpoint for c in stack.configs}
    assert rest == {ids[2], ids[4]}
