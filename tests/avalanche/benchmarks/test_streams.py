"""Avalanche's streams here: the same pixels, made once, verified as they are read."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cl_bench
from cl_bench.avalanche.streams import StreamCache
from cl_bench.errors import UserError
from tests.avalanche.benchmarks.support import (
    SPLITS,
    Build,
    digits,
    items,
    ours,
    scaled,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tasks"),
    [("SplitMNIST", 5), ("SplitFMNIST", 2), ("PermutedMNIST", 3), ("RotatedMNIST", 2)],
)
def test_pixels_and_labels_are_avalanches(theirs: Build, name: str, tasks: int) -> None:
    from torchvision.transforms import ToTensor

    seed, arguments = 3, {}
    if name == "SplitFMNIST":  # whose images are not tensors yet
        arguments["transform"] = ToTensor()
    theirs_as_they_come = theirs(name, tasks, seed, **arguments)
    split = name.startswith("Split")
    labels = "class_ids_from_zero_from_first_exp"
    built = theirs(name, tasks, seed, **arguments, **({labels: True} if split else {}))
    benchmark = ours(name, tasks=tasks)
    described = [set(row["classes"]) for row in benchmark.describe(seed)]  # type: ignore[call-overload]
    for half in SPLITS:
        for task in range(tasks):
            images, right, _ = items(getattr(built, f"{half}_stream")[task])
            found = benchmark.examples(seed, task, half)  # type: ignore[arg-type]
            assert found.images.dtype == np.uint8
            assert found.labels.dtype == np.int64
            np.testing.assert_array_equal(scaled(found.images), images)
            np.testing.assert_array_equal(found.labels, right)
            experience = getattr(theirs_as_they_come, f"{half}_stream")[task]
            assert described[task] == set(experience.classes_in_this_experience)
    assert benchmark.input_shape == (1, 28, 28)
    assert benchmark.n_outputs == 10


def test_what_is_cached_needs_neither_avalanche_nor_data(tmp_path: Path) -> None:
    benchmark = ours("SplitMNIST")
    digest = hashlib.sha256()
    for half in SPLITS:
        examples = benchmark.examples(3, 4, half)  # type: ignore[arg-type]
        digest.update(examples.images.tobytes() + examples.labels.tobytes())
    code = f"""
import hashlib, sys
from cl_bench import benchmarks
from cl_bench.config import BenchmarkConfig
benchmark = benchmarks.get(BenchmarkConfig(name="avalanche:SplitMNIST"), download=False)
digest = hashlib.sha256()
for half in ("train", "test"):
    examples = benchmark.examples(3, 4, half)
    digest.update(examples.images.tobytes() + examples.labels.tobytes())
assert digest.hexdigest() == {digest.hexdigest()!r}
assert benchmark.stream_id(3) == {benchmark.stream_id(3)!r}
assert benchmark.describe(3) == {benchmark.describe(3)!r}
assert benchmark.notice is None
assert not {{"avalanche", "torch", "torchvision"}} & set(sys.modules)
"""
    environment = {**os.environ, "CL_BENCH_DATA": str(tmp_path)}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=environment)


def test_a_stream_made_again_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = ours("SplitMNIST", tasks=2).stream_id(3), ours("SplitMNIST", tasks=2)
    assert other.stream_id(4) != first
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path))
    again = ours("SplitMNIST", tasks=2)
    assert again.stream_id(3) == first
    assert str(tmp_path) in str(again.notice)
    assert "minutes once a seed" in str(again.notice)


def test_two_that_want_a_stream_at_once_make_it_once(tmp_path: Path) -> None:
    code = """
from cl_bench.avalanche.stored import write_content
from cl_bench.avalanche.streams import StreamCache
import time
def make(folder):
    time.sleep(0.5)
    print("made", flush=True)
    write_content(folder, {"here": 1})
print(StreamCache("SplitMNIST", {}, {})._kept("seed-0", make)["here"])
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "CL_BENCH_CACHE": str(tmp_path)},
        )
        for _ in range(3)
    ]
    said = "".join(process.communicate()[0] for process in started)
    assert sorted(said.split()) == ["1", "1", "1", "made"]


