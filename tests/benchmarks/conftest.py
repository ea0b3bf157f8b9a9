"""What the tests of benchmarks share: real data, the full MNIST where it is here, else the 5k."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cl_bench import benchmarks
from cl_bench.benchmarks import Benchmark
from cl_bench.config import BenchmarkConfig

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def real_data() -> Path | None:
    """Return the folder with the full datasets, or None where there is none."""
    given = os.environ.get("CL_BENCH_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    return folder if (folder / "MNIST" / "raw").is_dir() else None


@pytest.fixture
def make(real_data: Path | None) -> Callable[..., Benchmark]:
    """Return a function that makes a benchmark from its name and configuration."""

    def make_benchmark(name: str, **settings: object) -> Benchmark:
        config = BenchmarkConfig.model_validate({"name": name, **settings})
        return benchmarks.get(config, real_data, download=False)

    return make_benchmark


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a machine without any data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CL_BENCH_DATA", raising=False)
