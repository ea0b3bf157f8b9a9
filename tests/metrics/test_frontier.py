"""Pareto sets and areas by hand and by counting cells, and what is said of those off the set."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_bench.metrics.frontier import (
    DOMINATED,
    NOT_SHOWN,
    ON_SET,
    SAMPLED,
    TOO_FEW_MEASURED,
    Kind,
    Standing,
    dominates,
    hypervolume_2d,
    hypervolumes,
    least_sum,
    old_and_new_error,
    pareto_set,
    standings,
)
from cl_bench.metrics.statistics import TOO_FEW
from cl_bench.seeding import numpy_generator

SIDE = 8
cells = st.lists(st.tuples(st.integers(0, SIDE), st.integers(0, SIDE)), min_size=1, max_size=12)


def test_a_pareto_set_by_hand():
    points = [(1, 5), (2, 3), (4, 1), (3, 3), (2, 6), (4, 4)]
    # (3, 3) is no better than (2, 3) in the second and worse in the first; the others are inside
    assert pareto_set(points).tolist() == [True, True, True, False, False, False]


def test_equal_points_do_not_dominate_each_other_and_the_undefined_are_off():
    assert pareto_set([(1, 1), (1, 1), (np.nan, 0), (0, np.nan)]).tolist() == [1, 1, 0, 0]
    assert pareto_set(np.empty((0, 2))).tolist() == []
    assert not dominates((1, 1), (1, 1))
    assert dominates((1, 1), (1, 2))
    assert not dominates((np.nan, 1), (1, 2))


@given(cells)
def test_a_set_is_what_nothing_dominates_and_all_else_is_dominated_by_it(points):
    data, on = np.array(points), pareto_set(points)
    assert on.any()
    for point in data[on]:
        assert not dominates(data, point).any()
    for point in data[~on]:
        assert dominates(data[on], point).any()


@given(cells, st.integers(0, 100), st.integers(0, 3), st.integers(0, 3))
def test_a_dominated_point_changes_nothing(points, which, right, up):
    x, y = points[which % len(points)]
    more = [*points, (x + right, y + up + (right == 0))]
    assert pareto_set(more).tolist() == [*pareto_set(points).tolist(), False]
    reference = (SIDE + 1, SIDE + 1)
    assert hypervolume_2d(more, reference) == hypervolume_2d(points, reference)


def test_an_area_by_hand():
    # from .2 to .5 the best second figure is .6, from .5 on it is .3: .3 * .4 + .5 * .7
    assert hypervolume_2d([(0.5, 0.3), (0.2, 0.6)]) == pytest.approx(0.47)
    assert hypervolume_2d([(0.5, 0.3), (0.2, 0.6)], (0.5, 0.7)) == pytest.approx(0.03)
    assert hypervolume_2d([(0, 0)]) == 1
    for nothing in ([(1, 0)], [(0.2, 1.5)], [(np.nan, 0.1)], np.empty((0, 2))):
        assert hypervolume_2d(nothing) == 0


@given(cells)
def test_an_area_is_the_number_of_cells_it_covers(points):
    covered = np.zeros((SIDE, SIDE), bool)
    for x, y in points:
        covered[x:, y:] = True
    assert hypervolume_2d(points, (SIDE, SIDE)) == covered.sum()


def test_the_two_errors_by_hand():
    matrix = np.array([[0.9, 0.2, 0.1], [0.8, 0.85, 0.3], [0.7, 0.75, 0.95]])
    assert old_and_new_error(matrix) == (pytest.approx(0.275), pytest.approx(0.05))
    assert np.isnan(old_and_new_error(np.array([[0.9]]))[0])


def test_the_best_point_is_one_for_all_seeds_and_areas_are_each_seeds_own():
    curve = np.array([[[0.5, 0.1], [0.3, 0.1]], [[0.2, 0.3], [0.2, 0.3]]])  # sums .6 .4, .5 .5
    curve[0, 1, 0] = 0.2  # .6 .3: the first is best on average, though not for the first seed
    best, sums = least_sum(curve)
    assert best == 0
    assert sums == pytest.approx([0.6, 0.3])
    # first seed: (.5, .1) and (.2, .3): .3 * .7 + .5 * .9; second: (.2, .1) alone: .8 * .9
    assert hypervolumes(curve) == pytest.approx([0.66, 0.72])


def sample(x, y, seeds=6, noise=0.0, name="values"):
    draws = numpy_generator(name).normal(scale=noise, size=(seeds, 2)) if noise else 0
    values = np.broadcast_to([x, y], (seeds, 2)) + draws
    return pd.DataFrame(values, index=range(seeds), columns=["x", "y"])


def test_one_that_is_worse_in_both_by_more_than_chance_is_dominated():
    good, bad = sample(0.1, 0.1, noise=0.01, name="good"), sample(0.5, 0.5, noise=0.01, name="bad")
    assert standings([bad, good]) == [Standing(DOMINATED, 1), Standing(ON_SET)]


def test_one_that_may_be_better_in_one_figure_is_not_shown_to_be_dominated():
    good = sample(0.1, 0.1, noise=0.01, name="good")
    unsure = good + [0.4, 0.001] + sample(0, 0, noise=0.01, name="unsure").to_numpy() * [1, 1]
    unsure["y"] += good["y"].mean() + 0.001 - unsure["y"].mean()
    assert standings([good, unsure]) == [Standing(ON_SET), Standing(NOT_SHOWN, 0)]


def test_a_figure_that_is_the_same_at_every_seed_does_not_stand_in_the_way():
    good, bad = sample(7, 0.1, noise=0.01, name="good"), sample(7, 0.5, noise=0.01, name="bad")
    good["x"] = bad["x"] = 7.0
    assert standings([good, bad])[1] == Standing(DOMINATED, 0)


def test_fewer_than_five_common_seeds_show_nothing():
    good, bad = sample(0.1, 0.1, seeds=6), sample(0.5, 0.5, seeds=4)
    assert standings([good, bad]) == [Standing(ON_SET), Standing(TOO_FEW, 0)]


def test_what_is_measured_once_for_many_runs_is_one_measurement():
    good, bad = sample(1.0, 0.1), sample(2.0, 0.5)
    assert standings([good, bad])[1].verdict == DOMINATED
    assert standings([good, bad], (Kind.TIMED, Kind.SAMPLED))[1].verdict == TOO_FEW_MEASURED
    bad["x"] += np.arange(6) / 100  # six measurements
    assert standings([good, bad], (Kind.TIMED, Kind.SAMPLED))[1].verdict == DOMINATED


def test_the_member_that_dominates_most_clearly_is_named():
    members = [sample(0.1, 0.3, seeds=3), sample(0.3, 0.1)]
    assert standings([*members, sample(0.5, 0.5)])[2] == Standing(DOMINATED, 1)
    assert standings([*members[::-1], sample(0.5, 0.5)])[2] == Standing(DOMINATED, 0)


def test_equals_are_rarely_called_dominated():
    called = 0
    for trial in range(20):
        draws = [sample(0.2, 0.2, 5, 0.01, f"{trial} {k}") for k in range(6)]
        called += any(each.verdict == DOMINATED for each in standings(draws))
    assert called <= 3  # 1 in 20 is what the level allows


def test_what_is_counted_needs_no_test_where_no_seed_changes_it():
    good, bad = sample(1.0, 0.1, seeds=5, noise=0.0), sample(2.0, 0.5, seeds=5, noise=0.0)
    assert standings([good, bad])[1].verdict == NOT_SHOWN  # five seeds allow no p below .0625
    counted = (Kind.COUNTED, Kind.SAMPLED)
    assert standings([good, bad], counted)[1].verdict == NOT_SHOWN  # nor in the other figure
    assert standings([good, bad], (Kind.COUNTED, Kind.COUNTED))[1].verdict == DOMINATED
    spread = sample(0, 0, seeds=5, noise=0.01, name="spread") * [0, 1]
    assert standings([good, bad + spread], counted)[1].verdict == DOMINATED
    assert standings([good, bad + spread], SAMPLED)[1].verdict == NOT_SHOWN
    less = good.assign(y=bad["y"])  # the same accuracy for fewer bytes
    assert standings([less, bad], counted)[1].verdict == DOMINATED
