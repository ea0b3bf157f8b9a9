"""The W&B sink, checked by reading back the files it writes and by a server of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cl_bench.errors import UserError
from cl_bench.metrics import matrix
from cl_bench.results.figures import compute
from cl_bench.tracking.offline import read_offline
from cl_bench.tracking.replay import SAMPLES_SEEN, TASKS_SEEN, replay
from cl_bench.tracking.sink import Sink, send
from tests.support import make_record
from tests.tracking.server import Server, serve

KEY = "0123456789" * 4


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


def values(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of history without what W&B adds."""
    return {key: value for key, value in row.items() if not key.startswith("_")}


def offline_files(runs: Path) -> list[Path]:
    return sorted((runs / "wandb").glob("offline-run-*"))


def test_an_offline_file_holds_the_whole_run(runs: Path):
    record = make_record(settings={"strength": 10.0})
    with Sink("offline", "thesis", directory=runs) as sink:
        result = sink.send(record)
    assert (result.mode, result.error) == ("offline", None)
    assert result.path is not None
    run = read_offline(result.path)
    told = replay(record)

    assert [values(row) for row in run.history] == told.rows
    accuracy = matrix(record.accuracy)[0]
    for row in run.history:
        if TASKS_SEEN in row:
            after = row[TASKS_SEEN] - 1
            seen = [row[f"accuracy/task_{task:02d}"] for task in range(after + 1)]
            assert seen == list(accuracy[after, : after + 1])
    assert [row["_step"] for row in run.history] == list(range(len(told.rows)))

    assert run.axes["accuracy/*"] == run.axes["average_accuracy"] == TASKS_SEEN
    assert run.axes["forgetting"] == TASKS_SEEN
    assert run.axes["curve/*"] == SAMPLES_SEEN

    assert values(run.summary) == told.summary
    assert run.summary["forgetting"] == compute(record)["forgetting"]
    assert run.config["strategy"] == {"name": "ewc", "settings": {"strength": 10.0}, "code": None}
    assert run.config["optimizer"]["learning_rate"] == 0.1
    assert run.config["provenance"] == record.provenance
    assert (run.run_id, run.project, run.job_type) == (record.config.run_id, "thesis", "ewc")
    assert run.group == f"ewc-{record.config.group_id}"
    assert run.tags == ("permuted-mnist", "domain-incremental")
    assert run.finished


def test_an_offline_file_tells_nothing_of_the_machine(runs: Path):
    with Sink("offline", directory=runs) as sink:
        path = sink.send(make_record()).path
    assert path is not None
    assert read_offline(path).host == ""
    raw = b"".join(file.read_bytes() for file in path.rglob("*.wandb"))
    for told in (Path.cwd(), Path.home(), runs):
        assert str(told).encode() not in raw
    assert [file.name for file in (path / "files").iterdir()] == []


