"""`cl_bench check`: whether strategies keep what every strategy promises."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_bench.cli.output import Format, FormatOption, counted, emit, emit_many, remark
from cl_bench.errors import UserError, unknown
from cl_bench.planning.parsing import split_names

if TYPE_CHECKING:
    from cl_bench.config import Scenario
    from cl_bench.conformance.kit import Case, Result


def check(
    strategies: Annotated[
        list[str] | None,
        typer.Argument(help="Names or ./files.py; all of `list strategies` by default."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="Check a benchmark in place of strategies: a name or ./file.py."),
    ] = None,
    scenario: Annotated[str | None, typer.Option(help="Only task, domain or class.")] = None,
    kills: Annotated[
        int,
        typer.Option(
            help="In place of the checks: kill each one's training so often, compare what it ends "
            "with.",
            min=0,
        ),
    ] = 0,
    format: FormatOption = Format.TABLE,
) -> None:
    """Check what every strategy promises: the same bits in any company, resumed, and more.

    With --benchmark, what every benchmark promises: the same streams, in every process, for all.
    """
    from cl_bench.config import Scenario
    from cl_bench.planning import finding

    if scenario is not None and scenario not in set(Scenario):
        raise unknown("scenario", scenario, list(Scenario))
    chosen = Scenario(scenario) if scenario else None
    if benchmark is not None:
        if strategies or kills:
            raise UserError("--benchmark checks a benchmark alone; leave strategies and kills out")
        _check_benchmark(benchmark, chosen, format)
        return
    given = split_names(strategies, "strategies")
    names = list(dict.fromkeys(map(finding.resolve, given))) or finding.strategy_names()

    from cl_bench.conformance import kit

    if kills:
        _kill(kit.cases(names, chosen), kills, format)
        return
    results = []
    for case in kit.cases(names, chosen):
        with redirect_stdout(sys.stderr):  # what a strategy prints is no result
            found = kit.check(case)
        results += found
        passed = sum(result.outcome is kit.Outcome.PASSED for result in found)
        remark(f"{case}: {passed} of {len(found)} checks passed")
    _show(results, format)
    failed = sum(result.outcome is kit.Outcome.FAILED for result in results)
    if failed:
        remark(f"{counted(failed, 'check')} failed")
        raise typer.Exit(1)


def _check_benchmark(given: str, scenario: Scenario | None, format: Format) -> None:
    """Check a benchmark in each scenario that it can have, and print what came of it."""
    from cl_bench.conformance import benchmarks, kit

    results: list[Result] = []
    for found in benchmarks.check(given, scenario):
        results += found
        passed = sum(result.outcome is kit.Outcome.PASSED for result in found)
        remark(f"{found[0].strategy}, {found[0].scenario}: {passed} of {len(found)} checks passed")
    _show(results, format, what="benchmark")
    if failed := sum(result.outcome is kit.Outcome.FAILED for result in results):
        remark(f"{counted(failed, 'check')} failed")
        raise typer.Exit(1)


def _kill(cases: Sequence[Case], kills: int, format: Format) -> None:
    """Kill the training of every strategy, in one scenario each, and print what came of it."""
    import random
    import tempfile
    from pathlib import Path

    from cl_bench.conformance.kills import as_rows, kill_and_compare
    from cl_bench.conformance.trainings import Trainings

    found = []
    chance = random.Random(0)
    for case in (case for case in cases if case.first):
        with tempfile.TemporaryDirectory() as folder:
            config = Trainings(case.strategy, case.scenario, Path(folder)).config()
            found.append(kill_and_compare(config, Path(folder), kills, chance))
        remark(f"{case}: {found[-1].kills} kills, {found[-1].differing} differences")
    emit(as_rows(found), format)
    if any(each.differing for each in found):
        raise typer.Exit(1)


def _show(results: Sequence[Result], format: Format, what: str = "strategy") -> None:
    """Print every check for programs; for people a mark each, and why those failed that did."""
    if format is not Format.TABLE:
        rows = [vars(result) for result in results]
        emit([{what: row.pop("strategy"), **row} for row in map(dict, rows)], format)
        return
    alone = len({result.strategy for result in results}) == 1
    tables = {"checks": _by_check(results) if alone else _by_strategy(results)}
    keys = ("scenario", "check", "why") if alone else ("strategy", "scenario", "check", "why")
    failures = [{k: vars(r)[k] for k in keys} for r in results if r.outcome == "failed"]
    if failures:
        tables["failures"] = failures
    emit_many(tables, format)


def _by_check(results: Sequence[Result]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for result in results:
        row = rows.setdefault(result.check, {"check": result.check})
        row[result.scenario] = result.outcome.value
    promises = {result.check: result.promise for result in results}
    return [{**row, "promise": promises[name]} for name, row in rows.items()]


def _by_strategy(results: Sequence[Result]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for result in results:
        key = (result.strategy, result.scenario)
        row = rows.setdefault(key, {"strategy": key[0], "scenario": key[1]})
        for outcome in ("passed", "failed", "not reached"):
            row.setdefault(outcome, [])
        row[result.outcome.value].append(result.check)
    for row in rows.values():
        row["passed"] = len(row["passed"])
    return list(rows.values())
