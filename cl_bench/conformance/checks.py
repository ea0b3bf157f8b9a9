"""What every strategy promises, one small function a promise.

Each gets the trainings of one strategy in one scenario and raises `Broken`, with what is wrong in
one line, where the promise does not hold. The order is that of a report: what is needed for
more comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cl_bench import benchmarks
from cl_bench.config import (
    BenchmarkConfig,
    NetworkConfig,
    Protocol,
    RunConfig,
    Scenario,
    TrainingConfig,
)
from cl_bench.conformance.comparing import (
    COSTS,
    differences,
    not_finite,
    same_bits,
    same_state,
)
from cl_bench.conformance.quick import allows
from cl_bench.conformance.trainings import BATCH, DATASET, SEED, Trainings, train
from cl_bench.engine import count_steps
from cl_bench.engine.settings import StrategySettings, tune_range
from cl_bench.engine.strategy import ALL_NETWORKS, free_settings
from cl_bench.engine.tasks import PIXEL_SCALE
from cl_bench.errors import UserError
from cl_bench.planning import finding
from cl_bench.planning.packing import make_plan

Function = Callable[[Trainings], None]


class Broken(AssertionError):  # noqa: N818 - a promise is what is broken
    """A promise does not hold; the message says what was found."""


@dataclass(frozen=True)
class Check:
    """One promise."""

    name: str
    promise: str
    """One sentence."""
    run: Function
    once: bool
    """Whether one scenario is enough."""


CHECKS: list[Check] = []


def promise(*, once: bool = False) -> Callable[[Function], Function]:
    """Make a function a check; its name and its docstring are the check's."""

    def register(function: Function) -> Function:
        CHECKS.append(Check(function.__name__, function.__doc__ or "", function, once))
        return function

    return register


def _need(holds: object, why: str) -> None:
    if not holds:
        raise Broken(why)


# --- before any training --------------------------------------------------------------------


@promise()
def loads(trainings: Trainings) -> None:
    """Its file imports and defines one strategy."""
    assert trainings.kind


@promise(once=True)
def declared(trainings: Trainings) -> None:
    """What it declares is there, is allowed, and can be read without importing its file."""
    kind = trainings.kind
    for name in ("title", "source"):
        value = getattr(kind, name)
        _need(isinstance(value, str) and value.strip(), f"{name} is empty")
    for name, known in (("scenarios", frozenset(Scenario)), ("networks", ALL_NETWORKS)):
        value = getattr(kind, name)
        fits = isinstance(value, frozenset) and value and value <= known
        _need(fits, f"{name} = {value!r}: must be a frozenset of some of {sorted(known)}")
    summary = finding.summary(trainings.name)
    for name in ("title", "source"):
        read, real = getattr(summary, name), getattr(kind, name)
        _need(read == real, f"{name} reads {read!r} without importing, but is {real!r}")
    _need(
        set(summary.scenarios) == kind.scenarios,
        f"scenarios read {sorted(summary.scenarios)} without importing, "
        f"but are {sorted(kind.scenarios)}; write them out in the class",
    )
    _need(
        not kind.isolates or Scenario.TASK in kind.scenarios,
        "isolates: a task's own predictions need the task scenario, in which the task is told",
    )
    _declared_settings(kind.Settings)


def _declared_settings(settings: type[StrategySettings]) -> None:
    derived = isinstance(settings, type) and issubclass(settings, StrategySettings)
    _need(derived, "Settings is not derived from StrategySettings")
    _need(allows(settings, {}), "Settings: not every setting has a default, or not a valid one")
    defaults = settings().model_dump(mode="json")
    for name, field in settings.model_fields.items():
        value = defaults.get(name, field.default)
        plain = isinstance(value, (bool, int, float, str))
        _need(plain, f"setting {name} = {value!r}: must be a number, a text or a bool")
        _need(allows(settings, {name: value}), f"setting {name}: default {value!r} is not allowed")
        _need(field.description, f"setting {name} does not say what it means")
        found = tune_range(settings, name)
        if found is None:
            continue
        ends = found.low, found.high
        _need(found.low < found.high, f"setting {name}: tune range {ends} is empty")
        _need(found.low > 0 or not found.log, f"setting {name}: no logarithm of {found.low}")
        for end in ends:
            _need(allows(settings, {name: end}), f"setting {name}: {end} of tune is not allowed")


