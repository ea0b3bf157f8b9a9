"""What one study of the landscape is of: data, network, optimiser, window, layer and seeds.

A setting is all that the numbers of a study depend on; its record is addressed by it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from cl_bench.config import (
    BenchmarkConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimizerConfig,
    RunConfig,
    Scenario,
    Section,
    StrategyConfig,
    TrainingConfig,
)
from cl_bench.errors import unknown

VERSION = 3
"""Goes up whenever the same setting would give other numbers."""


Sampling = Literal["without", "with"]
"""Whether an epoch's minibatches are drawn without replacement, as usual, or with it."""


class Setting(Section):
    """One way of training, and the window of it that is studied; the defaults are the paper's.

    Feng & Tu, arXiv 2001.01678, our reading.
    """

    dataset: Literal["mnist", "fashion-mnist", "mnist-5k"] = "mnist"
    train_samples: Annotated[int, Field(ge=100)] | None = None
    """Training images; None is all of them."""
    network: NetworkConfig = NetworkConfig(hidden=(50, 50))
    optimizer: OptimizerConfig = OptimizerConfig(name="sgd", learning_rate=0.1)
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 50
    sampling: Sampling = "without"
    epochs: Annotated[float, Field(ge=0, le=10_000)] = 33
    """Trained before the window."""
    window_epochs: Annotated[float, Field(gt=0, le=1000)] = 10
    """T, one snapshot a step."""
    layer: Annotated[int, Field(ge=0)] | None = 1
    """The layer whose weights (its bias left out) are studied, from 0; None is all weights."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 5
    first_seed: Annotated[int, Field(ge=0)] = 0
    leading: Annotated[int, Field(ge=1)] = 50
    """Every principal direction before this one is measured, from 0."""
    last: Annotated[int, Field(ge=1)] = 400
    """No direction from this one on is."""
    spread: Annotated[int, Field(ge=0)] = 50
    """About so many between the two, evenly spaced in the logarithm."""
    loss_samples: Annotated[int, Field(ge=100)] | None = None
    """Training images in the loss whose flatness is measured; None is all of them, exactly."""
    trajectory: Literal["exact", "snapshots", "sketch"] | None = None
    """How the weights' moments are taken (`trajectory.Kind`); None is exact where they are few."""
    controls: bool = True
    """Whether the null controls are run."""
    alone: bool = True
    """Whether, as a further control, the layer is trained by itself, under its own noise and under
    isotropic noise."""
    noise: bool = True
    """Whether temperature and correlation time are measured, and the theory is held to them."""
    looks: Annotated[int, Field(ge=0, le=1000)] = 20
    """About so many looks at noise and landscape from the first step on; 0 is none."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.last < self.leading:
            raise ValueError(f"last = {self.last} must be at least leading = {self.leading}")
        layers = len(self.network.hidden) + 1 if self.network.name == "mlp" else 4
        if self.layer is not None and self.layer >= layers:
            raise ValueError(
                f"layer = {self.layer}, but the network has layers 0 to {layers - 1}; "
                "give one of them, or null for all weights"
            )
        return self

    @property
    def setting_id(self) -> str:
        """Return the content address: 16 hexadecimal digits."""
        content = {"version": VERSION, **self.model_dump(mode="json")}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Return every seed of the study."""
        return tuple(range(self.first_seed, self.first_seed + self.seeds))

    def directions(self, most: int) -> list[int]:
        """Return the indices of the principal directions measured, of `most` that there are."""
        last = min(self.last, most)
        chosen = set(range(min(self.leading, last)))
        if last > self.leading and self.spread:
            ratio = (last - 1) / self.leading
            powers = (i / max(self.spread - 1, 1) for i in range(self.spread))
            chosen |= {round(self.leading * ratio**power) for power in powers}
        return sorted(chosen)

    def run_config(self, seed: int) -> RunConfig:
        """Return the training of one seed: all ten classes as one task, images as they are."""
        return RunConfig(
            benchmark=BenchmarkConfig(
                name=f"split-{self.dataset}",
                tasks=1,
                scenario=Scenario.DOMAIN,
                train_samples=self.train_samples,
            ),
            network=self.network,
            optimizer=self.optimizer,
            training=TrainingConfig(epochs=1, batch_size=self.batch_size),
            evaluation=EvaluationConfig(),
            strategy=StrategyConfig(name="naive"),
            seed=seed,
        )


_QUICK = {"train_samples": 5000, "epochs": 40, "leading": 20, "last": 100, "spread": 15}
_VARIANTS: dict[str, dict[str, Any]] = {
    "before": {"epochs": 4},
    "between": {"epochs": 15},
    "late": {"epochs": 120},
    "with-replacement": {"sampling": "with"},
    "batch-20": {"batch_size": 20, "epochs": 30, "window_epochs": 5},
    "batch-200": {"batch_size": 200, "epochs": 160, "window_epochs": 40},
    "rate-0.05": {"optimizer": {"learning_rate": 0.05}, "epochs": 80},
    "rate-0.2": {"optimizer": {"learning_rate": 0.2}},
    "momentum": {"optimizer": {"name": "momentum", "learning_rate": 0.01}},
    "adam": {"optimizer": {"name": "adam", "learning_rate": 3e-4}, "epochs": 100},
    "rmsprop": {"optimizer": {"name": "rmsprop", "learning_rate": 1e-4}, "epochs": 120},
    "first-layer": {"layer": 0},
    "last-layer": {"layer": 2},
    "all-weights": {"layer": None},
    "all-weights-sketch": {"layer": None, "trajectory": "sketch"},
    "convnet": {"network": {"name": "convnet", "hidden": [50]}, "layer": 3},
    "fashion": {"dataset": "fashion-mnist", "epochs": 150},
}
"""How further settings differ from "quick", beside leaving out the controls that train the layer
alone, which cost as much as all else."""

NAMED: dict[str, dict[str, Any]] = {
    "paper": {},
    "quick": _QUICK,
    **{name: {**_QUICK, "alone": False, **changes} for name, changes in _VARIANTS.items()},
}
"""Settings by name: how each differs from the paper's."""


def named(name: str) -> dict[str, Any]:
    """Return what a named setting changes; a UserError where there is none of the name."""
    if name not in NAMED:
        raise unknown("setting", name, NAMED)
    return NAMED[name]
