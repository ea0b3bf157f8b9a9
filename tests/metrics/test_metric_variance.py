"""The variance of streams and of initialisations, by hand and on grids whose truth is known."""

import numpy as np
import pytest

from cl_bench.metrics.variance import decompose
from cl_bench.seeding import numpy_generator


def test_the_components_by_hand():
    # Rows 1, 2, 6 and columns -1, 1 about the mean 3, and a rest of +-.5 that sums to 0:
    # mean squares: rows 2 * (4 + 1 + 9) / 2 = 14, columns 3 * 2 / 1 = 6, rest 3 / 2 * .5 = .75
    rest = np.array([[0.5, -0.5], [-0.5, 0.5], [0.0, 0.0]])
    grid = np.array([[1.0], [2.0], [6.0]]) + np.array([[-1.0, 1.0]]) + rest
    stream, init, interaction, both = decompose(grid)
    square = (4 * 0.25) / 2
    assert interaction.deviation**2 == pytest.approx(square)
    assert stream.deviation**2 == pytest.approx((14 - square) / 2)
    assert init.deviation**2 == pytest.approx((6 - square) / 3)
    assert both.deviation**2 == pytest.approx((14 - square) / 2 + (6 - square) / 3 + square)
    assert stream.share == pytest.approx((14 - square) / 2 / both.deviation**2)
    for effect in (stream, init, interaction, both):
        assert effect.low <= effect.deviation <= effect.high
        assert effect.share_low <= effect.share <= effect.share_high
    assert decompose(grid) == [stream, init, interaction, both]


def test_transposing_exchanges_streams_and_initialisations():
    grid = numpy_generator("grid").normal(size=(4, 3)) + np.arange(4)[:, None]
    stream, init, *_ = decompose(grid)
    swapped, other, *_ = decompose(grid.T)
    assert (stream.deviation, init.deviation) == pytest.approx((other.deviation, swapped.deviation))


def test_a_negative_estimate_is_none_and_equal_values_have_no_shares():
    stream, *_ = decompose([[1.0, 2.0], [2.0, 1.0]])  # equal row means
    assert (stream.deviation, stream.share, stream.low) == (0.0, 0.0, 0.0)
    for effect in decompose(np.full((3, 3), 0.9)):
        assert (effect.deviation, effect.low, effect.high) == (0.0, 0.0, 0.0)
    assert np.isnan(decompose(np.full((3, 3), 0.9))[0].share)


def test_intervals_hold_the_truth_as_often_as_they_say():
    draw = numpy_generator("grids").normal
    true = np.array([1.0, 0.5, 0.5])
    inside = np.zeros((2, 3))
    for _ in range(200):
        parts = draw(size=(5, 1)), draw(size=(1, 5)), draw(size=(5, 5))
        found = decompose(sum(scale * part for scale, part in zip(true, parts, strict=True)))
        shares = true**2 / (true**2).sum()
        for k, (effect, deviation, share) in enumerate(zip(found, true, shares, strict=False)):
            inside[0, k] += effect.low <= deviation <= effect.high
            inside[1, k] += effect.share_low <= share <= effect.share_high
    assert (inside / 200 > 0.89).all()  # .95, less 4 standard deviations


@pytest.mark.parametrize(
    "values", [[[1.0, 2.0]], [[1.0], [2.0]], [1.0, 2.0], [[1, 2], [3, np.nan]]]
)
def test_what_is_no_grid_is_refused(values):
    with pytest.raises(ValueError, match="no grid"):
        decompose(values)
