"""`cl_bench crossvalidate`: our methods against Avalanche's, on the same streams and terms."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.output import Format, FormatOption, counted, emit, remark
from cl_bench.cli.training import DataDirOption, WorkersOption
from cl_bench.errors import UserError
from cl_bench.execution.plans import runs_in, stored_in, train

if TYPE_CHECKING:
    from cl_bench.avalanche.crossvalidation import Finding
    from cl_bench.avalanche.pairs import Pair
    from cl_bench.config import RunConfig
    from cl_bench.execution.worker import Work
    from cl_bench.planning.packing import Plan


PairOption = Annotated[
    list[str] | None,
    typer.Option(help="Only these pairs, by name or a part that is theirs alone; may be repeated."),
]
SeedsOption = Annotated[int, typer.Option(help="Seeds of each pair.", min=1)]
QuickOption = Annotated[
    bool, typer.Option("--quick", help="A few images a task: a trial of the command.")
]
OutOption = Annotated[Path, typer.Option(help="Folder for the records.")]
WriteOption = Annotated[
    Path | None, typer.Option(help="Write the page to this .md file, a .csv beside it.")
]


def crossvalidate(
    pair: PairOption = None,
    seeds: SeedsOption = 5,
    quick: QuickOption = False,
    out: OutOption = Path("runs/crossvalidation"),
    write: WriteOption = None,
    data_dir: DataDirOption = None,
    workers: WorkersOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Train ours and Avalanche's on the same streams, and show where they agree.

    Runs that have a record are not run again.
    """
    from cl_bench.avalanche import crossvalidation
    from cl_bench.execution.pool import cores
    from cl_bench.execution.worker import Work
    from cl_bench.results.store import RunStore

    if write is not None and write.suffix != ".md":
        raise UserError(f"--write {write}: give a file that ends in .md")
    pairs, left_out = _chosen(pair)
    store = RunStore(out)
    store.check_writable()
    work, workers = Work(out, data_dir=data_dir), workers or cores()
    plan, configs = _plan(pairs, seeds, quick, work, workers)
    for notice in plan.notices:
        remark(notice)
    runs = sum(len(stack.configs) for stack in plan.stacks)
    remark(f"training {counted(runs, 'run')}, {counted(len(plan.stored), 'run')} there already")
    failed = runs_in(train(plan, work, workers))
    findings = []
    for each in pairs:
        records = [store.read(store.directory(c)) for c in configs[each.name] if store.exists(c)]
        found = crossvalidation.find(each, records)
        if found is not None:
            findings.append(found)
    rows = crossvalidation.rows(findings)
    shown = crossvalidation.as_text(rows) if format is Format.TABLE else rows
    emit(shown, format, "ours and Avalanche's")
    if any(found.verdict == crossvalidation.NOT_LEARNT for found in findings):
        remark("not learnt: neither does better than guess, which says nothing of agreement")
    for line in left_out:
        remark(f"not compared: {line}")
    if write is not None and findings:
        _write(write, findings, left_out)
    if failed:
        raise typer.Exit(1)


def _chosen(names: Sequence[str] | None) -> tuple[list[Pair], list[str]]:
    """Return the pairs to compare, and why the others cannot be."""
    from cl_bench.avalanche.choice import named
    from cl_bench.planning import finding

    chosen, left_out = [], []
    for pair in named(names or ()):
        needs = getattr(finding.load(pair.theirs[0]), "needs", "")
        if needs and importlib.util.find_spec(needs) is None:
            left_out.append(f"{pair.name}: {pair.theirs[0]} needs the package {needs}")
        else:
            chosen.append(pair)
    return chosen, left_out


def _write(path: Path, findings: Sequence[Finding], left_out: Sequence[str]) -> None:
    """Write the page, and the table beside it."""
    from cl_bench.avalanche import crossvalidation
    from cl_bench.results.provenance import PACKAGES, versions

    page = crossvalidation.page(findings, versions(PACKAGES), left_out)
    path.write_text(page, encoding="utf-8")
    table = path.with_suffix(".csv")
    table.write_text(crossvalidation.table_csv(findings), encoding="utf-8")
    remark(f"written: {path} and {table}")


def _plan(
    pairs: Sequence[Pair], seeds: int, quick: bool, work: Work, workers: int
) -> tuple[Plan, dict[str, list[RunConfig]]]:
    """Return what is to be trained, and each pair's runs."""
    from cl_bench import benchmarks
    from cl_bench.planning.packing import make_plan
    from cl_bench.planning.resolving import runs_of
    from cl_bench.results.store import RunStore

    protocols = {pair.name: pair.as_protocol(seeds, quick=quick) for pair in pairs}
    plan = make_plan(
        list(protocols.values()),
        lambda config: benchmarks.get(config, data_dir=work.data_dir),
        workers=workers,
        is_stored=stored_in(RunStore(work.out)),
    )
    configs = {
        name: runs_of(protocol, benchmarks.get(protocol.benchmark, data_dir=work.data_dir))
        for name, protocol in protocols.items()
    }
    return plan, configs
