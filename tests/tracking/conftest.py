"""W&B without the settings, keys and sessions of the machine that the tests run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def clean_wandb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide what W&B knows of this machine, and end its session after each test."""
    import wandb

    home = tmp_path_factory.mktemp("wandb-home")
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        patch.delenv(name)
    patch.setenv("NETRC", str(home / "netrc"))
    patch.setenv("WANDB_CONFIG_DIR", str(home))
    patch.setenv("WANDB_HTTP_TIMEOUT", "3")
    wandb.teardown()
    yield
    wandb.teardown()
    os.environ.pop("WANDB_ERROR_REPORTING", None)  # set by the session itself
    patch.undo()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"