def test_what_is_damaged_is_told_or_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path))
    expected = ours("SplitMNIST").stream_id(0)
    (content,) = tmp_path.rglob("seed-0/content.json")
    content.write_text(content.read_text()[:100])
    assert ours("SplitMNIST").stream_id(0) == expected
    (file,) = tmp_path.rglob("seed-0/task-1.safetensors")
    whole = file.read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:1000], b""):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"task-1.safetensors is damaged; delete .*seed-0"):
            benchmark = ours("SplitMNIST")
            for half in SPLITS:
                benchmark.examples(0, 1, half)  # type: ignore[arg-type]
    assert not list(tmp_path.rglob(".seed-0-*")), "nothing half made is left behind"


def test_data_that_are_not_here_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "XDG_CACHE_HOME", "CL_BENCH_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CL_BENCH_DATA")
    with pytest.raises(UserError, match=r"cifar10 was not found in .* downloads are switched off"):
        ours("SplitCIFAR10")
    with pytest.raises(UserError, match="mnist is not available here, and mnist-5k is too small"):
        ours("SplitMNIST")
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)
    with pytest.raises(UserError, match="cifar-10-batches-py is not a whole cifar10"):
        ours("SplitCIFAR10", download=True)
    assert not any((tmp_path / "data" / "cifar-10-batches-py").iterdir())


def test_neither_data_nor_generators_are_touched(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path))

    def stamps() -> dict[Path, tuple[int, int]]:
        files = data_folder.rglob("*")
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    before = stamps()
    state, own, threads = torch.get_rng_state(), random.getstate(), torch.get_num_threads()
    ours("RotatedMNIST", tasks=1).examples(0, 0, "test")
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == own
    assert torch.get_num_threads() == threads
    assert stamps() == before


def test_colour_images_from_a_folder_of_torchvision(cifar: np.ndarray) -> None:
    benchmark = ours("SplitCIFAR10", order="fixed")
    labels = digits()[1][:400]
    assert benchmark.input_shape == (3, 32, 32)
    for task in range(5):
        found = benchmark.examples(0, task, "train")
        expected = [cifar[:400][labels == label] for label in (2 * task, 2 * task + 1)]
        np.testing.assert_array_equal(found.images.reshape(-1, 3, 32, 32), np.concatenate(expected))
    stream = cl_bench.to_avalanche(benchmark, 0)
    image, _, _ = stream.train_stream[0].dataset[0]
    assert image.shape == (3, 32, 32)


@pytest.mark.parametrize("fault", ["size", "pixels"])
def test_images_that_are_no_arrays_of_bytes(
    theirs: Build, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from avalanche.benchmarks import classic, nc_benchmark
    from torch.utils.data import TensorDataset
    from torchvision.transforms import Compose

    images, labels = (torch.tensor(array[:100]) for array in digits()[:2])

    class Odd(TensorDataset):
        targets = labels.tolist()

        def __getitem__(self, index: int) -> Any:
            image = images[index].unsqueeze(0) / (254 if fault == "pixels" else 255)
            return image[..., : 20 + index % 2 if fault == "size" else None], self.targets[index]

    def make(n_experiences: int, seed: int, train_transform: Any, eval_transform: Any) -> Any:
        return nc_benchmark(Odd(images), Odd(images), n_experiences, False, seed=seed)

    signature = inspect.signature(make)
    default = signature.parameters["eval_transform"].replace(default=Compose([]))
    make.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*list(signature.parameters.values())[:3], default]
    )
    monkeypatch.setattr(classic, f"Odd{fault}", make, raising=False)
    told = "differ in size" if fault == "size" else "no multiples of 1/255"
    with pytest.raises(UserError, match=f"avalanche:Odd{fault} .*{told}|images .*Oddsize {told}"):
        StreamCache(f"Odd{fault}", {"n_experiences": 2}, {}).stream(0)
