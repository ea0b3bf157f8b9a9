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
from cl_bench.methods.consolidation import KroneckerConsolidation, SnapshotConsolidation
from cl_bench.methods.fluctuation import (
    Kind,
    fluctuations,
    in_units_of_the_mean,
    layer_moments,
    principal_components,
)
from cl_bench.methods.kronecker import Kronecker
from cl_bench.methods.precision import Diagonal, LowRank, Precision

Shape = Literal["kronecker", "diagonal", "low-rank", "low-rank+diagonal"]


class Flatness(KroneckerConsolidation, SnapshotConsolidation):
    """Precision = (variance / mean variance)^gamma, in one of four shapes.

    The relation sigma^2 ~ F^-psi gives the constraint F^-2 ~ (sigma^2)^(2/psi): gamma = 2/psi for
    measured principal directions. Tasks are merged at constant memory about the newest anchor.

    In the Kronecker shape a coordinate's variance is that of its row times that of its column (so
    that no snapshot is kept and few steps suffice), and every direction is held a little where
    two tasks train the same few outputs (`floor`): noise near one task's minimum does not tell
    what lies far away.
    """

    title = "Flatness consolidation"
    source = "from the variance-flatness relation of Feng & Tu 2020 (arXiv 2001.01678); ours"

    strength: Tensor = setting(
        0.006, "weight of the penalty", low=0, high=1e12, tune=(1e-5, 1e6), log=True
    )
    floor: Tensor = setting(
        0.3,
        "kronecker shape: precision of every direction where r = 1 (two classes); floor / r^3",
        low=0,
        high=1e12,
    )
    snapshot_every: int = setting(2, "training steps from one snapshot to the next", low=1)
    every: int = setting(8, "apply the implicit step once every so many training steps", low=1)
    shape: Shape = setting("kronecker", "which combinations of weights are held")
    fluctuation: Kind = setting(
        "increments", "changes between snapshots, or deviations from their mean"
    )
    gamma: Tensor = setting(1.0, "power of the variance that gives the precision", low=0, high=4)
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
        anchor = self.theta.clone()
        if self.shape == "kronecker":
            return self._kronecker(anchor)
        moves = fluctuations(self.take_snapshots(), self.fluctuation)
        if self.shape == "diagonal":
            return self._diagonal(moves.square().mean(1), anchor)
        return self._low_rank(moves, anchor)

    def _kronecker(self, anchor: Tensor) -> Kronecker:
        past, network = self.precision, self.learner.network
        assert past is None or isinstance(past, Kronecker)
        if self.by_layer:
            moments = self.take_moments()
        else:
            moves = fluctuations(self.take_snapshots(), self.fluctuation)
            moments = layer_moments(moves, network.layer_blocks)
        factors = in_units_of_the_mean(moments, anchor.shape[1])
        return Kronecker.joined(
            network, factors, past, anchor, rank=self.input_rank, power=self.gamma
        )

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
