"""The streams of Avalanche's classic benchmarks as arrays: made once a seed and kept on disk.

Avalanche makes its benchmark object, every image of every experience is read from it once, and
from then on neither Avalanche nor the data set is needed.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from cl_bench import atomic
from cl_bench.avalanche.data import cache_dir, dataset_root
from cl_bench.avalanche.stored import HALVES, Stream, digest, read_content, write_content
from cl_bench.errors import UserError

FORMAT = 1
"""Raised whenever the same request would give other arrays."""

_CHUNK = 1000


def avalanche_version() -> str:
    """Return the version of Avalanche that is installed, without importing it."""
    return metadata.version("avalanche-lib")


class StreamCache:
    """The streams of one of Avalanche's benchmarks, made when they are first asked for.

    Args:
        name: the benchmark's name in `avalanche.benchmarks.classic`.
        arguments: its arguments, but for the seed, transforms and data.
        roots: the argument for the root of each dataset, and the dataset's name.
        data_dir: the folder to search first for data.
        download: whether data that are not here may be downloaded.
    """

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, Any],
        roots: Mapping[str, str],
        data_dir: Path | None = None,
        download: bool = False,
    ) -> None:
        self.name, self.arguments, self.roots = name, dict(arguments), roots
        self.data_dir, self.download = data_dir, download
        self.version = avalanche_version()
        made_of = [FORMAT, self.version, name, self.arguments]
        key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = cache_dir() / "avalanche" / f"{name}-{key}"
        self.made_anything = False
        """Whether anything was asked for that was not there yet."""
        self._streams: dict[int, Stream] = {}

    def layout(self, seeds: Sequence[int]) -> dict[str, Any]:
        """Return the shape of images, and classes and numbers of images for some seeds.

        The result has `input_shape` and, for each of the seeds, one of `outlines`.

        Raises:
            UserError: Avalanche cannot make the benchmark, the data are not available, or the
                images have different sizes.
        """

        def make(folder: Path) -> None:
            with _library(), self._built(*seeds) as built:
                streams = (built[0].train_stream, built[0].test_stream)
                firsts = [experience.dataset[0][0] for part in streams for experience in part]
                content = {
                    "input_shape": self._shape(firsts, tuple(firsts[0].shape)),
                    "outlines": [_outline(each) for each in built],
                }
            write_content(folder, content)

        return self._kept("layout-" + "-".join(map(str, seeds)), make)

    def stream(self, seed: int) -> Stream:
        """Return the tasks of a seed; raises as `layout` does."""

        def make(folder: Path) -> None:
            with _library(), self._built(seed) as (built,):
                content = _outline(built) | {"sha256": {half: [] for half in HALVES}}
                for task in range(len(content["classes"])):
                    self._write_task(folder / f"task-{task}.safetensors", built, task, content)
            write_content(folder, content)

        if seed not in self._streams:
            name = f"seed-{seed}"
            self._streams[seed] = Stream(self.folder / name, self._kept(name, make))
        return self._streams[seed]

    def _write_task(self, path: Path, built: Any, task: int, content: dict[str, Any]) -> None:
        from safetensors.numpy import save_file

        arrays: dict[str, np.ndarray] = {}
        for half in HALVES:
            dataset = getattr(built, f"{half}_stream")[task].dataset
            images, labels = self._read(dataset)
            arrays |= {f"{half}_images": images, f"{half}_labels": labels}
            content["sha256"][half].append(digest(images, labels))
        save_file(arrays, path)

    def _read(self, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the images uint8 [n, pixels] and labels int64 [n] of a dataset of Avalanche's."""
        import torch

        shape = tuple(dataset[0][0].shape)
        images = np.empty((len(dataset), int(np.prod(shape))), np.uint8)
        labels = np.empty(len(dataset), np.int64)
        for start in range(0, len(dataset), _CHUNK):
            span = range(start, min(start + _CHUNK, len(dataset)))
            items = [dataset[index] for index in span]
            self._shape([item[0] for item in items], shape)
            pixels = torch.stack([item[0] for item in items])
            whole = pixels.mul(255).round().to(torch.uint8)
            if not torch.equal(whole.to(pixels.dtype).div(255), pixels):
                raise UserError(f"avalanche:{self.name} has pixels that are no multiples of 1/255")
            images[span.start : span.stop] = whole.flatten(1).numpy()
            labels[span.start : span.stop] = [item[1] for item in items]
        return images, labels

    def _shape(self, images: Sequence[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape; raise a UserError unless all images have it."""
        for image in images:
            if tuple(image.shape) != shape:
                raise UserError(
                    f"the images of avalanche:{self.name} differ in size"
                    f" ({tuple(image.shape)} and {shape}); all must have one"
                )
        return shape

    @contextmanager
    def _built(self, *seeds: int) -> Iterator[list[Any]]:
        """Yield Avalanche's benchmark objects for some seeds, their pixels not normalised."""
        from avalanche.benchmarks import classic

        make = getattr(classic, self.name)
        transform = _pixels(inspect.signature(make).parameters["eval_transform"].default)
        with ExitStack() as stack:
            roots = {
                argument: stack.enter_context(dataset_root(dataset, self.data_dir, self.download))
                for argument, dataset in self.roots.items()
            }
            fixed = {"train_transform": transform, "eval_transform": transform, **roots}
            try:
                built = [make(**self.arguments, seed=seed, **fixed) for seed in seeds]
            except ValueError as error:
                arguments = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
                raise UserError(f"Avalanche's {self.name}({arguments}): {error}") from error
            yield built

    def _kept(self, name: str, make: Callable[[Path], None]) -> dict[str, Any]:
        """Return the content of a folder in the cache; `make` fills one that is not there yet.

        It is made aside and appears in one move. Of several processes that want it one makes it.
        """
        final = self.folder / name
        if (content := read_content(final)) is not None:
            return content
        self.made_anything = True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # without locks the same is made twice, and the first one counts
            with atomic.locked(self.folder / f".{name}.lock"):
                if (content := read_content(final)) is not None:
                    return content
                atomic.sweep(self.folder, f".{name}-*")
                with atomic.new_folder(final) as aside:
                    make(aside)
                    atomic.place(aside, final, lambda there: read_content(there) is not None)
        except OSError as error:
            if read_content(final) is None:
                raise UserError(f"{final} cannot be made: {error.strerror or error}") from error
        made = read_content(final)
        assert made is not None
        return made


def _outline(built: Any) -> dict[str, Any]:
    """Return the classes of each task, in Avalanche's order, and how many images each has."""
    order = iter(built.classes_order)
    classes = [list(itertools.islice(order, number)) for number in built.n_classes_per_exp]
    outline: dict[str, Any] = {"classes": classes}
    for half in HALVES:
        counts = [each.dataset.targets.count for each in getattr(built, f"{half}_stream")]
        outline[half] = [
            [count.get(label, 0) for label in of_task]
            for of_task, count in zip(classes, counts, strict=True)
        ]
    return outline


def _pixels(transform: Any) -> Any:
    """Return a benchmark's own transform of test images without its normalisation."""
    from torchvision.transforms import Compose, Normalize

    return Compose([step for step in transform.transforms if not isinstance(step, Normalize)])


@contextmanager
def _library() -> Iterator[None]:
    """Keep what Avalanche says off the standard output, and what it draws off our generators.

    One thread reads images fastest: they are small, and read one by one.
    """
    import torch

    from cl_bench.engine.threads import one_thread

    state = random.getstate()
    with (
        warnings.catch_warnings(),
        redirect_stdout(sys.stderr),
        torch.random.fork_rng(devices=[]),
        one_thread(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            random.setstate(state)