@promise(once=True)
def refused(trainings: Trainings) -> None:
    """A scenario or network that it does not declare is refused before any training."""
    kind = trainings.kind
    for scenario in Scenario:
        planned = _planned(trainings, scenario, min(kind.networks))
        holds = planned == (scenario in kind.scenarios)
        _need(holds, f"the {scenario} scenario is {'not ' * planned}refused")
    for network in ALL_NETWORKS:
        planned = _planned(trainings, trainings.scenario, network)
        holds = planned == (network in kind.networks)
        _need(holds, f"the network {network} is {'not ' * planned}refused")


def _planned(trainings: Trainings, scenario: Scenario, network: str) -> bool:
    """Return whether the plan takes the strategy on."""
    protocol = Protocol(
        benchmark=BenchmarkConfig(name=f"split-{DATASET}", scenario=scenario),
        network=NetworkConfig.model_validate({"name": network}),
        training=TrainingConfig(iterations=1000),
        strategies={trainings.name: {}},
        seeds=1,
    )
    try:
        make_plan([protocol], lambda config: benchmarks.get(config, download=False))
    except UserError:
        return False
    return True


# --- training -------------------------------------------------------------------------------


@promise()
def trains(trainings: Trainings) -> None:
    """It trains on five tasks and ends with finite weights and losses."""
    found = not_finite(trainings.alone)
    _need(not found, f"{_listed(found)} not finite after five short tasks at default settings")


@promise()
def repeats(trainings: Trainings) -> None:
    """A run repeats to the bit, with more threads and without evaluations, too."""
    tables = ("accuracy", "predictions")
    if not differences(trainings.alone, trainings.again, tables):
        return
    if found := differences(trainings.alone, train([trainings.config()])[0]):
        raise Broken(
            f"the same run twice differs in {_listed(found)}; "
            "learner.uniform and learner.normal are the only source of randomness"
        )
    raise Broken("a run that is not evaluated while it trains ends differently")


@promise()
def company(trainings: Trainings) -> None:
    """A run has the same bits alone and stacked with other seeds and settings."""
    found = differences(trainings.alone, trainings.stacked.records[1])
    if not found:
        return
    seeds = [trainings.config(seed) for seed in (SEED - 1, SEED, SEED + 1)]
    mixes = differences(trainings.alone, train(seeds)[1])
    cause = "something mixes the runs" if mixes else "a setting of another run is taken for its own"
    raise Broken(f"alone and stacked with two others a run differs in {_listed(found)}: {cause}")


@promise()
def state(trainings: Trainings) -> None:
    """Its state can be saved, a row of each tensor for each run, and be loaded exactly."""
    for stack in (trainings.stacked, trainings.resumed):
        runs = len(stack.configs)
        for moment, when in trainings.moments.items():
            for name, tensor in stack.snapshot(moment).part("strategy").tensors.items():
                fits = tensor.dim() and tensor.shape[0] == runs
                _need(
                    fits,
                    f"'{name}' has the shape {list(tensor.shape)} {when}; "
                    f"its first axis must be the runs, {runs} here",
                )
    for moment, when in trainings.moments.items():
        kept = trainings.stacked.snapshot(moment).part("strategy")
        loaded = trainings.revived(trainings.stacked, moment).strategy.state()
        differ = same_state(kept.tensors, loaded.tensors)
        _need(not differ, f"{_listed(differ)} differ once loaded from a checkpoint {when}")
        _need(kept.tree == loaded.tree, f"values differ once loaded from a checkpoint {when}")


@promise()
def resumed(trainings: Trainings) -> None:
    """A run that is stopped anywhere and resumed ends with the same bits."""
    alone = trainings.alone
    if found := differences(alone, trainings.resumed.records[0]):
        for moment, when in trainings.moments.items():
            once = differences(alone, trainings.stopped_at([moment]).records[0])
            _need(not once, f"stopped {when} and resumed, a run differs in {_listed(once)}")
        raise Broken(f"stopped and resumed often, a run differs in {_listed(found)}")
    found = differences(alone, trainings.taken_out)
    _need(not found, f"resumed alone from a stack's checkpoint, a run differs in {_listed(found)}")


