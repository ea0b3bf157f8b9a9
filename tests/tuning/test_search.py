"""Searches: equal budgets, the best kept, and rounds that repeat themselves."""

import math

import pytest

from cl_bench.config import OptimizerConfig
from cl_bench.errors import UserError
from cl_bench.tuning.search import LENGTHS, Method, check_method, halving, start
from cl_bench.tuning.space import space_of
from cl_bench.tuning.trials import Trial, TrialRun, result_of

SPACE = space_of("ewc", {}, OptimizerConfig())
BEST = 300.0


def value_of(trial):
    """A metric that is highest at one strength."""
    return 0.9 - 0.05 * abs(math.log10(trial.settings["strength"] / BEST))


def result(trial, value, *, diverged=False, fixed=0.0):
    """A result whose run took as many gradient passes as its training was long, and a few more."""
    run = TrialRun(
        seed=1000, run_id="x", value=value, diverged=diverged, gradient_passes=trial.length + fixed
    )
    return result_of(trial, [run])


def searched(search, value=value_of, **rest):
    """Return the rounds of a search whose trials have these values."""
    found, asked = [], next(search)
    while True:
        found.append(asked)
        try:
            asked = search.send([result(trial, value(trial), **rest) for trial in asked])
        except StopIteration:
            return found


def begin(method, trials=16, space=SPACE, higher=True):
    return start(Method(method), space, trials, higher_is_better=higher)


@pytest.mark.parametrize("fixed", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("trials", [3, 16, 100])
def test_halving_costs_no_more_than_as_many_trials_in_full(trials, fixed):
    """What does not grow shorter with the training leaves room for fewer."""
    asked = [trial for each in searched(begin("halving", trials), fixed=fixed) for trial in each]
    assert len({(trial.number, trial.length) for trial in asked}) == len(asked)
    spent = sum(trial.length + fixed for trial in asked)
    assert (trials - 2) * (1 + fixed) <= spent < trials * (1 + fixed) + 1e-9


def test_halving_that_does_not_pay_trains_in_full():
    rounds = searched(begin("halving"), fixed=1e6)
    assert [(trial.number, trial.length) for trial in rounds[0]] == [(0, LENGTHS[0]), (0, 1.0)]
    assert [(trial.number, trial.length) for trial in rounds[1]] == [(n, 1) for n in range(1, 15)]


def test_halving_gives_the_best_more_training():
    first, second, third, last = searched(begin("halving"))
    assert first == [Trial(0, {"strength": 10.0}, LENGTHS[0]), Trial(0, {"strength": 10.0})]
    assert [trial.number for trial in second] == list(range(1, len(second) + 1))
    assert len(second) > 2 * 16
    assert [each[0].length for each in (second, third, last)] == list(LENGTHS)
    ranked = sorted([first[0], *second], key=value_of, reverse=True)
    assert [trial.number for trial in third] == [t.number for t in ranked[: len(ranked) // 3]]
    assert [trial.number for trial in last] == [t.number for t in ranked[: len(ranked) // 9]]


def test_halving_drops_what_diverged_however_high_it_is():
    search = halving(SPACE, 3, higher_is_better=True)
    asked = search.send([result(trial, 0.5) for trial in next(search)])
    kept = search.send([result(t, 0.6 + t.number / 100, diverged=t.number > 1) for t in asked])
    assert [trial.number for trial in kept] == [1]


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


def test_tpe_keeps_away_from_what_diverged():
    """Even where that looks best: a network that is no more cannot forget."""
    search = begin("tpe", higher=False)
    asked, number = next(search), []
    try:
        while True:
            found = [
                result(t, 0.5, diverged=False) if strong < 1e3 else result(t, 0.0, diverged=True)
                for t in asked
                if (strong := t.settings["strength"])
            ]
            asked = search.send(found)
            number += [t.settings["strength"] for t in asked]
    except StopIteration:
        assert sum(strength < 1e3 for strength in number) > len(number) / 2


def test_halving_needs_a_budget_for_its_rounds():
    with pytest.raises(UserError, match="needs a budget of 3 at least"):
        check_method(Method.HALVING, 2)


@pytest.mark.parametrize("method", list(Method))
def test_where_there_is_nothing_to_tune_there_is_one_trial(method):
    ((trial,),) = searched(begin(method, space=()), lambda trial: 0.5)
    assert (trial.number, trial.settings, trial.length) == (0, {}, 1.0)


@pytest.mark.parametrize("method", ["sobol", "tpe"])
def test_a_single_trial_is_the_defaults(method):
    ((trial,),) = searched(begin(method, trials=1))
    assert trial.settings == {"strength": 10.0}