def test_wandb_reads_the_offline_file_as_we_do(runs: Path):
    curve = [(k, step, j, 0.25) for k in range(3) for step in range(150) for j in range(k + 1)]
    with Sink("offline", "thesis", directory=runs) as sink:
        path = sink.send(make_record(curve=curve, settings={"strength": 10.0})).path
    assert path is not None
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs: dict[str, list[dict[str, Any]]] = {}
    for record in map(json.loads, said.splitlines()):
        theirs.setdefault(record["type"], []).append(record[record["type"]])
    ours = read_offline(path)
    assert ours.history == [record["item"] for record in theirs["history"]]
    (run,) = theirs["run"]
    assert ours.config == run["config"]["update"]
    assert (ours.run_id, ours.name, ours.group) == tuple(
        run[name] for name in ("run_id", "display_name", "run_group")
    )
    axes = theirs["metric"]
    assert ours.axes == {a.get("name") or a["glob_name"]: a.get("step_metric", "") for a in axes}
    summary = {k: v for each in theirs["summary"] for k, v in each["update"].items()}
    assert values(ours.summary) == values(summary)
    assert ours.finished == bool(theirs["exit"])


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment of a run that a sweep's agent has started."""
    parameters = tmp_path / "config-abc.yaml"
    parameters.write_text("wandb_version: 1\nseed:\n  value: 77\n")
    variables = {
        "WANDB_JOB_TYPE": "theirs",
        "WANDB_NAME": "sleepy-sweep-1",
        "WANDB_RESUME": "allow",
        "WANDB_RUN_GROUP": "theirs",
        "WANDB_RUN_ID": "abc",
        "WANDB_SWEEP_ID": "s1",
        "WANDB_SWEEP_PARAM_PATH": str(parameters),
        "WANDB_TAGS": "theirs",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def test_within_a_sweep_every_run_is_its_own(sweep: dict[str, str], runs: Path):
    import wandb

    records = [make_record(seed=seed) for seed in range(2)]
    with Sink("offline", "thesis", directory=runs) as sink:
        paths = [sink.send(record).path for record in records]
        # The agent's own run is still the agent's.
        settings = wandb.setup().settings
        assert (settings.run_id, settings.sweep_id, settings.resume) == ("abc", "s1", "allow")
    for record, path in zip(records, paths, strict=True):
        assert path is not None
        run, told = read_offline(path), replay(record)
        assert (run.run_id, run.project) == (record.config.run_id, "thesis")
        assert (run.name, run.group, run.job_type) == (told.name, told.group, told.job_type)
        assert run.tags == told.tags
        assert run.config["seed"] == record.config.seed
        assert [values(row) for row in run.history] == told.rows


def test_a_run_that_is_sent_again_is_not_resumed_whatever_the_environment_says(
    online: Server, monkeypatch: pytest.MonkeyPatch, runs: Path
):
    monkeypatch.setenv("WANDB_RESUME", "allow")
    record = make_record()
    with Sink("auto", directory=runs, again=True) as sink:
        assert [sink.send(record).mode for _ in range(2)] == ["online", "online"]
    assert [run["name"] for run in online.runs] == [record.config.run_id] * 2
    assert "RunResumeStatus" not in online.asked
    history = online.history[record.config.run_id]
    assert [values(history[line]) for line in sorted(history)] == replay(record).rows


def test_a_long_curve_is_read_back_across_the_blocks_of_the_file(runs: Path):
    curve = [(k, step, j, 0.25) for k in range(3) for step in range(150) for j in range(k + 1)]
    record = make_record(curve=curve)
    with Sink("offline", directory=runs) as sink:
        path = sink.send(record).path
    assert path is not None
    assert next(path.glob("*.wandb")).stat().st_size > 2 * 32 * 1024
    assert [values(row) for row in read_offline(path).history] == replay(record).rows


def test_a_damaged_offline_file_is_an_error(runs: Path):
    with Sink("offline", directory=runs) as sink:
        path = sink.send(make_record()).path
    assert path is not None
    (file,) = path.glob("*.wandb")
    whole = file.read_bytes()
    for damaged in (whole[:-3], b"no log" + whole):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=file.name):
            read_offline(file)


def test_what_was_sent_is_sent_again_only_when_asked_and_then_replaced(runs: Path):
    record, other = make_record(seed=0), make_record(seed=1)
    with Sink("offline", directory=runs) as sink:
        first = sink.send(record)
        second = sink.send(record)
        sink.send(other)
    assert (first.skipped, second.skipped) == (False, True)
    assert first.path == second.path
    assert len(offline_files(runs)) == 2
    with Sink("offline", directory=runs, again=True) as sink:
        assert not sink.send(record).skipped
    found = [read_offline(path).run_id for path in offline_files(runs)]
    assert sorted(found) == sorted([record.config.run_id, other.config.run_id])
    with Sink("offline", "elsewhere", directory=runs) as sink:
        assert not sink.send(record).skipped


