"""Choices: the best of what stayed finite, edges told, and curves by hand."""

import pytest

from cl_bench.tuning.selection import choose, edges, end_reached, sensitivity
from cl_bench.tuning.space import Range
from cl_bench.tuning.trials import Trial, TrialRun, result_of

SPACE = (
    Range(name="strength", low=1.0, high=10_000.0, log=True, default=10.0),
    Range(name="share", low=0.0, high=1.0, default=0.5),
)


def result(number, strength, values, *, share=0.5, length=1.0, diverged=False):
    trial = Trial(number, {"strength": strength, "share": share}, length)
    runs = [
        TrialRun(seed=1000 + i, run_id="x", value=v, diverged=diverged, gradient_passes=1.0)
        for i, v in enumerate(values)
    ]
    return result_of(trial, runs)


def chosen(found, **how):
    best = choose(found, **how)
    assert best is not None
    return best


def test_the_best_mean_is_chosen_and_the_first_of_equals():
    found = [result(0, 1.0, [0.5, 0.7]), result(1, 2.0, [0.9, 0.3]), result(2, 3.0, [0.1, 0.2])]
    assert chosen(found, higher_is_better=True).number == 0
    assert chosen(found, higher_is_better=False).number == 2


def test_what_diverged_or_was_not_trained_in_full_is_never_chosen():
    found = [
        result(0, 1.0, [0.5]),
        result(1, 2.0, [0.9], diverged=True),
        result(2, 2.0, [0.8], length=1 / 3),
    ]
    assert chosen(found, higher_is_better=True).number == 0
    assert choose(found[1:], higher_is_better=True) is None


def test_a_choice_beyond_which_nothing_was_tried_is_at_an_edge():
    found = [result(n, 10.0**n, [0.1 * n], share=abs(n - 1)) for n in range(4)]
    assert edges(SPACE, found, found[0]) == {"strength": "lowest"}
    assert edges(SPACE, found, found[3]) == {"strength": "highest", "share": "highest"}
    assert edges(SPACE, found, found[2]) == {}
    assert edges(SPACE, found[:1], found[0]) == {}, "one trial has no edges"


def test_the_end_of_a_range_is_its_first_and_last_twentieth_on_its_scale():
    strength, share = SPACE
    assert [end_reached(strength, value) for value in (0.5, 1.0, 1.5, 1.7, 6000.0, 7000.0)] == [
        *(True, True, True),
        *(False, False, True),
    ]
    assert [end_reached(share, value) for value in (0.04, 0.06, 0.94, 0.96)] == [1, 0, 0, 1]


def test_a_curve_is_the_median_in_parts_of_the_range():
    strengths = [1.0, 5.0, 20.0, 200.0, 50_000.0]
    found = [result(n, s, [0.1 * n]) for n, s in enumerate(strengths)]
    found[3] = result(3, 200.0, [0.9], diverged=True)
    bins = [b for b in sensitivity(SPACE, found, True) if b.setting == "strength"]
    assert [(b.low, b.high) for b in bins] == [(1, 100), (100, 10_000)]
    assert [(b.trials, b.diverged) for b in bins] == [(3, 0), (2, 1)]
    assert bins[0].median == pytest.approx(0.1)
    assert bins[1].median == pytest.approx(0.4), "the one that diverged is left out"
    assert (bins[0].worst, bins[0].best) == (0.0, pytest.approx(0.2))
    flipped = sensitivity(SPACE, found, False)[0]
    assert (flipped.worst, flipped.best) == (pytest.approx(0.2), 0.0)


def test_the_curve_of_halving_is_of_the_round_that_all_trials_had():
    short = [result(n, 10.0**n, [0.1], length=1 / 9) for n in range(3)]
    whole = sensitivity(SPACE, [*short, result(0, 1.0, [0.9])], True)[0]
    assert (whole.trials, whole.median) == (3, pytest.approx(0.1))
