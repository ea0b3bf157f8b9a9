"""Studies side by side: one row a setting, so that one sees where the relation holds.

Everything is computed from the records alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cl_bench.metrics.statistics import mean_interval

if TYPE_CHECKING:
    import pandas as pd

    from cl_bench.landscape.record import LandscapeRecord
    from cl_bench.landscape.setting import Setting

Rows = list[dict[str, Any]]
LOSSES = (1.0, 0.3, 0.1)
"""Training losses at which noise is compared across batch sizes and rates."""


def settings(found: Mapping[str, LandscapeRecord]) -> Rows:
    """Return what was trained in each setting, how far, and the words of the verdicts."""
    rows = []
    for name, each in found.items():
        setting = each.setting
        end = each.tables["training"]
        end = end[end["epoch"] == end["epoch"].max()]
        rows.append(
            {
                "setting": name,
                "data": setting.dataset,
                "optimizer": setting.optimizer.name,
                "rate": setting.optimizer.learning_rate,
                "batch": setting.batch_size,
                "epochs": f"{setting.epochs:g} + {setting.window_epochs:g}",
                "seeds": setting.seeds,
                "loss": float(end["loss"].mean()),
                "error": float(end["error"].mean()),
                **{verdict["claim"]: verdict["verdict"] for verdict in each.verdicts},
            }
        )
    return rows


def exponents(found: Mapping[str, LandscapeRecord]) -> Rows:
    """Return psi and rho of each setting, analysis and range, of variance and of temperature."""
    rows = []
    for name, each in found.items():
        own = each.tables["relations"].query("source == 'sgd'")
        tables = {"variance": own}
        if "noise_relations" in each.tables:
            warm = each.tables["noise_relations"]
            tables["temperature"] = warm.query("quantity == 'temperature' and not control")
            tables["correlation time"] = warm.query("quantity == 'correlation_time'")
        for quantity, table in tables.items():
            for row in table.to_dict("records"):
                kept = ("psi", "psi_low", "psi_high", "rho", "rho_low", "rho_high")
                rows.append(
                    {
                        "setting": name,
                        "quantity": quantity,
                        "analysis": row["analysis"],
                        "range": row["range"],
                        **{key: row[key] for key in kept},
                    }
                )
    return rows


def noise_scaling(found: Mapping[str, LandscapeRecord]) -> Rows:
    """Return how strong the noise is at equal loss, with batch size and rate divided out.

    `temperature` is alpha / 2 times the trace of the minibatch gradients' covariance at the last
    look before training's loss falls below `loss` for good, interpolated in logarithms; `scaled`
    is it times B / alpha, which is the same for all settings if noise is alpha / B times what the
    landscape has at that loss; `sharpness` is the largest eigenvalue there.
    """
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
                {
                    "setting": name,
                    "batch": setting.batch_size,
                    "rate": setting.optimizer.learning_rate,
                    "loss": loss,
                    "temperature": warm.mean,
                    "scaled": warm.mean * ratio,
                    "scaled_low": warm.low * ratio,
                    "scaled_high": warm.high * ratio,
                    "sharpness": sharp.mean,
                    "sharpness_low": sharp.low,
                    "sharpness_high": sharp.high,
                }
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
