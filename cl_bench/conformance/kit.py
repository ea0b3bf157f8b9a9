"""Holds strategies to their promises and says which do not keep one, and why."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from cl_bench.config import Scenario
from cl_bench.conformance.checks import CHECKS
from cl_bench.conformance.promises import Broken
from cl_bench.conformance.trainings import Trainings
from cl_bench.engine import state
from cl_bench.engine.tasks import ForbiddenData
from cl_bench.errors import UserError
from cl_bench.planning import finding


class Outcome(StrEnum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"
    """It stumbled over what another check reports."""


@dataclass(frozen=True)
class Result:
    """One check of one strategy in one scenario."""

    strategy: str
    scenario: str
    check: str
    promise: str
    outcome: Outcome
    why: str = ""
    """One line; empty where the promise holds."""


@dataclass(frozen=True)
class Case:
    """A strategy in one of its scenarios."""

    strategy: str
    scenario: Scenario
    first: bool
    """Whether it is the strategy's first: what one scenario is enough for is checked there."""

    def __str__(self) -> str:
        return f"{self.strategy}, {self.scenario}"


def cases(names: Iterable[str], scenario: Scenario | None = None) -> list[Case]:
    """Return every strategy with each of its scenarios, read without importing any.

    Args:
        names: the strategies', as the registry has them.
        scenario: only this one.

    Raises:
        UserError: none of them is of this scenario, or one is not trained by this engine.
    """
    found = []
    for name in names:
        if ":" in name:
            raise UserError(f"strategy '{name}' is another library's; only our own are checked")
        # A file that cannot be read has no scenarios; the check `loads` says what is wrong.
        offered = finding.summary(name).scenarios or tuple(Scenario)[:1]
        chosen = [each for each in offered if scenario in (None, each)]
        found += [Case(name, each, each == chosen[0]) for each in chosen]
    if not found:
        raise UserError(f"no strategy that was named declares the {scenario} scenario")
    return found


def check(case: Case) -> list[Result]:
    """Return what came of every check of a strategy in one of its scenarios."""
    name, scenario = case.strategy, case.scenario
    results: list[Result] = []
    reported: dict[str, str] = {}
    with TemporaryDirectory(prefix="cl_bench-check-") as folder:
        trainings = Trainings(name, scenario, Path(folder))
        for each in CHECKS:
            if each.once and not case.first:
                continue
            outcome, why = Outcome.PASSED, ""
            try:
                each.run(trainings)
            except Exception as error:
                why = _explained(error, name)
                # Trainings are shared: the check that an error belongs to reports it, or the first.
                owner = _owner(error) or reported.setdefault(why, each.name)
                outcome = Outcome.FAILED if owner == each.name else Outcome.NOT_REACHED
                why = why if owner == each.name else f"see {owner}"
            results.append(Result(name, scenario.value, each.name, each.promise, outcome, why))
    return results


def _owner(error: Exception) -> str | None:
    """Return the check that an error belongs to, whichever stumbled over it."""
    if isinstance(error, ForbiddenData):
        return "data"
    if _frames(error)[-1].filename == state.__file__:
        return "state"
    return None


def _explained(error: Exception, name: str) -> str:
    """Return an error in one line, with the line of the strategy's file that led to it."""
    text = " ".join(str(error).split())
    if isinstance(error, (Broken, UserError)):
        return text
    kind = "" if isinstance(error, ForbiddenData) else f"{type(error).__name__}: "
    path = str(finding.summary(name).path)
    lines = [frame.lineno for frame in _frames(error) if frame.filename == path]
    return f"{kind}{text}" + (f" ({Path(path).name}, line {lines[-1]})" if lines else "")


def _frames(error: Exception) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)