@promise()
def data(trainings: Trainings) -> None:
    """It sees the training images of its own tasks alone, and keeps none undeclared."""
    assert trainings.alone  # the engine raises ForbiddenData
    stack = trainings.stacked
    benchmark = benchmarks.get(stack.configs[0].benchmark, download=False)
    splits: dict[str, set[bytes]] = {"train": set(), "test": set()}
    for split, found in splits.items():
        for seed in {config.seed for config in stack.configs}:
            for task in range(benchmark.n_tasks):
                images = benchmark.examples(seed, task, split).images  # type: ignore[arg-type]
                found |= {image.tobytes() for image in images}
    pixels = images.shape[1]
    for moment in trainings.ends:
        when = trainings.moments[moment]
        for name, tensor in stack.snapshot(moment).part("strategy").tensors.items():
            rows = set(_images(tensor, pixels))
            tested = rows & (splits["test"] - splits["train"])
            _need(not tested, f"'{name}' holds {len(tested)} test images {when}")
            trained = rows & splits["train"]
            _need(
                not trained or trainings.kind.keeps_samples,
                f"'{name}' holds {len(trained)} training images {when}; "
                "keeps_samples is not declared",
            )


def _images(tensor: Tensor, pixels: int) -> Iterator[bytes]:
    """Yield what may be an image of so many pixels in a tensor [R, …], as uint8 bytes."""
    if not tensor.dim() or not tensor.numel() or tensor[0].numel() % pixels:
        return
    rows = tensor.reshape(-1, pixels).double()
    top = rows.amax(1, keepdim=True)
    rows = torch.where(top <= 1, rows / PIXEL_SCALE, rows)
    whole = rows.round()
    image = (rows - whole).abs().amax(1) < 1e-3
    image &= (top.squeeze(1) > 0) & (rows.amin(1) >= 0) & (rows.amax(1) <= 255)
    for row in whole[image].to(torch.uint8).numpy():
        yield row.tobytes()


@promise()
def predict(trainings: Trainings) -> None:
    """Prediction changes nothing, and asked twice it gives the same logits."""
    for moment in (trainings.within[-1], trainings.ends[-1]):
        alive = trainings.revived(trainings.stacked, moment)
        learner, strategy, streams = alive.learner, alive.strategy, alive.streams
        parts = [streams.benchmark.examples(seed, 0, "test").images for seed in streams.run_seeds]
        images = torch.stack([torch.from_numpy(part) for part in parts]) * PIXEL_SCALE
        theta = learner.theta.clone()
        before = strategy.state()
        tensors = {name: tensor.clone() for name, tensor in before.tensors.items()}
        with torch.no_grad():
            task = 0 if streams.benchmark.scenario is Scenario.TASK else None
            first, second = (strategy.predict(images.clone(), task).clone() for _ in range(2))
        shape = [*images.shape[:2], streams.benchmark.n_outputs]
        got = list(first.shape)
        _need(got == shape, f"predict gives logits of shape {got}; [R, n, outputs] is {shape}")
        _need(same_bits(first, second), "predict asked twice gives different logits")
        after = strategy.state()
        changed = same_state(tensors, after.tensors)
        _need(not changed, f"predict changes {_listed(changed)}")
        _need(before.tree == after.tree, "predict changes what is kept")
        _need(same_bits(theta, learner.theta), "predict changes the weights")


@promise()
def isolates(trainings: Trainings) -> None:
    """Where it says so, what it predicts on a task, told which, stays to the bit once learnt.

    What a strategy should isolate cannot be told from what it does: `isolates` is its own word.
    """
    if not trainings.kind.isolates or trainings.scenario is not Scenario.TASK:
        return
    table = trainings.alone.accuracy
    for _, rows in table[table.after_task >= table.task].groupby("task"):
        for name in ("accuracy", "loss"):
            then, *later = rows.sort_values("after_task")[name]
            other = next((value for value in later if value != then), then)
            _need(
                other == then,
                f"{name} on task {rows.task.iloc[0] + 1} was {then:.4g} when it was learnt and is "
                f"{other:.4g} later",
            )