def test_what_was_deleted_is_sent_again(runs: Path):
    record = make_record()
    with Sink("offline", directory=runs) as sink:
        path = sink.send(record).path
        assert path is not None
        path.rename(runs / "moved away")
        assert not sink.send(record).skipped


def test_without_a_key_the_sink_is_offline_and_says_so_in_one_line(runs: Path):
    line = Sink("auto", directory=runs).describe()
    assert line == (
        f"W&B: offline (no API key found); files in {runs}/wandb; to send them: "
        f"python -m wandb login, then python -m cl_bench wandb --out {runs}"
    )
    assert not runs.exists()


@pytest.mark.parametrize(
    ("mode", "variable", "key", "advice"),
    [
        ("offline", "", KEY, "python -m cl_bench wandb --out {}"),
        ("offline", "offline", KEY, "python -m cl_bench wandb --out {} --mode online"),
        ("auto", "offline", KEY, "python -m cl_bench wandb --out {} --mode online"),
        ("online", "", "", "python -m wandb login, then python -m cl_bench wandb --out {}"),
        ("auto", "", "short", "python -m wandb login, then python -m cl_bench wandb --out {}"),
    ],
)
def test_the_advice_sends_the_offline_files(
    monkeypatch: pytest.MonkeyPatch, runs: Path, mode: str, variable: str, key: str, advice: str
):
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    monkeypatch.setenv("WANDB_API_KEY", key)
    said = Sink(mode, "my thesis", "lab", directory=runs).describe()
    assert said.endswith(
        f"; to send them: {advice} --project 'my thesis' --entity lab".format(runs)
    )


def test_a_key_makes_it_online_without_asking_the_network(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    sink = Sink("auto", "thesis", "lab")
    assert sink.describe() == "W&B: online, project lab/thesis at http://127.0.0.1:9"
    assert KEY not in repr(vars(sink))


def test_a_key_is_found_in_netrc():
    Path(os.environ["NETRC"]).write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert Sink("auto").mode == "online"


@pytest.mark.parametrize(
    "environment, mode, line",
    [
        ({"WANDB_MODE": "offline"}, "offline", "WANDB_MODE=offline"),
        ({"WANDB_MODE": "disabled"}, "disabled", "W&B: disabled (WANDB_MODE=disabled)"),
        ({"WANDB_API_KEY": "short"}, "offline", "API key must have 40+ characters"),
    ],
)
def test_the_environment_is_respected(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], mode: str, line: str
):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sink = Sink("auto")
    assert sink.mode == mode
    assert line in sink.describe()


def test_project_and_entity_come_from_the_environment_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch, runs: Path
):
    monkeypatch.setenv("WANDB_PROJECT", "thesis")
    monkeypatch.setenv("WANDB_ENTITY", "lab")
    path = send(make_record(), mode="offline", directory=runs).path
    assert path is not None
    run = read_offline(path)
    assert (run.project, run.entity) == ("thesis", "lab")


def test_a_run_that_was_trained_again_to_other_weights_is_sent_again(runs: Path):
    record = make_record()
    with Sink("offline", directory=runs) as sink:
        first = sink.send(record)
        assert sink.send(record).skipped
        record.weights_sha256 = "0" * 64
        again = sink.send(record)
        assert (again.skipped, again.mode) == (False, "offline")
        assert again.path != first.path
        assert sink.send(record).skipped


def test_disabled_does_nothing(runs: Path):
    result = send(make_record(), mode="disabled", directory=runs)
    assert (result.mode, result.error, result.path) == ("disabled", None, None)
    assert not runs.exists()


def test_a_mode_that_does_not_exist_is_a_mistake():
    with pytest.raises(UserError, match=r"unknown W&B mode 'ofline'; did you mean offline"):
        Sink("ofline")


def test_a_folder_that_cannot_be_written_fails_no_run(tmp_path: Path):
    blocked = tmp_path / "runs"
    blocked.write_text("a file, not a folder")
    said: list[str] = []
    with Sink("offline", directory=blocked, say=said.append) as sink:
        results = [sink.send(make_record(seed=seed)) for seed in range(2)]
    assert [result.mode for result in results] == ["failed", "failed"]
    assert str(blocked) in (results[0].error or "")
    assert len(said) == 1


