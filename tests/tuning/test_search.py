"""Searches: equal budgets, the best kept, and rounds that repeat themselves."""

import math

import pytest

from cl_bench.config import OptimizerConfig
from cl_bench.tuning.search import LENGTHS, Method, halving, rounds, start
from cl_bench.tuning.space import space_of
from cl_bench.tuning.trials import TrialRun, result_of

SPACE = space_of("ewc", {}, OptimizerConfig())
BEST = 300.0


def value_of(trial, noise=0.0):
    """A metric that is highest at one strength."""
    return 0.9 - 0.05 * abs(math.log10(trial.settings["strength"] / BEST))


def result(trial, value, diverged=False):
    run = TrialRun(seed=1000, run_id="x", value=value, diverged=diverged, gradient_passes=1.0)
    return result_of(trial, [run])


def searched(search, value=value_of):
    """Return the rounds of a search whose trials have these values."""
    found, asked = [], next(search)
    while True:
        found.append(asked)
        try:
            asked = search.send([result(trial, value(trial)) for trial in asked])
        except StopIteration:
            return found


def begin(method, trials=16, space=SPACE, higher=True):
    return start(
        Method(method), space, trials, higher_is_better=higher, cost=lambda length: 300 * length
    )


@pytest.mark.parametrize(("fixed", "counts"), [(0, (50, 16, 5)), (1, (18, 6, 2)), (1e6, (16,))])
def test_halving_takes_no_more_steps_than_as_many_trials_in_full(fixed, counts):
    """Steps that do not grow shorter leave room for fewer trials."""

    def cost(length):
        return length + fixed

    assert rounds(16, cost) == counts
    spent = sum(c * cost(s) for c, s in zip(counts, LENGTHS[-len(counts) :], strict=True))
    assert 0.9 * 16 * cost(1) <= spent <= 16 * cost(1)


def test_halving_gives_the_best_more_training():
    first, second, last = searched(begin("halving"))
    assert [len(asked) for asked in (first, second, last)] == [50, 16, 5]
    assert [trial.length for trial in (first[0], second[0], last[0])] == list(LENGTHS)
    ranked = sorted(first, key=value_of, reverse=True)
    assert [trial.number for trial in second] == [trial.number for trial in ranked[:16]]
    assert [trial.number for trial in last] == [trial.number for trial in ranked[:5]]


def test_halving_drops_what_diverged_however_high_it_is():
    search = halving(SPACE, 3, True, lambda length: length)
    asked = next(search)
    kept = search.send([result(t, 0.5 - t.number / 100, t.number == 0) for t in asked])
    assert [trial.number for trial in kept] == [1, 2, 3]


def test_tpe_looks_where_it_is_good_and_always_at_the_same():
    asked = searched(begin("tpe"))
    assert [len(each) for each in asked] == [8, 2, 2, 2, 2]
    assert [trial.number for each in asked for trial in each] == list(range(16))
    assert asked[0] == searched(begin("sobol", 8))[0]
    assert searched(begin("tpe")) == asked
    apart = [abs(math.log10(t.settings["strength"] / BEST)) for each in asked for t in each]
    assert sum(apart[8:]) < 0.6 * sum(apart[:8])
    assert min(apart[8:]) < min(apart[:8])


def test_tpe_minimises_what_is_better_low():
    asked = searched(begin("tpe", higher=False), lambda trial: -value_of(trial))
    assert asked == searched(begin("tpe"))


@pytest.mark.parametrize("method", list(Method))
def test_where_there_is_nothing_to_tune_there_is_one_trial(method):
    ((trial,),) = searched(begin(method, space=()), lambda trial: 0.5)
    assert (trial.number, trial.settings, trial.length) == (0, {}, 1.0)


@pytest.mark.parametrize("method", list(Method))
def test_a_single_trial_is_the_defaults(method):
    ((trial,),) = searched(begin(method, trials=1))
    assert trial.settings == {"strength": 10.0}
