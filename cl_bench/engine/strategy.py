"""The contract that a file in `strategies/` fulfils: one class, its settings, a few hooks.

Hooks are written as for one run. Every tensor has the leading axis R (runs of the stack),
which is free and broadcasts: weights are [R, D], numeric settings [R, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from cl_bench.config import RunConfig, Scenario, added_later
from cl_bench.engine.learner import Learner
from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.state import State, give, take
from cl_bench.engine.tasks import Batch, TaskData

ALL_SCENARIOS = frozenset(Scenario)
ALL_NETWORKS = frozenset({"mlp", "convnet"})


class StrategySettings(BaseModel):
    """A strategy's settings; a field of type float may differ from run to run of a stack."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def setting(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    tune: tuple[float, float] | None = None,
    log: bool = False,
    later: bool = False,
) -> Any:
    """Declare a setting: its default, what it means, its allowed range and the range to tune over.

    Args:
        default: value used where the user gives none.
        doc: meaning and unit, one sentence.
        low: smallest value allowed.
        high: largest value allowed.
        tune: the range a search draws from; None leaves the setting out of searches.
        log: whether the search is over the logarithm.
        later: whether the setting came after runs of the strategy were published (see
            `config.added_later`).
    """
    extra: dict[str, Any] = {"tune": list(tune), "log": log} if tune else {}
    declare = added_later if later else Field
    return declare(default, description=doc, ge=low, le=high, json_schema_extra=extra or None)


class Strategy:
    """A way not to forget. Subclass it in one file; override only the hooks that are needed."""

    title: ClassVar[str] = ""
    """Its name as the field writes it."""
    source: ClassVar[str] = ""
    """Authors, year, venue or arXiv number, equation."""
    scenarios: ClassVar[frozenset[Scenario]] = ALL_SCENARIOS
    """The scenarios it supports."""
    all_data: ClassVar[bool] = False
    """Whether it is given the data of all tasks so far (upper bounds such as joint training)."""
    restart: ClassVar[bool] = False
    """Whether each task starts from the initial weights."""
    keeps_samples: ClassVar[bool] = False
    """Whether it keeps training images."""
    networks: ClassVar[frozenset[str]] = ALL_NETWORKS
    """The networks it can train (`network.name`)."""

    trainer: ClassVar[str | None] = None
    """`module:function` that trains its runs in place of the engine (other libraries' methods)."""

    Settings: ClassVar[type[StrategySettings]] = StrategySettings
    """What can be set, each declared by `setting`; a strategy nests a class of this name."""

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        self.learner = learner
        for name, value in settings.items():
            setattr(self, name, value)

    @classmethod
    def extra_steps(cls, settings: dict[str, Any]) -> int:
        """Return the training steps taken at the end of each task besides the ordinary ones."""
        return 0

    @classmethod
    def task_steps(
        cls, settings: dict[str, Any], ordinary: int, batch_size: int, images: int
    ) -> int:
        """Return the training steps taken on a task.

        Args:
            settings: of the strategy.
            ordinary: the steps that others take.
            batch_size: images of their minibatches.
            images: training images of the tasks up to and with this one.
        """
        return ordinary

    @classmethod
    def check(cls, settings: dict[str, Any], steps: int, outputs: int) -> None:
        """Raise a ValueError where settings cannot work with so few steps a task, or outputs."""

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Return why a resolved run cannot work with it and what would; None where it can."""
        return None

    @property
    def theta(self) -> Tensor:
        """The weights, [R, D]; change them in place."""
        return self.learner.theta

    def begin_task(self, task: TaskData) -> None:
        """Prepare for a task; its training data are at hand."""

    def begin_step(self, batch: Batch) -> Batch:
        """Return the minibatch to train on: the given one, or one with kept samples added."""
        return batch

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the training loss [R, 1] of a minibatch from its logits [R, B, C].

        Its gradient flows back through these logits alone.
        """
        return cross_entropy(logits, batch)

    def adjust_gradient(self, gradient: Tensor) -> None:
        """Change the loss gradient [R, D] in place before the optimiser's step."""

    def after_step(self) -> None:
        """Act after each of the optimiser's steps."""

    def visit(self, step: int) -> None:
        """Act after each of the extra steps at a task's end, counted from 1."""

    def end_task(self, task: TaskData) -> None:
        """Keep what is needed of a task that was just learnt."""

    def predict(self, images: Tensor) -> Tensor:
        """Return the logits [R, n, outputs] of images [R, n, F] at test time; change nothing."""
        return self.learner.network.forward(self.theta, images)

    def state(self) -> State:
        """Return everything that it keeps: all attributes but the learner and the settings.

        Tensors have the runs as their first axis.
        """
        return take(self, self._live(), self._given())

    def load_state(self, kept: State) -> None:
        """Take back what `state` returned; what else it kept is forgotten."""
        give(self, kept, self._live(), self._given())

    def bytes_kept(self) -> int:
        """Return the bytes of `state` that one run keeps."""
        return self.state().nbytes // self.learner.runs

    def _given(self) -> set[str]:
        return {"learner", *type(self).Settings.model_fields}

    def _live(self) -> dict[str, object]:
        learner = self.learner
        return {
            "theta": learner.theta,
            "gradient": learner.gradient,
            "initial": learner.initial,
            "network": learner.network,
            "learner": learner,
        }


@dataclass(frozen=True)
class TuneRange:
    """The range that a search draws a setting from."""

    low: float
    high: float
    log: bool
    """Whether the search is over the logarithm."""


def tune_range(settings: type[BaseModel], name: str) -> TuneRange | None:
    """Return the range that a setting is declared to be tuned over; None where it is not."""
    extra = settings.model_fields[name].json_schema_extra
    declared: Any = extra if isinstance(extra, dict) else {}
    if "tune" not in declared:
        return None
    low, high = declared["tune"]
    return TuneRange(low, high, bool(declared["log"]))


def all_settings(strategy: type[Strategy], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting of a strategy: those given, and the defaults of the others.

    A configuration leaves out settings that came later while they have their defaults.
    """
    fields = strategy.Settings.model_fields
    return {name: given.get(name, field.default) for name, field in fields.items()}


def free_settings(strategy: type[Strategy]) -> set[str]:
    """Return the settings of a strategy that may differ from run to run: those of type float."""
    fields = strategy.Settings.model_fields.items()
    return {name for name, field in fields if field.annotation is float}
