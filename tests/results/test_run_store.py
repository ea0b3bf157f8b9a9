"""Records on disk: what is written is read, in whole or not at all, whatever went wrong."""

import hashlib
import json
import math
import multiprocessing
import os
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_bench import atomic
from cl_bench.config import RunConfig
from cl_bench.errors import UserError
from cl_bench.results import store
from cl_bench.results.record import TABLES
from cl_bench.results.store import REPLACED, RunStore
from tests.support import landscape_frame, make_config, make_record

FILES = {
    "record.json",
    "accuracy.parquet",
    "curve.parquet",
    "predictions.parquet",
    "weights.safetensors",
}


@pytest.fixture
def runs(tmp_path):
    return RunStore(tmp_path / "runs")


def same(first, second):
    for table in ("accuracy", "curve", "predictions"):
        pd.testing.assert_frame_equal(getattr(first, table), getattr(second, table))
    assert first.weights.keys() == second.weights.keys()
    for name, value in first.weights.items():
        assert value.dtype == second.weights[name].dtype
        np.testing.assert_array_equal(value, second.weights[name])
    assert (first.landscape is None) == (second.landscape is None)
    if first.landscape is not None:
        pd.testing.assert_frame_equal(first.landscape, second.landscape)
    plain = {"accuracy", "curve", "predictions", "landscape", "weights"}
    for key in vars(first).keys() - plain:
        assert getattr(first, key) == getattr(second, key), key


def test_a_record_comes_back_as_it_was(runs):
    record = make_record(settings={"strength": 100.0, "online": True, "kind": "exact"})
    path = runs.write(record)
    assert path.name == f"ewc-s0-{record.config.run_id}"
    assert {p.name for p in path.iterdir()} == FILES
    same(runs.read(path), record)
    same(runs.read(str(path)), record)
    same(runs.read(record.config.run_id), record)


def test_an_empty_curve_and_one_task_come_back_with_their_types(runs):
    record = make_record(matrix=[[0.9]], curve=[])
    same(runs.read(runs.write(record)), record)


def test_the_landscape_is_a_table_where_it_was_measured(runs):
    record = make_record(evaluation={"landscape": 500})
    record.landscape = landscape_frame(tasks=3)
    path = runs.write(record)
    assert {p.name for p in path.iterdir()} == {*FILES, "landscape.parquet"}
    same(runs.read(path), record)
    assert runs.open(path).has("landscape")
    assert not runs.open(runs.write(make_record())).has("landscape")
    (path / "landscape.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"landscape\.parquet is damaged"):
        runs.read(path)
    assert not runs.exists(record.config)


def test_addresses_are_those_from_before_the_landscape_could_be_measured():
    plain = make_config()
    assert plain.run_id == "4aed29fdbf482c22"
    assert plain.group_id == "041c554ffb2cf37c"
    assert plain.protocol_id == "f15af106aec8a7a2"
    assert make_config(evaluation={"landscape": None}).run_id == plain.run_id
    measured = make_config(evaluation={"landscape": 500})
    assert measured.protocol_id != plain.protocol_id
    assert RunConfig.model_validate(measured.model_dump(mode="json")) == measured


def test_tables_have_the_contracts_columns_and_types(runs):
    record = make_record()
    record.landscape = landscape_frame(tasks=3)
    path = runs.write(record)
    for name, columns in TABLES.items():
        schema = pq.read_schema(path / f"{name}.parquet")
        assert schema.names == list(columns)
        types = [str(kind).replace("double", "float64") for kind in schema.types]
        assert types == list(columns.values())


def test_wrong_columns_are_not_written(runs):
    record = make_record()
    record.accuracy = record.accuracy.drop(columns="loss")
    with pytest.raises(ValueError, match="table accuracy has columns"):
        runs.write(record)
    assert runs.paths() == []
    assert not runs.root.exists()


def test_numpy_numbers_and_infinities_become_plain_json(runs):
    record = make_record()
    cost: Any = {"bytes_kept": np.int64(5), "seconds": {"train": np.float32(0.5)}, "x": np.inf}
    record.cost = cost
    record.tasks = [{"classes": np.arange(2), "pair": (1, 2)}]
    again = runs.read(runs.write(record))
    assert again.cost == {"bytes_kept": 5, "seconds": {"train": 0.5}, "x": None}
    assert again.tasks == [{"classes": [0, 1], "pair": [1, 2]}]


@settings(max_examples=20, deadline=None)
@given(
    strategy=st.text(min_size=1, max_size=20),
    seed=st.integers(0, 2**40),
    strength=st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans(),
    rate=st.floats(1e-300, 1000, exclude_min=True),
    hidden=st.lists(st.integers(1, 1000), max_size=3),
)
def test_any_config_is_found_under_its_own_address(
    tmp_path_factory, strategy, seed, strength, rate, hidden
):
    runs = RunStore(tmp_path_factory.mktemp("any"))
    record = make_record(
        strategy,
        seed,
        settings={"strength": strength},
        optimizer={"learning_rate": rate},
        network={"hidden": hidden},
    )
    path = runs.write(record)
    assert path.parent == runs.root
    assert runs.paths() == [path]
    assert runs.open(record.config.run_id).config == record.config
    assert runs.exists(record.config)


def test_whether_a_run_exists_is_told_without_reading_what_nobody_touched(runs):
    record = make_record()
    weights = runs.write(record) / "weights.safetensors"
    before = weights.stat()
    weights.write_bytes(b"x" * before.st_size)
    assert not runs.exists(record.config)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns - 10**9))
    assert runs.exists(record.config)  # so it was not read
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged"):
        runs.read(record.config.run_id)


