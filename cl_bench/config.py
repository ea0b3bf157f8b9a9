"""What a run is: the typed description that plans are made of and records are addressed by.

A `Protocol` is what a user writes (a YAML file in `configs/`, changed by `--set`): one
benchmark, one way of training, some strategies, some seeds. Resolving it gives one
`RunConfig` a run, with every default filled in.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from cl_bench.plain import address

SCHEMA_VERSION = 1

FIRST_TUNING_SEED = 1000
"""Seeds from here on choose settings, and never stand in a result."""

Number = float | int | str | bool


class Scenario(StrEnum):
    """What is known and asked at test time (van de Ven & Tolias, arXiv 1904.07734)."""

    TASK = "task"
    """Task-incremental: the task's identity is given; each task has its own outputs."""
    DOMAIN = "domain"
    """Domain-incremental: the tasks share the outputs; the identity is not given."""
    CLASS = "class"
    """Class-incremental: the class must be told among all classes seen so far."""


def added_later(default: Any, **limits: Any) -> Any:
    """Declare a field that came after runs were published.

    While it has its default it is left out of ids and records, so that the addresses of those
    runs stay.
    """
    return Field(default=default, exclude_if=lambda value: bool(value == default), **limits)


class Section(BaseModel):
    """A part of a configuration: a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BenchmarkConfig(Section):
    """Which task sequence, and how much of its data."""

    name: str = "permuted-mnist"
    """A name of `list benchmarks`."""
    tasks: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Number of tasks; None is the benchmark's own default."""
    scenario: Scenario | None = None
    """None is the benchmark's own default."""
    order: Literal["seed", "fixed"] | None = None
    """Split benchmarks: classes shuffled by the run's seed, or 0, 1, 2, … always."""
    train_samples: Annotated[int, Field(ge=1)] | None = None
    """Training images a task, drawn without replacement; None is all of them."""
    test_samples: Annotated[int, Field(ge=1)] | None = None
    """Test (and validation) images a task; None is all of them."""
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training data held out for tuning; never trained on."""
    padding: Annotated[int, Field(ge=0, le=100)] = added_later(0)
    """Black pixels put around each image before a task permutes or turns it."""
    identity_first: bool = added_later(False)
    """Permuted benchmarks: the first task shows the images as they are."""
    content: str | None = added_later(None)
    """Of a benchmark from outside the suite: a hash of its arrays, or of its source and data."""


def _widths(value: Any) -> Any:
    """Take one number as one hidden layer."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, (list, tuple)):
        raise ValueError(
            f"network.hidden = {value!r}: give the widths of the hidden layers, such as [100, 100]"
        )
    return value


NETWORKS = ("mlp", "convnet", "resnet18", "linear")
"""The networks of the suite."""


class NetworkConfig(Section):
    """The network, one for all runs of a stack."""

    name: str = "mlp"
    """As `describe` knows it; `--network ./mine.py` trains one of your own."""
    hidden: Annotated[
        tuple[Annotated[int, Field(ge=1, le=100_000)], ...], BeforeValidator(_widths)
    ] = (100, 100)
    """Width of each hidden layer; a single number is one layer."""
    input_padding: Annotated[int, Field(ge=0, le=100)] = added_later(0)
    """Black pixels put around each image before the first layer, after what a task does to it."""
    input_mean: float = added_later(0.0)
    """Taken from each pixel (in [0, 1]) before the first layer, those put around it too."""
    input_std: Annotated[float, Field(gt=0)] = added_later(1.0)
    """What each pixel is divided by after that."""
    init: Literal["torch", "xavier"] = added_later("torch")
    """Initial weights: as `torch.nn.Linear` draws them, or Glorot & Bengio's uniform ones with
    biases of 0; of `mlp` alone."""
    norm: Literal["batch", "group"] = added_later("batch")
    """Normalisation of `resnet18`: over the minibatch, with running statistics at test time, or
    over groups of 10 channels of each image."""
    code: str | None = added_later(None)
    """Of a network from outside the suite: a hash of its source."""

    @model_validator(mode="after")
    def _what_it_has(self) -> Self:
        if self.code is None and self.name not in NETWORKS:
            known = ", ".join(NETWORKS)
            raise ValueError(
                f"network.name = {self.name!r}: there are {known}, and files (--network ./mine.py)"
            )
        if self.init != "torch" and self.name != "mlp":
            raise ValueError(f"network.init = {self.init!r}: {self.name} has only 'torch'")
        if self.norm != "batch" and self.name != "resnet18":
            raise ValueError(f"network.norm = {self.norm!r}: only resnet18 has a choice")
        default = type(self).model_fields["hidden"].default
        if self.hidden != default and (self.code or self.name in ("resnet18", "linear")):
            raise ValueError(
                f"network.hidden = {list(self.hidden)}: {self.name} has no widths to choose"
            )
        return self


