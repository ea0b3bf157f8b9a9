"""Studies side by side: one row a setting, so that one sees where the relation holds.

Everything is computed from the records alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cl_bench.landscape.relation import Relation, of_row
from cl_bench.metrics.statistics import Interval, mean_interval

if TYPE_CHECKING:
    import pandas as pd

    from cl_bench.landscape.findings import Findings
    from cl_bench.landscape.setting import Setting

LOSSES = (1.0, 0.3, 0.1)
"""Training losses at which noise is compared across batch sizes and rates."""


@dataclass(frozen=True)
class Trained:
    """What was trained in a setting, and how far."""

    setting: str
    data: str
    optimizer: str
    rate: float
    batch: int
    epochs: str
    """Before the window, and in it."""
    seeds: int
    loss: float
    """Of the training images at the window's end, mean over seeds."""
    error: float
    verdicts: dict[str, str]
    """The word of each claim's verdict."""


@dataclass(frozen=True)
class Exponent:
    """How a quantity goes with flatness in a setting."""

    setting: str
    quantity: str
    analysis: str
    range: str
    relation: Relation


@dataclass(frozen=True)
class ScaledNoise:
    """How strong noise is at a loss, with batch size and rate divided out.

    `temperature` is alpha / 2 times the trace of the minibatch gradients' covariance at the last
    look before training's loss falls below `loss` for good, interpolated in logarithms; `scaled`
    is it times B / alpha, which is the same for all settings if noise is alpha / B times what the
    landscape has at that loss; `sharpness` is the largest eigenvalue there.
    """

    setting: str
    batch: int
    rate: float
    loss: float
    temperature: float
    scaled: Interval
    sharpness: Interval


def settings(found: Mapping[str, Findings]) -> list[Trained]:
    """Return a row a setting."""
    rows = []
    for name, each in found.items():
        setting = each.setting
        end = each.tables["training"]
        end = end[end["epoch"] == end["epoch"].max()]
        rows.append(
            Trained(
                setting=name,
                data=setting.dataset,
                optimizer=setting.optimizer.name,
                rate=setting.optimizer.learning_rate,
                batch=setting.batch_size,
                epochs=f"{setting.epochs:g} + {setting.window_epochs:g}",
                seeds=setting.seeds,
                loss=float(end["loss"].mean()),
                error=float(end["error"].mean()),
                verdicts={verdict.claim: verdict.verdict for verdict in each.verdicts},
            )
        )
    return rows


def exponents(found: Mapping[str, Findings]) -> list[Exponent]:
    """Return psi and rho of each setting, analysis and range, of variance and of temperature."""
    rows = []
    for name, each in found.items():
        tables = {"variance": each.tables["relations"].query("source == 'sgd'")}
        if "noise_relations" in each.tables:
            warm = each.tables["noise_relations"]
            tables["temperature"] = warm.query("quantity == 'temperature' and not control")
            tables["correlation time"] = warm.query("quantity == 'correlation_time'")
        for quantity, table in tables.items():
            for row in table.to_dict("records"):
                rows.append(Exponent(name, quantity, row["analysis"], row["range"], of_row(row)))
    return rows


def noise_scaling(found: Mapping[str, Findings]) -> list[ScaledNoise]:
    """Return how strong the noise is at equal loss: a row a setting and loss that it reached."""
    rows = []
    for name, each in found.items():
        if "annealing" not in each.tables:
            continue
        setting, table = each.setting, each.tables["annealing"]
        seeds = [part for _, part in table[table["source"] == "sgd"].groupby("seed")]
        ratio = setting.batch_size / _effective_rate(setting)
        for loss in LOSSES:
            if any(part["loss"].min() > loss for part in seeds):
                continue
            warm = mean_interval([_at(part, "temperature", loss) for part in seeds])
            sharp = mean_interval([_at(part, "sharpness", loss) for part in seeds])
            rows.append(
                ScaledNoise(
                    setting=name,
                    batch=setting.batch_size,
                    rate=setting.optimizer.learning_rate,
                    loss=loss,
                    temperature=warm.mean,
                    scaled=Interval(
                        warm.mean * ratio, warm.low * ratio, warm.high * ratio, warm.count
                    ),
                    sharpness=sharp,
                )
            )
    return rows


def _effective_rate(setting: Setting) -> float:
    """Return how far a steady gradient of 1 moves a weight each step."""
    optimizer = setting.optimizer
    kept = optimizer.momentum if optimizer.name == "momentum" else 0.0
    return optimizer.learning_rate / (1 - kept)


def _at(of_seed: pd.DataFrame, column: str, loss: float) -> float:
    """Return a column where the loss has last fallen below a level, by straight lines in logs."""
    rows = of_seed.sort_values("step")
    losses = rows["loss"].to_numpy(float)
    values = np.log(rows[column].to_numpy(float))
    above = np.flatnonzero(losses > loss)
    last = int(above[-1]) if len(above) else 0
    if last + 1 >= len(losses):
        return float(np.exp(values[-1]))
    share = np.log(losses[last] / loss) / np.log(losses[last] / losses[last + 1])
    return float(np.exp(values[last] + share * (values[last + 1] - values[last])))