def of_code(code, seed=0, finished=None):
    record = make_record(seed=seed)
    record.provenance |= {"code": code, "finished": finished} if code else {}
    return record


def test_a_run_of_other_code_is_not_there_and_its_record_is_kept_aside(runs):
    old, new = of_code("a" * 64), of_code("b" * 64)
    old.cost["samples_seen"] = 1
    path = runs.write(old)
    assert runs.exists(old.config)
    assert runs.exists(old.config, "a" * 64)
    assert not runs.exists(old.config, "b" * 64)
    assert runs.write(new) == path
    same(runs.read(path), new)
    assert runs.write(new) == path
    aside = RunStore(runs.root / REPLACED / ("a" * 16))
    same(aside.read(old.config.run_id), old)
    assert [run.path for run in runs.scan()[0]] == [path]


def test_a_record_from_before_its_code_was_kept_counts_as_of_the_code_of_now(runs):
    path = runs.write(make_record())
    assert runs.exists(make_config(), "b" * 64)
    runs.write(of_code("b" * 64))
    assert runs.open(path).code is None
    assert not (runs.root / REPLACED).exists()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_or_weight_that_is_not_finite_makes_a_run_diverged(runs, bad):
    for seed, harm in enumerate(("accuracy", "curve", "weights", None)):
        record = make_record(seed=seed)
        if harm == "weights":
            record.weights["layers.0.bias"][0] = bad
        elif harm is not None:
            getattr(record, harm).loc[getattr(record, harm).index[-1], "loss"] = bad
        path = runs.write(record)
        assert record.diverged == runs.open(path).diverged == (harm is not None)


def test_an_infinite_loss_on_a_task_still_to_come_is_none(runs):
    record = make_record(matrix=[[0.9, 0.0], [0.8, 0.9]])
    table = record.accuracy
    table.loc[(table.task > table.after_task), "loss"] = math.inf
    assert not record.diverged


def test_records_from_before_divergence_was_kept_are_judged_by_their_losses(runs):
    for seed, loss in ((0, 0.5), (1, math.nan)):
        record = make_record(seed=seed)
        record.accuracy.loc[record.accuracy.index[-1], "loss"] = loss
        path = runs.write(record)
        rewrite(path, lambda content: content.pop("diverged"))
        assert runs.open(path).diverged == (seed == 1)


def test_copies_of_a_run_are_listed_once_and_said(runs):
    path = runs.write(make_record())
    copy = runs.root / f"a-copy-s0-{path.name[-16:]}"
    other = runs.root / f"other-s0-{'1' * 16}"
    for folder in (copy, other):
        shutil.copytree(path, folder)
    found, warnings = runs.scan()
    assert [run.path for run in found] == [path]
    assert [str(copy) in warnings[0], str(other) in warnings[1]] == [True, True]
    assert all("is a copy of run" in line for line in warnings)
    assert runs.open(path.name[-16:]).path == path
    shutil.rmtree(path)
    assert [run.path for run in runs.scan()[0]] == [copy]
    assert runs.open(path.name[-16:]).path == copy


def test_what_killed_writers_left_behind_is_removed_before_the_next_work(runs):
    runs.check_writable()
    mine = f".writing-{atomic._machine()}-{os.getpid()}-{'0' * 32}"
    old = (".writing-ewc-s0-0123456789abcdef-" + "0" * 32, ".damaged-ewc", ".probe-" + "0" * 32)
    for name in (*old, mine):
        (runs.root / name).mkdir()
    for name in old:
        os.utime(runs.root / name, (0, 0))
    runs.check_writable()
    assert [path.name for path in runs.root.iterdir()] == [mine]


def test_names_longer_than_a_file_may_have_are_no_matter(runs):
    record = make_record("x" * 300, seed=10**300)
    runs.write(record)
    assert runs.exists(record.config)
    assert runs.scan()[0][0].config == record.config


def test_a_run_exists_once_it_is_whole(runs):
    record = make_record()
    assert not runs.exists(record.config)
    runs.write(record)
    assert runs.exists(record.config)
    assert not runs.exists(make_config(seed=1))


def test_the_first_writer_wins(runs):
    first, second = make_record(), make_record()
    second.provenance = {"device": "another"}
    path = runs.write(first)
    before = (path / "record.json").read_bytes()
    assert runs.write(second) == path
    assert (path / "record.json").read_bytes() == before
    assert list(runs.root.iterdir()) == [path]


