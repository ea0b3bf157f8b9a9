"""Flatness consolidation: directions in which SGD's weights fluctuate most are held most firmly.

By the inverse variance-flatness relation the loss is sharp where the weights vary much, so the
fluctuation at a task's end tells what the task needs, without a Fisher or any extra gradient.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import TaskData
from cl_bench.methods.consolidation import FluctuationConsolidation
from cl_bench.methods.fluctuation import (
    Kind,
    column_moments,
    fluctuations,
    principal_components,
    row_moments,
)
from cl_bench.methods.precision import Diagonal, LowRank, Precision

Shape = Literal["kronecker", "diagonal", "low-rank", "low-rank+diagonal"]


class Flatness(FluctuationConsolidation):
    """Precision = (variance / mean variance)^gamma, in one of four shapes.

    The relation sigma^2 ~ F^-psi gives the constraint F^-2 ~ (sigma^2)^(2/psi): gamma = 2/psi for
    measured principal directions. Tasks are merged at constant memory about the newest anchor.

    In the Kronecker shape a coordinate's precision is the variance of its row times the second
    moment of its input direction (no snapshot is kept and few steps suffice), and where tasks
    train the same few outputs every row is held, too (`row_floor`): noise near one task's minimum
    tells what its few classes need as the network now is, not what the other rows may do to them.
    """

    title = "Flatness consolidation"
    source = "from the variance-flatness relation of Feng & Tu 2020 (arXiv 2001.01678); ours"

    strength: Tensor = setting(
        0.006, "weight of the penalty", low=0, high=1e12, tune=(1e-5, 1e6), log=True
    )
    row_floor: Tensor = setting(
        3.0,
        "kronecker shape: holds each input in every row, in units of the rows' mean, where r = 1",
        low=0,
        high=1e12,
    )
    snapshot_every: int = setting(2, "training steps from one snapshot to the next", low=1)
    every: int = setting(8, "apply the implicit step once every so many training steps", low=1)
    shape: Shape = setting("kronecker", "which combinations of weights are held")
    fluctuation: Kind = setting(
        "increments", "changes between snapshots, or deviations from their mean"
    )
    columns: Literal["inputs", "motion"] = setting(
        "inputs",
        "kronecker shape: its column factor, the inputs' of an MLP's layers or the motion's",
    )
    rank: int = setting(
        50,
        "low-rank shapes: directions taken from each task, at most those its snapshots span",
        low=1,
    )
    kept_rank: int = setting(150, "low-rank shapes: directions kept of all tasks", low=1)

    @property
    def by_layer(self) -> bool:
        return self.shape == "kronecker" and self.fluctuation == "increments"

    def measure(self, task: TaskData) -> Precision:
        if self.shape == "kronecker":
            return self.kronecker(task)
        anchor = self.theta.clone()
        moves = fluctuations(self.take_snapshots(), self.fluctuation)
        if self.shape == "diagonal":
            return self._diagonal(moves.square().mean(1), anchor)
        return self._low_rank(moves, anchor)

    def moments(self) -> tuple[list[Tensor], list[Tensor]]:
        if self.by_layer:
            return super().moments()
        moves = fluctuations(self.take_snapshots(), self.fluctuation)
        blocks = self.learner.network.layer_blocks
        return row_moments(moves, blocks), column_moments(moves, blocks)

    def _diagonal(self, variance: Tensor, anchor: Tensor) -> Diagonal:
        omega = variance.pow(self.gamma)
        past = self.precision.diagonal if isinstance(self.precision, LowRank) else self.precision
        if past is not None:
            assert isinstance(past, Diagonal)
            omega += past.omega
        return Diagonal(omega, anchor)

    def _low_rank(self, moves: Tensor, anchor: Tensor) -> LowRank:
        found = principal_components(moves, self.rank)
        diagonal = None
        if self.shape == "low-rank+diagonal":
            explained = torch.bmm(found.variances.unsqueeze(1), found.directions.square())
            rest = (moves.square().mean(1) - explained.squeeze(1)).clamp(min=0)
            diagonal = self._diagonal(rest, anchor)
        scale = found.variances.pow(self.gamma)
        if isinstance(self.precision, LowRank):
            past = LowRank.about(self.precision.directions, self.precision.scale, anchor)
            merged = past.plus(LowRank.about(found.directions, scale, anchor), self.kept_rank)
            return LowRank.about(merged.directions, merged.scale, anchor, diagonal)
        return LowRank.about(found.directions, scale, anchor, diagonal)
