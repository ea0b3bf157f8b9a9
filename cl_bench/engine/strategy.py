"""The contract that a file in `strategies/` fulfils: one class, its settings, a few hooks.

Hooks are written as for one run. Every tensor has the leading axis R (runs of the stack),
which is free and broadcasts: weights are [R, D], numeric settings [R, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from cl_bench.config import RunConfig, Scenario
from cl_bench.engine.learner import Learner
from cl_bench.engine.losses import cross_entropy
from cl_bench.engine.settings import StrategySettings, collect
from cl_bench.engine.state import State, give, take
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.engine.trained import Trained

ALL_SCENARIOS = frozenset(Scenario)
ALL_NETWORKS = frozenset({"mlp", "convnet"})


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
    makes_pixels: ClassVar[bool] = False
    """Whether it makes images of its own, of bytes: it cannot do with float features."""
    isolates: ClassVar[bool] = False
    """Whether what it predicts on a task, told which, never changes once that task is learnt."""
    networks: ClassVar[frozenset[str]] = ALL_NETWORKS
    """The networks it can train (`network.name`)."""

    trainer: ClassVar[str | None] = None
    """`module:function` that trains its runs in place of the engine (other libraries' methods)."""

    Settings: ClassVar[type[StrategySettings]] = StrategySettings
    """The model of its settings, made of those that its class declares by `setting`."""

    learner: Learner
    """The stack in training."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Settings" in vars(cls):
            raise TypeError(
                f"{cls.__name__}: settings are declared on the class itself, "
                "name: Tensor = setting(default, meaning)"
            )
        cls.Settings = collect(cls)

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        self.learner = learner
        for name, value in settings.items():
            setattr(self, name, value)

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        """Raise a ValueError where settings do not go together."""

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
        """Return the minibatch to train on: the given one, or one with kept samples joined."""
        return batch

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the training loss [R, 1] of a minibatch from its logits [R, B, C].

        Its gradient flows back through these logits, and to the strategy's own `Trained`.
        """
        return cross_entropy(logits, batch)

    def objective(self, theta: Tensor, batch: Batch) -> Tensor:
        """Return the training loss [R, 1] of a minibatch as a function of the weights [R, D].

        Override it in place of `loss` where the loss is not one of logits alone: for features
        (`learner.network.features(theta, batch.images)`), for weights behind a mask. Autograd takes
        its gradient; `loss` is several times faster.
        """
        return self.loss(self.learner.network.forward(theta, batch.images), batch)

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        """Change the loss gradient [R, D] in place before the optimiser's step."""

    def after_step(self, batch: Batch) -> None:
        """Act after each of the optimiser's steps; the minibatch is the one trained on."""

    def visit(self, step: int) -> None:
        """Act after each of the extra steps at a task's end, counted from 1."""

    def end_task(self, task: TaskData) -> None:
        """Keep what is needed of a task that was just learnt."""

    def predict(self, images: Tensor, task: int | None) -> Tensor:
        """Return the logits [R, n, outputs] of images [R, n, F] at test time; change nothing.

        Args:
            images: in [0, 1].
            task: the number of their task, from 0, where the scenario gives it (it may be one that
                was not trained yet); None where it does not.
        """
        return self.learner.network.forward(self.theta, images)

    def trained(self) -> list[Trained]:
        """Return the attributes that its loss trains along with the weights."""
        return [value for value in vars(self).values() if isinstance(value, Trained)]

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


def all_settings(strategy: type[Strategy], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting of a strategy: those given, and the defaults of the others.

    A configuration leaves out settings that came later while they have their defaults.
    """
    fields = strategy.Settings.model_fields
    return {name: given.get(name, field.default) for name, field in fields.items()}


def free_settings(strategy: type[Strategy]) -> set[str]:
    """Return the settings of a strategy that may differ from run to run: those that are numbers."""
    fields = strategy.Settings.model_fields.items()
    return {name for name, field in fields if field.annotation is float}
