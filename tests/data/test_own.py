"""A folder of images is a dataset: grey or coloured, one size, classes by their folders' names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench.data import from_folder
from cl_bench.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 5, 6, 3), np.uint8)


def write(folder: Path, images: np.ndarray) -> Path:
    for number, image in enumerate(images):
        place = folder / ("train" if number < 4 else "test") / ("ox" if number % 2 else "cat")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    return folder


def test_colour_and_grey(tmp_path: Path) -> None:
    colour = from_folder(write(tmp_path / "my_pets", IMAGES))
    assert (colour.name, colour.input_shape, colour.n_classes) == ("my-pets", (3, 5, 6), 2)
    assert colour.train_labels.tolist() == [0, 0, 1, 1]
    wanted = IMAGES[[0, 2, 1, 3]].transpose(0, 3, 1, 2).reshape(4, -1)
    np.testing.assert_array_equal(colour.train_images, wanted)
    grey = from_folder(write(tmp_path / "grey", IMAGES[..., 0]))
    assert grey.input_shape == (1, 5, 6)
    np.testing.assert_array_equal(grey.test_images, IMAGES[[4, 6, 5, 7], ..., 0].reshape(4, -1))


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "pets", IMAGES)
    Image.fromarray(IMAGES[0, :4]).save(folder / "train" / "ox" / "9.png")
    with pytest.raises(UserError, match=r"9.png is 6 x 4 pixels, .*0.png 6 x 5"):
        from_folder(folder)
    (folder / "train" / "ox" / "9.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"9.png is no image"):
        from_folder(folder)
