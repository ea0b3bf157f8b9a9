"""Promises of what a strategy looks at, keeps, changes and reports."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cl_bench import benchmarks
from cl_bench.config import (
    Scenario,
)
from cl_bench.conformance.comparing import (
    COSTS,
    same_bits,
    same_state,
)
from cl_bench.conformance.promises import listed, need
from cl_bench.conformance.trainings import Trainings
from cl_bench.engine import count_steps
from cl_bench.engine.tasks import PIXEL_SCALE


def data(trainings: Trainings) -> None:
    """It sees the training images of its own tasks alone, and keeps none undeclared."""
    assert trainings.alone  # the engine raises ForbiddenData
    stack = trainings.stacked
    benchmark = benchmarks.get(stack.configs[0].benchmark, download=False)
    splits: dict[str, set[bytes]] = {"train": set(), "test": set()}
    for split, found in splits.items():
        for seed in {config.seed for config in stack.configs}:
            for task in range(benchmark.n_tasks):
                images = benchmark.examples(seed, task, split).images  # type: ignore[arg-type]
                found |= {image.tobytes() for image in images}
    pixels = images.shape[1]
    for moment in trainings.ends:
        when = trainings.moments[moment]
        for name, tensor in stack.snapshot(moment).part("strategy").tensors.items():
            rows = set(_images(tensor, pixels))
            tested = rows & (splits["test"] - splits["train"])
            need(not tested, f"'{name}' holds {len(tested)} test images {when}")
            trained = rows & splits["train"]
            need(
                not trained or trainings.kind.keeps_samples,
                f"'{name}' holds {len(trained)} training images {when}; "
                "keeps_samples is not declared",
            )


def _images(tensor: Tensor, pixels: int) -> Iterator[bytes]:
    """Yield what may be an image of so many pixels in a tensor [R, …], as uint8 bytes."""
    if not tensor.dim() or not tensor.numel() or tensor[0].numel() % pixels:
        return
    rows = tensor.reshape(-1, pixels).double()
    top = rows.amax(1, keepdim=True)
    rows = torch.where(top <= 1, rows / PIXEL_SCALE, rows)
    whole = rows.round()
    image = (rows - whole).abs().amax(1) < 1e-3
    image &= (top.squeeze(1) > 0) & (rows.amin(1) >= 0) & (rows.amax(1) <= 255)
    for row in whole[image].to(torch.uint8).numpy():
        yield row.tobytes()


def predict(trainings: Trainings) -> None:
    """Prediction changes nothing, and asked twice it gives the same logits."""
    for moment in (trainings.within[-1], trainings.ends[-1]):
        alive = trainings.revived(trainings.stacked, moment)
        learner, strategy, streams = alive.learner, alive.strategy, alive.streams
        parts = [streams.benchmark.examples(seed, 0, "test").images for seed in streams.run_seeds]
        images = torch.stack([torch.from_numpy(part) for part in parts]) * PIXEL_SCALE
        theta = learner.theta.clone()
        before = strategy.state()
        tensors = {name: tensor.clone() for name, tensor in before.tensors.items()}
        with torch.no_grad():
            task = 0 if streams.benchmark.scenario is Scenario.TASK else None
            first, second = (strategy.predict(images.clone(), task).clone() for _ in range(2))
        shape = [*images.shape[:2], streams.benchmark.n_outputs]
        got = list(first.shape)
        need(got == shape, f"predict gives logits of shape {got}; [R, n, outputs] is {shape}")
        need(same_bits(first, second), "predict asked twice gives different logits")
        after = strategy.state()
        changed = same_state(tensors, after.tensors)
        need(not changed, f"predict changes {listed(changed)}")
        need(before.tree == after.tree, "predict changes what is kept")
        need(same_bits(theta, learner.theta), "predict changes the weights")


def isolates(trainings: Trainings) -> None:
    """Where it says so, what it predicts on a task, told which, stays to the bit once learnt."""
    # Forgetting is no fault by itself: only the strategy's word says that there should be none.
    if not trainings.kind.isolates or trainings.scenario is not Scenario.TASK:
        return
    table = trainings.alone.accuracy
    for _, rows in table[table.after_task >= table.task].groupby("task"):
        for name in ("accuracy", "loss"):
            then, *later = rows.sort_values("after_task")[name]
            other = next((value for value in later if value != then), then)
            need(
                other == then,
                f"{name} on task {rows.task.iloc[0] + 1} was {then:.4g} when it was learnt and is "
                f"{other:.4g} later",
            )


def cost(trainings: Trainings) -> None:
    """It reports no fewer gradients than steps, and its state's bytes, whatever its company."""
    config = trainings.config()
    benchmark = benchmarks.get(config.benchmark, download=False)
    steps = count_steps(config, benchmark, trainings.kind)
    alone, stacked = trainings.alone.cost, trainings.stacked.records[1].cost
    passes = alone["gradient_passes"]
    need(passes >= steps, f"{passes} gradient passes are reported for {steps} steps")
    resumed = trainings.resumed.records[0].cost
    for name in COSTS:
        for other, what in ((stacked, "stacked"), (resumed, "resumed")):
            mine, theirs = alone.get(name), other.get(name)
            need(mine == theirs, f"{name} is {mine} alone and {theirs} {what}")
    end = trainings.ends[-1]
    for stack in (trainings.resumed, trainings.stacked):
        kept = stack.snapshot(end).part("strategy").nbytes // len(stack.configs)
        told = stack.records[0].cost["bytes_kept"]
        need(told == kept, f"bytes_kept is {told}, but the state has {kept} bytes a run")