def test_a_project_that_wandb_refuses_fails_no_run(runs: Path):
    result = send(make_record(), project="a/b", mode="offline", directory=runs)
    assert result.mode == "failed"
    assert result.error


def test_the_death_of_the_service_costs_one_send_at_most(runs: Path):
    from wandb.sdk import wandb_setup

    with Sink("offline", directory=runs, say=lambda _: None) as sink:
        sink.send(make_record(seed=0))
        connection: Any = wandb_setup.singleton().assert_service()
        os.kill(connection._proc._process.pid, signal.SIGKILL)
        start = time.monotonic()
        sink.send(make_record(seed=1))
        assert time.monotonic() - start < 15
        assert sink.send(make_record(seed=2)).mode == "offline"


def test_an_unreachable_server_is_given_up_once_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, runs: Path
):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    said: list[str] = []
    start = time.monotonic()
    with Sink("auto", directory=runs, say=said.append) as sink:
        results = [sink.send(make_record(seed=seed)) for seed in range(3)]
    assert time.monotonic() - start < 12
    assert {result.mode for result in results} == {"offline"}
    assert all(result.error for result in results)
    for seed, result in enumerate(results):
        assert result.path is not None
        told = replay(make_record(seed=seed))
        assert [values(row) for row in read_offline(result.path).history] == told.rows
    assert len(said) == 1
    assert said[0].startswith("W&B: offline (")
    assert KEY not in said[0]


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, server: Server) -> Server:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    return server


def test_online_the_server_is_sent_the_whole_run_and_twice_is_the_same_run(
    online: Server, runs: Path
):
    record = make_record()
    run_id = record.config.run_id
    with Sink("auto", directory=runs) as sink:
        result = sink.send(record)
        again = sink.send(record)
    assert result.mode == "online"
    assert result.url == f"{online.url}/me/cl_bench/runs/{run_id}"
    assert (again.skipped, again.url) == (True, result.url)
    with Sink("auto", directory=runs, again=True) as sink:
        assert not sink.send(record).skipped

    assert [run["name"] for run in online.runs] == [run_id, run_id]
    assert online.runs[0]["groupName"] == f"ewc-{record.config.group_id}"
    assert not online.runs[0]["host"]
    history = online.history[run_id]
    assert [values(history[line]) for line in sorted(history)] == replay(record).rows


def test_offline_files_go_online_once_there_is_a_key(
    monkeypatch: pytest.MonkeyPatch, server: Server, runs: Path
):
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    record = make_record()
    assert send(record, directory=runs).mode == "offline"
    import wandb

    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert send(record, directory=runs).mode == "online"
    assert offline_files(runs) == []
    assert record.config.run_id in server.history


@pytest.mark.parametrize("refused", ["key_status", "run_status", "history_status"])
def test_a_server_that_refuses_is_left_for_offline_files(online: Server, runs: Path, refused: str):
    setattr(online, refused, 403)
    record, said = make_record(), list[str]()
    with Sink("online", directory=runs, say=said.append) as sink:
        result = sink.send(record)
    assert (result.mode, len(said)) == ("offline", 1)
    assert result.error
    assert result.path is not None
    assert [values(row) for row in read_offline(result.path).history] == replay(record).rows


def test_a_service_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, runs: Path):
    from wandb.sdk import wandb_setup

    from cl_bench.tracking import session

    monkeypatch.setattr(session, "TEARDOWN_SECONDS", 1.0)
    sink = Sink("offline", directory=runs)
    assert sink.send(make_record()).error is None
    connection: Any = wandb_setup.singleton()._connection
    service = connection._proc._process
    os.kill(service.pid, signal.SIGSTOP)
    start = time.monotonic()
    sink.close()
    assert time.monotonic() - start < 15
    assert service.poll() is not None