@promise()
def cost(trainings: Trainings) -> None:
    """It reports no fewer gradients than steps, and its state's bytes, whatever its company."""
    config = trainings.config()
    benchmark = benchmarks.get(config.benchmark, download=False)
    steps = count_steps(config, benchmark, trainings.kind)
    alone, stacked = trainings.alone.cost, trainings.stacked.records[1].cost
    passes = alone["gradient_passes"]
    _need(passes >= steps, f"{passes} gradient passes are reported for {steps} steps")
    resumed = trainings.resumed.records[0].cost
    for name in COSTS:
        for other, what in ((stacked, "stacked"), (resumed, "resumed")):
            mine, theirs = alone.get(name), other.get(name)
            _need(mine == theirs, f"{name} is {mine} alone and {theirs} {what}")
    end = trainings.ends[-1]
    for stack in (trainings.resumed, trainings.stacked):
        kept = stack.snapshot(end).part("strategy").nbytes // len(stack.configs)
        told = stack.records[0].cost["bytes_kept"]
        _need(told == kept, f"bytes_kept is {told}, but the state has {kept} bytes a run")


# --- settings, networks, benchmarks ---------------------------------------------------------


@promise()
def extremes(trainings: Trainings) -> None:
    """Weights and losses stay finite at both ends of every tune range."""
    settings, free = trainings.kind.Settings, free_settings(trainings.kind)
    labels, configs = [], []
    for name in settings.model_fields:
        declared = tune_range(settings, name)
        for end in (declared.low, declared.high) if declared else ():
            value = end if settings.model_fields[name].annotation is float else int(end)
            if not allows(settings, {name: value}):
                continue  # `declared` says so
            labels.append(f"{name} = {value:g}")
            configs.append(trainings.config(settings=trainings.quick(**{name: value})))
    together = [i for i, label in enumerate(labels) if label.split(" = ")[0] in free]
    stack = [configs[i] for i in together]
    records = dict(zip(together, train(stack) if stack else [], strict=True))
    for i, label in enumerate(labels):
        record = records[i] if i in records else train([configs[i]])[0]
        found = not_finite(record)
        _need(not found, f"{_listed(found)} not finite at {label}, an end of its tune range")


@promise(once=True)
def networks(trainings: Trainings) -> None:
    """It trains every network that it declares, with the same bits in any company."""
    small = {"exploration_steps": 6, "fisher_samples": 16, "samples": 16, "flatness_samples": 16}
    fields = trainings.kind.Settings.model_fields
    settings = trainings.quick(**{k: v for k, v in small.items() if k in fields})
    for name in sorted(trainings.kind.networks - {"mlp"}):
        run, other = (
            trainings.config(
                seed,
                settings,
                family="two-task",
                network=NetworkConfig.model_validate({"name": name, "hidden": (8,)}),
                training=TrainingConfig(batch_size=BATCH, iterations=2),
                evaluated_every=None,
                images=2 * BATCH,
            )
            for seed in (SEED, SEED - 1)
        )
        _sound(run, other, f"with network {name}")


@promise()
def families(trainings: Trainings) -> None:
    """It trains on the other families of benchmarks, at the default network."""
    for family in ("permuted", "rotated", "two-task"):
        name = f"{family}-{DATASET}"
        offered: Any = benchmarks.summary(name)["scenarios"]
        if trainings.scenario not in offered:
            continue
        run, other = (
            trainings.config(
                seed,
                settings,
                family=family,
                tasks=2,
                network=NetworkConfig(),
                training=TrainingConfig(batch_size=64, iterations=trainings.iterations),
                evaluated_every=None,
                images=4 * 64,
            )
            for seed, settings in ((SEED, trainings.settings), (SEED - 1, trainings.others[0]))
        )
        _sound(run, other if family == "permuted" else None, f"on {name}")


def _sound(run: RunConfig, other: RunConfig | None, where: str) -> None:
    """Train a run, which must stay finite, and where another is given the two together."""
    alone = train([run])[0]
    found = not_finite(alone)
    _need(not found, f"{where}, {_listed(found)} not finite")
    if other is not None:
        found = differences(alone, train([other, run])[1])
        _need(not found, f"{where}, a run alone and stacked differs in {_listed(found)}")


def _listed(names: list[str]) -> str:
    return ", ".join(names)
