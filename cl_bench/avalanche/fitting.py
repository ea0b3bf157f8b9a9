"""What a strategy of ours needs of a user's data and loop, and what is refused without it.

Avalanche's datasets and experiences are read here in whatever form they come.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from cl_bench.avalanche.torch_parts import are_bytes
from cl_bench.config import (
    BenchmarkConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimizerConfig,
    RunConfig,
    Scenario,
    StrategyConfig,
    TrainingConfig,
)
from cl_bench.engine.networks import MLP, Network
from cl_bench.engine.strategy import Strategy
from cl_bench.errors import UserError, unknown

_LOADED_AT_ONCE = 500


def check_choices(name: str, kind: type[Strategy], scenario: str, outputs: str) -> None:
    """Refuse a strategy that a plug-in cannot give what it needs, and choices that there are not.

    Raises:
        UserError: it is another library's, needs more than one task's data, or the like.
    """
    if scenario not in list(Scenario):
        raise unknown("scenario", str(scenario), list(Scenario))
    if outputs not in ("seen", "all"):
        raise UserError(f"outputs = {outputs!r}: must be 'seen' or 'all'")
    if ":" in name:
        raise UserError(f"{name} is another library's; use its own classes")
    if kind.all_data or kind.restart:
        instead = {
            (True, True): "JointTraining",
            (True, False): "Cumulative",
            (False, True): "FromScratchTraining",
        }[kind.all_data, kind.restart]
        raise UserError(
            f"{name} needs more than a plug-in is given; use avalanche.training.{instead}"
        )
    if scenario not in kind.scenarios:
        known = ", ".join(s for s in Scenario if s in kind.scenarios)
        raise UserError(
            f"strategy '{name}' does not work in the {scenario} scenario (it supports: {known})"
        )


def check_labels(labels: Tensor, outputs: int) -> None:
    """Refuse labels [n] that the model has no output for."""
    if labels.min() < 0 or labels.max() >= outputs:
        raise UserError(f"a label is {int(labels.max())}; the model has {outputs} outputs")


def check_bytes(name: str, kind: type[Strategy], seen: Tensor) -> None:
    """Refuse images that a strategy would keep as bytes and that are none.

    Args:
        name: the strategy's.
        kind: its class.
        seen: images as strategies see them, [n, F].
    """
    if kind.keeps_samples and not are_bytes(seen):
        raise UserError(
            f"{name} keeps images as bytes, and the data's are not bytes, scaled: leave "
            "out transforms after ToTensor() but Normalize, or make them the model's layers"
        )


def run_config(
    strategy: StrategyConfig,
    kind: type[Strategy],
    network: Network,
    scenario: Scenario,
    batch_size: int,
    outputs: str,
    seed: int,
) -> RunConfig:
    """Return the run that a user's training is, as the engine knows it.

    Raises:
        UserError: the strategy cannot train such a model.
    """
    shape: Literal["mlp", "convnet"] = "mlp" if isinstance(network, MLP) else "convnet"
    if shape not in kind.networks:
        raise UserError(
            f"strategy '{strategy.name}' needs a plain MLP "
            "(linear layers with biases, ReLU between them), which the model is not"
        )
    training = {"batch_size": batch_size, "outputs": outputs}
    return RunConfig(
        benchmark=BenchmarkConfig(name="a user's", scenario=scenario),
        network=NetworkConfig(name=shape),
        optimizer=OptimizerConfig(),
        training=TrainingConfig.model_validate(training),
        evaluation=EvaluationConfig(),
        strategy=strategy,
        seed=seed,
    )


def load_images(dataset: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return all images [n, *shape] and labels [n] of a dataset, as the user's loop loads them."""
    loader = DataLoader(
        dataset.train(),
        batch_size=_LOADED_AT_ONCE,
        collate_fn=getattr(dataset, "collate_fn", None),
    )
    images, labels = zip(*((batch[0], batch[1]) for batch in loader), strict=True)
    return torch.cat(images).to(device, torch.float32), torch.cat(labels).to(device)


def classes_of(experience: Any) -> list[int]:
    """Return the classes of an experience."""
    given = getattr(experience, "classes_in_this_experience", None)
    return sorted({int(c) for c in (experience.dataset.targets if given is None else given)})
