"""`cl_bench wandb`: sends stored runs, says where they went, and exits as scripts expect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cl_bench.cli import main
from cl_bench.results.store import RunStore
from cl_bench.tracking.offline import read_offline
from tests.support import make_record


@pytest.fixture
def stored(runs: Path) -> Path:
    store = RunStore(runs)
    for strategy, seed in (("ewc", 0), ("ewc", 1), ("naive", 0)):
        store.write(make_record(strategy, seed))
    return runs


def sent(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    code = main(["wandb", "--format", "json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_stored_runs_are_sent_once(stored: Path, capsys: pytest.CaptureFixture[str]):
    code, rows = sent(capsys, "--out", str(stored))
    assert code == 0
    assert [(row["strategy"], row["seed"], row["mode"], row["new"]) for row in rows] == [
        ("ewc", 0, "offline", True),
        ("ewc", 1, "offline", True),
        ("naive", 0, "offline", True),
    ]
    assert [read_offline(Path(row["where"])).run_id for row in rows] == [r["run_id"] for r in rows]
    code, rows = sent(capsys, "--out", str(stored))
    assert (code, {(row["mode"], row["new"]) for row in rows}) == (0, {("offline", False)})
    code, rows = sent(capsys, "--out", str(stored), "--again", "--strategy", "naive")
    assert (code, [(row["strategy"], row["new"]) for row in rows]) == (0, [("naive", True)])
    assert len(RunStore(stored).paths()) == 3  # W&B's folder is no run


def test_without_a_key_it_says_that_nothing_was_sent_where_it_is_and_how_to_send_it(
    stored: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["wandb", "--out", str(stored)]) == 0
    shown = capsys.readouterr()
    assert f"0 of 3 runs in {stored} are on W&B" in shown.out
    assert "sent" not in shown.out
    assert shown.err == (
        f"not sent: 3 runs; W&B: offline (no API key found); files in {stored}/wandb; "
        f"to send them: python -m wandb login, then python -m cl_bench wandb --out {stored}\n"
    )


def test_online_that_was_asked_for_and_failed_is_exit_code_1(
    stored: Path, capsys: pytest.CaptureFixture[str]
):
    code, rows = sent(capsys, "--out", str(stored), "--mode", "online")
    assert code == 1
    assert {(row["mode"], row["error"]) for row in rows} == {("offline", "no API key found")}


def test_a_damaged_record_does_not_keep_the_others_from_being_sent(
    stored: Path, capsys: pytest.CaptureFixture[str]
):
    first, second, _ = RunStore(stored).paths()
    (first / "curve.parquet").write_bytes(b"damaged")
    (second / "record.json").write_bytes(b"damaged")
    code, rows = sent(capsys, "--out", str(stored))
    assert code == 1
    assert [row["mode"] for row in rows] == ["failed", "offline"]
    assert "curve.parquet" in rows[0]["error"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--out", "nowhere"], "there is no folder of runs at nowhere"),
        (["--strategy", "ewk"], "unknown strategy 'ewk'; did you mean ewc?"),
        (["--mode", "ofline"], "ofline"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    stored: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    assert main(["wandb", "--out", str(stored), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_naming_the_command_does_not_import_wandb():
    import subprocess
    import sys

    code = "import sys, cl_bench.cli.wandb; print({'wandb', 'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
