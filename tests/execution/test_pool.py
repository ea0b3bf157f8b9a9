"""The pool by itself: parts of any kind, and each way in which one can end."""

import os
import signal
import sys

import pytest

from cl_bench.errors import UserError
from cl_bench.execution.pool import Watcher, carry_out
from cl_bench.execution.starting import THREAD_VARIABLES


class Notes(Watcher[str]):
    def __init__(self):
        self.told = []

    def progress(self, number, doing, share):
        self.told.append((number, doing, share))

    def finished(self, number):
        self.told.append((number, "finished"))

    def failed(self, failure):
        self.told.append((failure.number, "failed"))


def act(part, report):
    report("begins", 0.0)
    match part:
        case "mistake":
            raise UserError("no such thing")
        case "fault":
            raise EOFError("of\nits own")
        case "leaves":
            sys.exit(3)
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
    report("ends", 1.0)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_part_that_fails_stops_no_other(workers):
    parts = ["good", "mistake", "fault", "leaves", "good too"]
    if workers > 1:
        parts += ["dies", "dies", "after that"]
    notes = Notes()
    outcome = carry_out(act, parts, workers=workers, watcher=notes)
    assert sorted(outcome.finished) == sorted(p for p in parts if "good" in p or "after" in p)
    reasons = {failure.part: (failure.number, failure.reason) for failure in outcome.failures}
    assert reasons["mistake"] == (1, "no such thing")
    assert reasons["fault"] == (2, "EOFError: of its own")
    assert reasons["leaves"] == (3, "SystemExit: 3")
    assert reasons.get("dies", (0, "SIGKILL"))[1].count("SIGKILL") == 1
    traced = {failure.part for failure in outcome.failures if "in act" in failure.traceback}
    assert traced == {"fault", "leaves"}
    for number, part in enumerate(parts):
        told = [what[1:] for what in notes.told if what[0] == number]
        assert told[0] == ("begins", 0.0)
        assert told[-1] == (("finished",) if part in outcome.finished else ("failed",))
        assert (("ends", 1.0) in told) == (part in outcome.finished)


def many(part, report):
    for step in range(10_001):
        report("counts", step / 10_000)


@pytest.mark.parametrize("workers", [1, 2])
def test_reports_of_every_step_are_told_now_and_then_the_first_and_the_last(workers):
    notes = Notes()
    assert len(carry_out(many, ["a", "b"], workers=workers, watcher=notes).finished) == 2
    for number in range(2):
        told = [what[1:] for what in notes.told if what[0] == number]
        assert told[0] == ("counts", 0.0)
        assert told[-2:] == [("counts", 1.0), ("finished",)]
        assert len(told) < 1000


def threads(part, report):
    if any(os.environ.get(name) != "1" for name in THREAD_VARIABLES):
        raise RuntimeError("more than one thread")


def test_workers_have_one_thread_and_the_caller_keeps_its_own(monkeypatch):
    monkeypatch.setenv(THREAD_VARIABLES[0], "7")
    monkeypatch.delenv(THREAD_VARIABLES[1], raising=False)
    assert sorted(carry_out(threads, [1, 2], workers=2).finished) == [1, 2]
    assert os.environ[THREAD_VARIABLES[0]] == "7"
    assert THREAD_VARIABLES[1] not in os.environ
