"""Records of one protocol, and a board built from them."""

import shutil
from pathlib import Path

import pytest

from cl_bench.leaderboard.board import build
from cl_bench.results.store import RunStore
from tests.leaderboard.boards import PROTOCOL, make_record, matrix, write


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Records of one protocol: ewc and si equal, naive below, joint above but at 3 seeds only."""
    store = RunStore(tmp_path_factory.mktemp("records"))
    write(store, "ewc", 0.90, settings={"strength": 123.0, "form": "implicit"})
    for seed in range(5):  # as ewc on average, better at some seeds and worse at others
        shifted = matrix(0.90 + (-1) ** seed * 0.004, seed)
        store.write(make_record("si", seed, shifted))
    write(store, "naive", 0.70)
    write(store, "joint", 0.97, seeds=3)
    return store.root


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "three.yaml"
    path.write_text(PROTOCOL)
    return str(path)


@pytest.fixture(scope="session")
def built_folder(records, config, tmp_path_factory):
    return build(config, records, tmp_path_factory.mktemp("boards")).folder


@pytest.fixture
def out(records, tmp_path):
    return Path(shutil.copytree(records, tmp_path / "runs"))


@pytest.fixture
def folder(built_folder, tmp_path):
    return Path(shutil.copytree(built_folder, tmp_path / "three"))