def _write_some(root):
    for seed in range(6):
        RunStore(root).write(make_record(seed=seed))


def test_writers_at_the_same_time_do_no_damage(runs):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_some, args=(runs.root,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        for path in runs.paths():
            runs.open(path).record()  # a reader in the midst of it sees whole records only
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(list(runs.root.iterdir())) == 6
    for seed in range(6):
        same(runs.read(make_config(seed=seed).run_id), make_record(seed=seed))


@pytest.mark.parametrize("written", range(len(FILES)))
def test_a_writer_killed_at_any_file_leaves_no_record(runs, monkeypatch, written):
    record = make_record()
    count = 0

    def killed(path, data):
        nonlocal count
        if count == written:
            path.write_bytes(data[: len(data) // 2])
            raise KeyboardInterrupt
        count += 1
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_bytes", killed)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a killed process cleans nothing
        with pytest.raises(KeyboardInterrupt):
            runs.write(record)
    assert len(list(runs.root.iterdir())) == 1  # what was left over
    assert runs.paths() == []
    assert runs.scan() == ([], [])
    assert not runs.exists(record.config)
    same(runs.read(runs.write(record)), record)


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("harm", ["missing", "cut", "empty", "changed"])
def test_damage_is_named_and_mended_by_the_next_run(runs, name, harm):
    record = make_record()
    path = runs.write(record)
    file = path / name
    data = file.read_bytes()
    middle = len(data) // 2
    if harm == "missing":
        file.unlink()
    else:
        changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        file.write_bytes({"cut": data[:middle], "empty": b"", "changed": changed}[harm])
    with pytest.raises(UserError, match=f"{name} is damaged"):
        runs.read(path)
    assert not runs.exists(record.config)
    assert runs.write(record) == path
    same(runs.read(path), record)
    assert list(runs.root.iterdir()) == [path]


def rewrite(path, change):
    """Change record.json as somebody who knows its format would."""
    header = path / "record.json"
    content = json.loads(header.read_text())
    change(content)
    content.pop("sha256")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    header.write_text(json.dumps(content))


def test_a_config_that_is_not_the_runs_own_is_found_out(runs):
    path = runs.write(make_record())
    rewrite(path, lambda content: content["config"].update(seed=7))
    with pytest.raises(UserError, match=r"record\.json is damaged .* config is that of run"):
        runs.read(path)


@pytest.mark.parametrize("key", ["config", "files", "cost", "run_id", "sha256"])
def test_a_missing_key_is_damage(runs, key):
    path = runs.write(make_record())
    header = path / "record.json"
    content = json.loads(header.read_text())
    del content[key]
    header.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"record\.json is damaged"):
        runs.read(path)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"schema_version": "1"}', "\udcff"])
def test_json_that_is_no_record_is_damage(runs, text):
    path = runs.write(make_record())
    (path / "record.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"record\.json is damaged"):
        runs.read(path)


def test_a_newer_schema_is_refused_with_the_remedy(runs):
    path = runs.write(make_record())
    rewrite(path, lambda content: content.update(schema_version=store.SCHEMA_VERSION + 1))
    with pytest.raises(UserError, match="install a newer cl_bench"):
        runs.read(path)


def test_an_older_schema_is_upgraded(runs, monkeypatch):
    record = make_record()
    path = runs.write(record)

    def upgrade(content):
        return {**content, "cost": {**content["cost"], "new_in_version_2": 0}}

    monkeypatch.setattr(store, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(store.UPGRADES, 1, upgrade)
    again = runs.read(path)
    assert again.cost["new_in_version_2"] == 0
    assert again.schema_version == 2
    assert isinstance(again.config, RunConfig)


def test_every_older_schema_has_its_upgrade():
    assert set(store.UPGRADES) == set(range(1, store.SCHEMA_VERSION))


def test_scanning_skips_what_is_damaged_and_says_so(runs):
    whole = runs.write(make_record(seed=0))
    broken = runs.write(make_record(seed=1))
    (broken / "record.json").unlink()
    (runs.root / "notes.txt").write_text("not a run")
    (runs.root / "plots").mkdir()
    found, warnings = runs.scan()
    assert [run.path for run in found] == [whole]
    assert len(warnings) == 1
    assert str(broken / "record.json") in warnings[0]


def test_a_run_that_is_not_there(runs):
    for missing in ("0" * 16, runs.root / "ewc-s0-none"):
        with pytest.raises(UserError):
            runs.read(missing)
    assert runs.paths() == []


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    RunStore(tmp_path / "new" / "deep").check_writable()
    assert list((tmp_path / "new" / "deep").iterdir()) == []
    taken = tmp_path / "file"
    taken.write_text("")
    for root in (taken, taken / "below"):
        with pytest.raises(UserError, match="cannot write runs to"):
            RunStore(root).check_writable()
        with pytest.raises(UserError, match="cannot write runs to"):
            RunStore(root).write(make_record())


def test_a_full_disk_is_the_users_to_mend_and_leaves_nothing(runs, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        runs.write(make_record())
    assert list(runs.root.iterdir()) == []
