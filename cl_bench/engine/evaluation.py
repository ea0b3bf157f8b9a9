"""Accuracy and loss of a stack on each task's held-out images, in the terms of the scenario."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.config import Scenario
from cl_bench.engine.losses import masked
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Streams, shown

CHUNK = 500
CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Evaluation:
    """What a stack makes of one task's held-out images."""

    accuracy: Tensor
    """[R], the outputs competing as the scenario says."""
    accuracy_agnostic: Tensor
    """[R], all outputs of the tasks seen so far competing."""
    loss: Tensor
    """[R], mean cross-entropy in nats."""
    samples: list[int]
    """Images each run was tested on."""
    confusion: Tensor | None
    """int64 [R, C, C]: label by predicted output."""


class Evaluator:
    """Holds the held-out images, which no strategy gets to see."""

    def __init__(self, streams: Streams, split: Literal["test", "valid"]) -> None:
        self.streams = streams
        self._for_runs = streams.run_selector()
        self.split: Literal["test", "valid"] = split
        self._cache: dict[int, tuple[Tensor, Tensor, list[int]]] = {}

    def _data(self, task: int) -> tuple[Tensor, Tensor, list[int]]:
        """Return images [U, n, F], labels [U, n] (-1 as padding) and the number of each seed."""
        if task in self._cache:
            return self._cache[task]
        streams = self.streams
        parts = [streams.benchmark.examples(s, task, self.split) for s in streams.seeds]
        sizes = [len(p.labels) for p in parts]
        # Whole chunks only: no product's shape depends on the other seeds' numbers.
        padded = -(-max(sizes) // CHUNK) * CHUNK
        kept = torch.from_numpy(parts[0].images)
        images = torch.zeros(len(parts), padded, kept.shape[1], dtype=kept.dtype)
        labels = torch.full((len(parts), padded), -1)
        for u, part in enumerate(parts):
            images[u, : sizes[u]] = torch.from_numpy(part.images)
            labels[u, : sizes[u]] = torch.from_numpy(part.labels)
        data = (images.to(streams.device), labels.to(streams.device), sizes)
        if images.nbytes * streams.benchmark.n_tasks <= CACHE_BYTES:
            self._cache[task] = data
        return data

    def evaluate(
        self, strategy: Strategy, task: int, last_seen: int, *, confusion: bool = False
    ) -> Evaluation:
        """Evaluate one task after the tasks up to `last_seen` were trained (-1: none yet)."""
        streams = self.streams
        images, labels, sizes = self._data(task)
        seen = streams.outputs.seen(max(last_seen, task))
        mask = streams.outputs.competing(max(last_seen, task), training=False)
        told = task if streams.benchmark.scenario is Scenario.TASK else None
        if told is not None:
            mask = streams.outputs.of_task[told]
        runs = len(streams.run_seeds)
        right, right_agnostic, loss = (
            torch.zeros(runs, dtype=torch.float64, device=streams.device) for _ in range(3)
        )
        outputs = seen.numel()
        table = torch.zeros(runs, outputs * outputs, dtype=torch.int64, device=streams.device)
        for start in range(0, labels.shape[1], CHUNK):
            span = slice(start, start + CHUNK)
            x = self._for_runs(shown(images[:, span]))
            y = self._for_runs(labels[:, span])
            real = y >= 0
            target = y.clamp(min=0)
            logits = strategy.predict(x, told)
            competing = masked(logits, mask)
            predicted = competing.argmax(-1)
            right += ((predicted == y) & real).sum(1)
            right_agnostic += ((masked(logits, seen).argmax(-1) == y) & real).sum(1)
            log_p = functional.log_softmax(competing, -1).gather(-1, target.unsqueeze(-1))
            loss -= log_p.squeeze(-1).double().masked_fill(~real, 0).sum(1)
            if confusion:
                cell = target * outputs + predicted
                table.scatter_add_(1, cell, real.long())
        count = self._for_runs(torch.tensor(sizes, device=streams.device)).double()
        return Evaluation(
            accuracy=right / count,
            accuracy_agnostic=right_agnostic / count,
            loss=loss / count,
            samples=[sizes[u] for u in streams.of_run.tolist()],
            confusion=table.view(runs, outputs, outputs) if confusion else None,
        )
