"""Promises of exact runs: whatever the company, the threads and the stops."""

from __future__ import annotations

from cl_bench.conformance.comparing import (
    differences,
    not_finite,
    same_state,
)
from cl_bench.conformance.promises import Broken, listed, need
from cl_bench.conformance.trainings import SEED, Trainings, train


def trains(trainings: Trainings) -> None:
    """It trains on five tasks and ends with finite weights and losses."""
    found = not_finite(trainings.alone)
    need(not found, f"{listed(found)} not finite after five short tasks at default settings")


def repeats(trainings: Trainings) -> None:
    """A run repeats to the bit, with more threads and without evaluations, too."""
    tables = ("accuracy", "predictions")
    if not differences(trainings.alone, trainings.again, tables):
        return
    if found := differences(trainings.alone, train([trainings.config()])[0]):
        raise Broken(
            f"the same run twice differs in {listed(found)}; "
            "learner.uniform and learner.normal are the only source of randomness"
        )
    raise Broken("a run that is not evaluated while it trains ends differently")


def company(trainings: Trainings) -> None:
    """A run has the same bits alone and stacked with other seeds and settings."""
    found = differences(trainings.alone, trainings.stacked.records[1])
    if not found:
        return
    seeds = [trainings.config(seed) for seed in (SEED - 1, SEED, SEED + 1)]
    mixes = differences(trainings.alone, train(seeds)[1])
    cause = "something mixes the runs" if mixes else "a setting of another run is taken for its own"
    raise Broken(f"alone and stacked with two others a run differs in {listed(found)}: {cause}")


def state(trainings: Trainings) -> None:
    """Its state can be saved, a row of each tensor for each run, and be loaded exactly."""
    for stack in (trainings.stacked, trainings.resumed):
        runs = len(stack.configs)
        for moment, when in trainings.moments.items():
            for name, tensor in stack.snapshot(moment).part("strategy").tensors.items():
                fits = tensor.dim() and tensor.shape[0] == runs
                need(
                    fits,
                    f"'{name}' has the shape {list(tensor.shape)} {when}; "
                    f"its first axis must be the runs, {runs} here",
                )
    for moment, when in trainings.moments.items():
        kept = trainings.stacked.snapshot(moment).part("strategy")
        loaded = trainings.revived(trainings.stacked, moment).strategy.state()
        differ = same_state(kept.tensors, loaded.tensors)
        need(not differ, f"{listed(differ)} differ once loaded from a checkpoint {when}")
        need(kept.tree == loaded.tree, f"values differ once loaded from a checkpoint {when}")


def resumed(trainings: Trainings) -> None:
    """A run that is stopped anywhere and resumed ends with the same bits."""
    alone = trainings.alone
    if found := differences(alone, trainings.resumed.records[0]):
        for moment, when in trainings.moments.items():
            once = differences(alone, trainings.stopped_at([moment]).records[0])
            need(not once, f"stopped {when} and resumed, a run differs in {listed(once)}")
        raise Broken(f"stopped and resumed often, a run differs in {listed(found)}")
    found = differences(alone, trainings.taken_out)
    need(not found, f"resumed alone from a stack's checkpoint, a run differs in {listed(found)}")
