"""What a stack is evaluated to while it trains, row by row, and the records made of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from cl_bench.benchmarks.base import Benchmark
from cl_bench.config import RunConfig
from cl_bench.engine.evaluation import Evaluation
from cl_bench.engine.networks import Network
from cl_bench.engine.probe import Findings
from cl_bench.results.provenance import Provenance
from cl_bench.results.record import TABLES, Cost, RunRecord


class Recorder:
    """The tables of a stack's runs.

    Args:
        configs: the runs.
        benchmark: what they are trained on.
    """

    def __init__(self, configs: Sequence[RunConfig], benchmark: Benchmark) -> None:
        self.configs = configs
        self.benchmark = benchmark
        self.rows: dict[str, list[list[list[Any]]]] = {
            table: [[] for _ in configs] for table in TABLES
        }
        """By table: the rows of each run, values in the order of the table's columns."""

    def after_task(self, after: int, task: int, found: Evaluation) -> None:
        """Keep the evaluation of a task after another was trained (-1: before any)."""
        self._keep("accuracy", {"after_task": after, "task": task}, found)
        if found.confusion is not None:
            for run, label, predicted in found.confusion.nonzero().tolist():
                count = int(found.confusion[run, label, predicted])
                self.rows["predictions"][run].append([after, task, label, predicted, count])

    def during_task(
        self, training_task: int, step: int, samples_seen: int, task: int, found: Evaluation
    ) -> None:
        """Keep the evaluation of a task after so many steps on the one in training."""
        where = {
            "training_task": training_task,
            "step": step,
            "samples_seen": samples_seen,
            "task": task,
        }
        self._keep("curve", where, found)

    def landscape(self, after: int, found: Findings) -> None:
        """Keep what a probe found after a task was trained."""
        for task, values in found.items():
            columns = {name: value.tolist() for name, value in values.items()}
            for run, rows in enumerate(self.rows["landscape"]):
                row = {name: of_run[run] for name, of_run in columns.items()}
                row |= {"after_task": after, "task": task}
                rows.append([row.get(column, math.nan) for column in TABLES["landscape"]])

    def _keep(self, table: str, where: dict[str, int], found: Evaluation) -> None:
        values = torch.stack([found.accuracy, found.accuracy_agnostic, found.loss], 1).tolist()
        for run, (accuracy, agnostic, loss) in enumerate(values):
            row = {
                **where,
                "accuracy": accuracy,
                "accuracy_agnostic": agnostic,
                "loss": loss,
                "samples": found.samples[run],
            }
            self.rows[table][run].append([row[column] for column in TABLES[table]])

    def record(
        self,
        run: int,
        network: Network,
        theta: Tensor,
        cost: Cost,
        provenance: Provenance,
    ) -> RunRecord:
        """Return the record of a run, from its final weights [D]."""
        config, dataset, theta = self.configs[run], self.benchmark.dataset, theta.cpu()
        frames = {
            name: pd.DataFrame(self.rows[name][run], columns=list(columns)).astype(columns)
            for name, columns in TABLES.items()
        }
        return RunRecord(
            config=config,
            stream_id=self.benchmark.stream_id(config.seed),
            tasks=self.benchmark.describe(config.seed),
            data={"name": dataset.name, "checksum": dataset.checksum},
            weights={k: v.clone().numpy() for k, v in network.unstack(theta).items()},
            weights_sha256=hashlib.sha256(theta.numpy().tobytes()).hexdigest(),
            cost={**cost, "network_bytes": theta.numel() * theta.element_size()},
            provenance=provenance,
            accuracy=frames["accuracy"],
            curve=frames["curve"],
            predictions=frames["predictions"],
            landscape=frames["landscape"] if self.rows["landscape"][run] else None,
        )
