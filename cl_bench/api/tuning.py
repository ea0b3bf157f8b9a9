"""Chooses strategies' settings by equal trials on validation data: `tune`, on either road."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_bench.api.running import folder_there, read
from cl_bench.api.training import TrainingError
from cl_bench.errors import UserError, unknown
from cl_bench.execution.plans import plan_runs, prepare, runs_in, train
from cl_bench.execution.remarks import Say, remark
from cl_bench.plain import counted

if TYPE_CHECKING:
    import pandas as pd

    from cl_bench.api.running import Strategies
    from cl_bench.benchmarks import Benchmark
    from cl_bench.config import BenchmarkConfig, Protocol
    from cl_bench.tuning.record import TuningRecord
    from cl_bench.tuning.search import Method
    from cl_bench.tuning.study import Request


class Tuned:
    """Finished tunings; in a notebook they show their table by themselves."""

    def __init__(self, records: Mapping[Path, TuningRecord], configs: Sequence[Path]) -> None:
        self.records = list(records.values())
        """One a strategy: its trials, the choice, and what it cost."""
        self.paths = list(records)
        """The records' files."""
        self.configs = list(configs)
        """YAML files that run the choices: `cl_bench.run(config=tuned.configs[0])`."""

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The chosen settings by strategy, as `cl_bench.run(strategies=…)` takes them.

        Without the learning rate, where that was tuned too; a strategy whose trials all diverged
        keeps its defaults.
        """
        from cl_bench.tuning.space import LEARNING_RATE

        chosen = {each.terms.strategy.name: each.choice for each in self.records}
        return {
            name: {
                k: v for k, v in (choice.settings if choice else {}).items() if k != LEARNING_RATE
            }
            for name, choice in chosen.items()
        }

    def table(self) -> pd.DataFrame:
        """Return a row a strategy: its choice beside its defaults, on validation data."""
        import pandas as pd

        from cl_bench.tuning import tables

        return pd.DataFrame(tables.choices(self.records))

    def __repr__(self) -> str:
        return self._for_people().to_string(index=False)

    def _repr_html_(self) -> str:
        return self._for_people().to_html(index=False)

    def _for_people(self) -> pd.DataFrame:
        import pandas as pd

        from cl_bench.tuning import tables

        return pd.DataFrame(tables.choices(self.records, people=True))


def tune(
    strategies: Strategies | None = None,
    benchmark: Any = None,
    *,
    tasks: int | None = None,
    scenario: str | None = None,
    network: Any = None,
    config: str | Path | None = None,
    trials: int = 16,
    seeds: int = 3,
    first_seed: int = 1000,
    method: str = "sobol",
    metric: str = "average_accuracy",
    validation_fraction: float | None = None,
    learning_rate: tuple[float, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    data_dir: str | Path | None = None,
    download: bool = True,
    **settings: Any,
) -> Tuned:
    """Choose each strategy's settings: equal trials, validation data, seeds of their own.

    It does what `python -m cl_bench tune` does: trials that have a record are not run again.

        tuned = cl_bench.tune(["ewc", "flatness"], "split-mnist", trials=16)
        runs = cl_bench.run(tuned.settings, "split-mnist")

    Args:
        strategies: as of `cl_bench.run`.
        benchmark: as of `cl_bench.run`.
        tasks: the number of tasks.
        scenario: "task", "domain" or "class".
        network: as of `cl_bench.run`.
        config: the protocol to tune for: a name of `list configs` or a YAML file.
        trials: of each strategy.
        seeds: of each trial.
        first_seed: the first of them; from 1000 on, and never reported.
        method: "sobol" (quasi-random), "tpe" (Optuna's) or "halving".
        metric: what the best is best at; a name of `list metrics`.
        validation_fraction: share of the training data to judge on (the protocol's, or 0.1).
        learning_rate: ends of a range: tune the learning rate of every strategy, too.
        ranges: ends in place of the declared ones, by `strategy.setting`.
        out: the folder of the records; those of tuning go to its folder `tuning`.
        device: "auto" (cuda where there is one), "cpu" or "cuda".
        workers: processes; None is one a core, or one on cuda.
        data_dir: the folder to search for data first.
        download: whether to fetch data that are missing.
        **settings: as of `cl_bench.run`; a setting that is given a value is not tuned.

    Raises:
        UserError: something that cannot work; nothing has been trained then.
        TrainingError: runs failed in training; the same call tries them again.
        KeyboardInterrupt: the call was stopped; the same call goes on from there.
    """
    from cl_bench.tuning.study import Request

    given = {
        "benchmark": benchmark,
        "benchmark.tasks": tasks,
        "benchmark.scenario": scenario,
        "network": network,
        **settings,
    }
    protocol = one_protocol(read(strategies, config, given))
    named = [(*key.rpartition("."), ends) for key, ends in (ranges or {}).items()]
    request = Request(
        protocol=protocol,
        trials=trials,
        seeds=seeds,
        first_seed=first_seed,
        method=method_of(method),
        metric=metric,
        validation_fraction=validation_fraction,
        ranges=ranges_of(((name, setting, ends) for name, _, setting, ends in named), protocol),
        learning_rate=learning_rate,
    )
    records = carry_out(
        request,
        Path(out),
        Path(config).stem if config else protocol.benchmark.name,
        device=device,
        workers=workers,
        data_dir=folder_there(data_dir),
        download=download,
    )
    return Tuned(records, write_configs(request, records))


def carry_out(
    request: Request,
    out: Path,
    label: str,
    *,
    device: str = "auto",
    workers: int | None = None,
    data_dir: Path | None = None,
    download: bool = True,
    say: Say = remark,
) -> dict[Path, TuningRecord]:
    """Train the trials that have no record yet; return each strategy's record by its file.

    Args:
        request: what is to be tuned; it is checked first.
        out: the folder of the records.
        label: stands in the name of their folder.
        device: as of `prepare`.
        workers: as of `prepare`.
        data_dir: the folder to search for data first.
        download: whether to fetch data that are missing.
        say: is told what the user should know, a line at a time.

    Raises:
        UserError: something that cannot work.
        TrainingError: runs failed in training.
    """
    from cl_bench import benchmarks
    from cl_bench.results.store import RunStore
    from cl_bench.tuning import record
    from cl_bench.tuning.study import Study, drive

    request.check()
    work, number = prepare(out / record.FOLDER / "runs", device, data_dir, workers)

    def get_benchmark(wanted: BenchmarkConfig) -> Benchmark:
        return benchmarks.get(wanted, data_dir=data_dir, download=download)

    def train_all(asked: Sequence[Protocol]) -> None:
        plan = plan_runs(asked, work, number, download, say)
        if failures := train(plan, work, number, say=say):
            raise TrainingError(f"{counted(runs_in(failures), 'run')} failed")

    studies = {}
    for name in request.protocol.strategies:
        study = Study(request, name, get_benchmark)
        studies[record.path_of(out, label, study.terms)] = study
    left = {path: study for path, study in studies.items() if not record.exists(path)}
    store = RunStore(work.out)
    drive(list(left.values()), store, train_all)
    for path, study in left.items():
        record.write(path, study.record(store, work.device))
    if not left:
        say("nothing to tune: all of it is recorded already")
    return {path: record.read(path) for path in studies}


def write_configs(request: Request, records: Mapping[Path, TuningRecord]) -> list[Path]:
    """Write the YAML files that run the choices, and return them."""
    from cl_bench.atomic import replace
    from cl_bench.tuning import tuned

    folder = next(iter(records)).parent
    configs = tuned.configs(request, tuned.with_earlier(list(records.values()), folder))
    for name, text in configs.items():
        replace(folder / name, text.encode())
    return [folder / name for name in configs]


def one_protocol(found: Sequence[Protocol]) -> Protocol:
    """Return the one protocol whose strategies are to be tuned."""
    if len(found) > 1:
        raise UserError(f"these are {len(found)} protocols; tune is for one: give no lists")
    return found[0]


def method_of(text: str) -> Method:
    """Return the method of this name; a `UserError` where there is none."""
    from cl_bench.tuning.search import Method

    if text not in list(Method):
        raise unknown("method", text, list(Method))
    return Method(text)


def ranges_of(
    given: Iterable[tuple[str, str, tuple[float, float]]], protocol: Protocol
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return ranges (strategy, setting, ends) by strategy and setting."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for name, setting, ends in given:
        if name not in protocol.strategies:
            raise unknown("strategy in --range", name, protocol.strategies)
        low, high = ends
        found.setdefault(name, {})[setting] = (float(low), float(high))
    return found