class OptimizerConfig(Section):
    """The optimiser's rule and its numbers (torch.optim's names and definitions)."""

    name: Literal["sgd", "momentum", "adam", "rmsprop"] = "sgd"
    """The rule: `sgd`, with `momentum`, `adam` or `rmsprop`."""
    learning_rate: Annotated[float, Field(gt=0, le=1000)] = 0.1
    """Step size."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Used by `momentum` alone."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of `adam`'s mean gradient."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Of the mean square gradient; `rmsprop` uses it, too, as torch.optim's alpha."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the mean square gradient."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Times the weights, added to their gradient."""
    reset: bool = True
    """Whether the optimiser's state starts anew with each task."""


class TrainingConfig(Section):
    """How long each task is trained.

    An epoch is as many images as a task has (the same number for every seed, although tasks of
    shuffled classes have a few more with one seed than with another), from an endless shuffled
    order in which every image comes once before any comes twice.
    """

    epochs: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Passes over a task's training data; 1 where neither this nor `iterations` is given."""
    iterations: Annotated[int, Field(ge=1)] | None = None
    """Minibatches a task, in place of epochs."""
    batch_size: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Images of a minibatch."""
    outputs: Literal["seen", "all"] = "seen"
    """Class-incremental: the outputs that compete in the training loss."""
    last_batch: Literal["carry", "short"] = added_later("carry")
    """The images at an epoch's end that fill no minibatch: "carry" has them begin the next epoch's
    first one, so that all minibatches are full, and after the last epoch leaves them out (one epoch
    of 100 images in minibatches of 64 trains 64); "short" has them make a minibatch of their own,
    as other libraries do. Extra steps at a task's end take full minibatches either way."""

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: Any) -> Any:
        if isinstance(values, dict):
            given = [key for key in ("epochs", "iterations") if values.get(key) is not None]
            if len(given) == 2:
                raise ValueError("give training.epochs or training.iterations, not both")
            if not given:
                values = {**values, "epochs": 1}
        return values

    @model_validator(mode="after")
    def _whole_epochs(self) -> Self:
        if self.last_batch == "short" and self.epochs is not None and self.epochs % 1:
            raise ValueError(
                f"training.epochs = {self.epochs}: with training.last_batch = 'short' it must be "
                "a whole number"
            )
        return self


class EvaluationConfig(Section):
    """What is evaluated besides every task after each task."""

    split: Literal["test", "valid"] = "test"
    """The images it is done on: the test images, or those held out for tuning."""
    every: Annotated[int, Field(ge=1)] | None = None
    """Evaluate all seen tasks every so many steps during training."""
    switch_every: Annotated[int, Field(ge=1)] | None = None
    """The same just after a switch of task, for the stability gap."""
    switch_steps: Annotated[int, Field(ge=0)] = 0
    """How many steps after a switch `switch_every` holds."""
    landscape: Annotated[int, Field(ge=100)] | None = added_later(None)
    """Measure the loss around each past task's minimum, on so many of its training images (at most
    all of them); None measures nothing."""

    @model_validator(mode="after")
    def _dense_for_how_long(self) -> Self:
        if (self.switch_every is None) != (self.switch_steps == 0):
            raise ValueError(
                "give evaluation.switch_every and evaluation.switch_steps (at least 1) together"
            )
        return self

    def due(self, task: int, step: int) -> bool:
        """Return whether the seen tasks are evaluated after a step of a task's training."""
        dense = task > 0 and self.switch_every and step <= self.switch_steps
        if dense and step % (self.switch_every or 1) == 0:
            return True
        return bool(self.every) and step % (self.every or 1) == 0


