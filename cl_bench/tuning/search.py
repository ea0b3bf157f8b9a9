"""Which settings to try: quasi-random points, Optuna's TPE, or successive halving.

A search is a generator: it yields the trials of a round, which train together as stacks, and is
sent their results, in the same order. All draws are from named streams, none of them a strategy's:
every strategy with as many settings gets the same points of the unit cube.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any

from cl_bench.errors import UserError
from cl_bench.seeding import numpy_generator
from cl_bench.tuning.selection import best_first
from cl_bench.tuning.space import Space
from cl_bench.tuning.trials import Settings, Trial, TrialResult

Search = Generator[list[Trial], list[TrialResult], None]

LENGTHS = (1 / 9, 1 / 3, 1.0)
"""Successive halving: the share of the training that each round's trials get."""
KEPT = 3
"""Successive halving: one of so many trials goes on to the next round."""
MODEL_ROUNDS = 4
"""TPE: rounds that the second half of the trials is asked for in."""


class Method(StrEnum):
    """How the settings to try are found."""

    SOBOL = "sobol"
    """Scrambled Sobol points, all trained in full."""
    TPE = "tpe"
    """The first half as `sobol`, the rest where a tree-structured Parzen estimator expects more
    (Bergstra et al. 2011; Optuna's)."""
    HALVING = "halving"
    """Sobol points trained for a ninth, the best third for a third, the best third of those in
    full (Jamieson & Talwalkar 2016), at the cost of so many trials in full."""


def start(
    method: Method,
    space: Space,
    trials: int,
    *,
    higher_is_better: bool,
) -> Search:
    """Return the search of one strategy.

    Args:
        method: how settings are found.
        space: what is tuned; where it is empty, the defaults are the only trial.
        trials: the budget: so many trials, trained in full.
        higher_is_better: the metric's direction.
    """
    if not space:
        return sobol(space, 1)
    if method is Method.TPE:
        return tpe(space, trials, higher_is_better)
    if method is Method.HALVING:
        return halving(space, trials, higher_is_better)
    return sobol(space, trials)


def check_method(method: Method, trials: int) -> None:
    """Raise a `UserError` where a method needs more trials, or a package that is not installed."""
    if method is Method.TPE:
        _optuna()
    if method is Method.HALVING and trials < KEPT:
        raise UserError(
            f"--trials {trials}: --method halving needs a budget of {KEPT} at least; "
            "use --method sobol"
        )


def sobol(space: Space, trials: int) -> Search:
    """Try quasi-random points, all at once."""
    yield _numbered(settings_of(space, trials))


def settings_of(space: Space, count: int) -> list[Settings]:
    """Return the settings of the first trials: the defaults, then scrambled Sobol points.

    More of them begin with the same ones, so that a search can be continued.
    """
    from scipy.stats import qmc

    found: list[Settings] = [{each.name: each.default for each in space}]
    if count > 1:
        engine = qmc.Sobol(len(space), scramble=True, rng=_seed("sobol"))
        points = engine.random_base2(math.ceil(math.log2(count)))[: count - 1]
        found += [_values(space, map(float, point)) for point in points]
    return found


def tpe(space: Space, trials: int, higher_is_better: bool) -> Search:
    """Try quasi-random points, then in a few rounds what Optuna's TPE makes of all so far.

    It works in the unit cube. Within a round it takes the trials it has asked for to be bad
    (the constant liar), so that they differ.
    """
    optuna = _optuna()
    first = math.ceil(trials / 2)
    distributions = {each.name: optuna.distributions.FloatDistribution(0, 1) for each in space}
    study = optuna.create_study(
        direction="maximize" if higher_is_better else "minimize",
        sampler=optuna.samplers.TPESampler(
            seed=_seed("tpe"), n_startup_trials=first, constant_liar=True
        ),
    )
    for result in (yield _numbered(settings_of(space, first))):
        shares = {r.name: min(max(r.share(result.settings[r.name]), 0.0), 1.0) for r in space}
        told = _told(optuna, result)
        study.add_trial(
            optuna.trial.create_trial(
                params=shares, distributions=distributions, value=told[0], state=told[1]
            )
        )
    number, batch = first, math.ceil((trials - first) / MODEL_ROUNDS)
    while number < trials:
        asked = [study.ask(distributions) for _ in range(min(batch, trials - number))]
        points = [_values(space, (trial.params[r.name] for r in space)) for trial in asked]
        results = yield _numbered(points, number)
        for trial, result in zip(asked, results, strict=True):
            study.tell(trial, *_told(optuna, result))
        number += len(asked)


def halving(space: Space, trials: int, higher_is_better: bool) -> Search:
    """Try many points with little training, and give more to the best of them.

    The defaults are trained both ways first, which tells what each length costs, and are always
    among the trials in full.
    """
    (defaults,) = settings_of(space, 1)
    short, full = yield [Trial(0, defaults, LENGTHS[0]), Trial(0, defaults)]
    counts = rounds(trials, short.gradient_passes, full.gradient_passes)
    if not counts:
        yield _numbered(settings_of(space, trials - 1))[1:]
        return
    known = [short, full]
    alive = _numbered(settings_of(space, counts[0]))
    for count, length in zip(counts, LENGTHS, strict=True):
        done = {each.number for each in known if each.length == length}
        left = [Trial(t.number, t.settings, length) for t in alive[:count] if t.number not in done]
        if left:
            known += yield left
        ranked = best_first((r for r in known if r.length == length), higher_is_better)
        alive = [Trial(result.number, result.settings) for result in ranked]


def rounds(trials: int, short: float, full: float) -> tuple[int, ...]:
    """Return how many trials each round of successive halving has; none where it does not pay.

    As many as cost, with the defaults in full, no more than so many trials in full. What does not
    grow shorter with the training (extra steps at a task's end, the Fisher) leaves room for fewer.

    Args:
        trials: the budget.
        short: gradient passes of a trial of the first of `LENGTHS`.
        full: those of a trial in full.
    """
    per_length = (full - short) / (LENGTHS[-1] - LENGTHS[0])
    costs = [full - per_length * (LENGTHS[-1] - length) for length in LENGTHS]
    best: tuple[int, ...] = ()
    for first in range(trials, KEPT ** len(LENGTHS) * trials):
        counts = tuple(max(1, first // KEPT**number) for number in range(len(LENGTHS)))
        spent = full + sum(c * cost for c, cost in zip(counts, costs, strict=True))
        if spent > trials * full:
            break
        best = counts
    return best


def _numbered(settings: Sequence[Settings], first: int = 0) -> list[Trial]:
    return [Trial(first + place, each) for place, each in enumerate(settings)]


def _values(space: Space, shares: Iterable[float]) -> Settings:
    pairs: Iterator[Any] = zip(space, shares, strict=True)
    return {each.name: each.at(share) for each, share in pairs}


def _told(optuna: Any, result: TrialResult) -> tuple[float | None, Any]:
    """Return a trial's value and state; what is pruned is worse than all else to the model."""
    states = optuna.trial.TrialState
    return (None, states.PRUNED) if result.diverged else (result.mean, states.COMPLETE)


def _seed(purpose: str) -> int:
    """Return the seed of a library's own generator."""
    return int(numpy_generator("tuning", purpose).integers(2**32))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError(
            "--method tpe needs Optuna: pip install 'cl_bench[tune]', or use --method sobol"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
