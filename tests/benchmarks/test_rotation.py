"""Rotation: what SciPy computes, to within one grey level, and the same bits everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import ndimage

from cl_bench.benchmarks.rotation import rotate
from cl_bench.data import load

SHAPE = (1, 28, 28)


@pytest.fixture
def images() -> np.ndarray:
    return load("mnist-5k").train_images[:600]


def test_no_angle_changes_nothing_and_right_angles_move_pixels(images: np.ndarray) -> None:
    np.testing.assert_array_equal(rotate(images, 0.0, SHAPE), images)
    for quarters in (1, 2, 3):
        expected = np.rot90(images.reshape(-1, 28, 28), quarters, axes=(1, 2)).reshape(-1, 784)
        np.testing.assert_array_equal(rotate(images, 90.0 * quarters, SHAPE), expected)


@pytest.mark.parametrize("degrees", [1.0, 17.3, 45.0, 89.5, 123.4, 179.9])
def test_agrees_with_scipy(images: np.ndarray, degrees: float) -> None:
    expected = ndimage.rotate(
        images.reshape(-1, 28, 28).astype(float),
        degrees,
        axes=(1, 2),
        reshape=False,
        order=1,
        mode="grid-constant",
    ).reshape(-1, 784)
    assert np.abs(rotate(images, degrees, SHAPE) - expected).max() <= 0.6


def test_other_shapes_and_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 20, 31), np.uint8)
    expected = ndimage.rotate(
        pixels.astype(float), 30, axes=(2, 3), reshape=False, order=1, mode="grid-constant"
    )
    turned = rotate(pixels.reshape(5, -1), 30, (3, 20, 31)).reshape(pixels.shape)
    assert np.abs(turned - expected).max() <= 0.6


def test_white_stays_white_inside() -> None:
    white = np.full((1, 784), 255, np.uint8)
    turned = rotate(white, 33.0, SHAPE).reshape(28, 28)
    assert (turned[6:22, 6:22] == 255).all()
    assert turned[0, 0] == 0


def test_the_same_bits_everywhere(images: np.ndarray) -> None:
    digest = hashlib.sha256(rotate(images, 37.0, SHAPE).tobytes()).hexdigest()
    assert digest[:16] == "d252ed44acf898d3"