class StrategyConfig(Section):
    """Which strategy, with every setting resolved."""

    name: str
    settings: dict[str, Number] = {}
    code: str | None = None
    """SHA-256 of the source of a strategy that lives outside the suite."""


_SEEDS = TypeAdapter(
    Annotated[int, Field(ge=1, le=10_000)]
    | Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
)


class Protocol(Section):
    """What a user asks for: one benchmark and way of training, several strategies and seeds."""

    description: str = ""
    source: str = ""
    """Where the protocol comes from (paper, table)."""
    benchmark: BenchmarkConfig = BenchmarkConfig()
    network: NetworkConfig = NetworkConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    strategies: dict[str, dict[str, Any]] = {"flatness": {}}
    """Strategy name to its settings; a list in place of a number is a grid."""
    seeds: int | tuple[int, ...] = 5
    """Number of seeds, or the seeds themselves."""
    first_seed: Annotated[int, Field(ge=0)] = 0
    """Of so many seeds; the others follow it."""
    init_seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of the initial weights of all runs; None is each run's own seed."""

    @field_validator("seeds", mode="plain")
    @classmethod
    def _seeds_in_either_way(cls, value: Any) -> int | tuple[int, ...]:
        try:
            seeds = _SEEDS.validate_python(value)
        except ValidationError:
            raise ValueError(
                f"seeds = {value!r}: give their number (1 to 10000), or a list such as [5, 6, 7]"
            ) from None
        if isinstance(seeds, tuple) and len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds = {list(seeds)}: a seed stands twice")
        return seeds

    @model_validator(mode="after")
    def _first_of_a_number(self) -> Self:
        if self.first_seed and not isinstance(self.seeds, int):
            raise ValueError(
                f"first_seed = {self.first_seed}: seeds are given by number, so there is no first "
                "one to choose; leave it out"
            )
        return self

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Return the seeds of its runs."""
        if isinstance(self.seeds, int):
            return tuple(range(self.first_seed, self.first_seed + self.seeds))
        return self.seeds

    def run(self, benchmark: BenchmarkConfig, strategy: StrategyConfig, seed: int) -> RunConfig:
        """Return one of its runs, given the resolved benchmark and strategy."""
        return RunConfig(
            benchmark=benchmark,
            network=self.network,
            optimizer=self.optimizer,
            training=self.training,
            evaluation=self.evaluation,
            strategy=strategy,
            seed=seed,
            init_seed=self.init_seed,
        )


class RunConfig(Section):
    """One run, fully resolved: the same config gives the same bits on one platform."""

    benchmark: BenchmarkConfig
    network: NetworkConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    strategy: StrategyConfig
    seed: Annotated[int, Field(ge=0)]
    """Of everything random: the task stream, the order of minibatches, the initial weights."""
    init_seed: Annotated[int, Field(ge=0)] | None = added_later(None)
    """Of the initial weights in place of `seed`."""

    @property
    def weights_seed(self) -> int:
        """Return the seed of the initial weights."""
        return self.seed if self.init_seed is None else self.init_seed

    @property
    def run_id(self) -> str:
        """Return the content address: 16 hexadecimal digits of the resolved config's SHA-256."""
        return self._address()

    @property
    def group_id(self) -> str:
        """Return the address of all but the seed: runs to be averaged share it."""
        return self._address("seed")

    @property
    def protocol_id(self) -> str:
        """Return the address of all but strategy and seed: runs that may be compared share it."""
        return self._address("seed", "strategy")

    def _address(self, *left_out: str) -> str:
        content = self.model_dump(mode="json", exclude=set(left_out))
        return address({"schema": SCHEMA_VERSION, **content})
