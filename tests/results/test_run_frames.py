"""`cl_bench.load`: tidy tables of all runs in a folder."""

import shutil
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import cl_bench
from cl_bench.errors import UserError
from cl_bench.metrics import names
from cl_bench.results import files
from cl_bench.results.figures import compute
from cl_bench.results.frames import RUN_COLUMNS, load_several, load_with_warnings
from cl_bench.results.store import RunStore
from tests.support import landscape_frame, make_config, make_record

TABLES = ("accuracy", "curve", "predictions", "metrics", "runs")


@pytest.fixture
def runs(tmp_path):
    return RunStore(tmp_path)


def test_a_row_for_each_run_and_evaluation(runs):
    records = [make_record(seed=0), make_record("naive", seed=3)]
    for record in records:
        runs.write(record)
    table = cl_bench.load(runs.root)
    assert list(table.columns[: len(RUN_COLUMNS)]) == list(RUN_COLUMNS)
    for record in records:
        mine = table[table.run_id == record.config.run_id].reset_index(drop=True)
        assert mine.after_task.tolist() == record.accuracy.after_task.tolist()
        assert mine.accuracy.tolist() == record.accuracy.accuracy.tolist()
        assert set(mine.seed) == {record.config.seed}
        assert set(mine.strategy) == {record.config.strategy.name}
        assert set(mine.protocol_id) == {record.config.protocol_id}
    assert set(table.benchmark) == {"permuted-mnist"}
    assert set(table.scenario) == {"domain"}
    assert str(runs.root) not in table.to_csv()


def test_the_curve_and_the_predictions(runs):
    record = make_record()
    runs.write(record)
    curve = cl_bench.load(runs.root, table="curve")
    assert curve.accuracy.tolist() == record.curve.accuracy.tolist()
    confusion = cl_bench.load(runs.root, table="predictions")
    assert confusion.target.tolist() == record.predictions.label.tolist()
    assert set(confusion.label) == {"ewc"}


def test_the_landscape_of_the_runs_that_have_one(runs):
    runs.write(make_record(seed=0))
    assert list(cl_bench.load(runs.root, "landscape").columns[-2:]) == ["distance", "quadratic"]
    record = make_record(seed=1)
    record.landscape = landscape_frame(tasks=3)
    runs.write(record)
    found = cl_bench.load(runs.root, "landscape")
    assert set(found.run_id) == {record.config.run_id}
    assert found.sharpness.dropna().tolist() == record.landscape.sharpness.dropna().tolist()
    assert found.after_task.tolist() == [0, 1, 1, 2, 2, 2]


def test_metrics_are_a_row_a_run_and_find_the_joint_run_of_the_same_seed(runs):
    matrix = [[0.9], [0.9, 0.8], [0.9, 0.8, 0.7]]
    best = [[0.95], [0.95, 0.95], [0.95, 0.95, 0.95]]
    record, joint = make_record(seed=0, matrix=matrix), make_record("joint", 0, best)
    alone = make_record(seed=1, matrix=matrix)
    for each in (record, joint, alone):
        runs.write(each)
    table = cl_bench.load(runs.root, "metrics").set_index("run_id")
    assert len(table) == 3
    found = table.loc[record.config.run_id]
    for name, value in compute(record, joint).items():
        assert found[name] == pytest.approx(value, nan_ok=True), name
    assert found.intransigence == pytest.approx(0.15)
    assert np.isnan(table.loc[alone.config.run_id].intransigence)


def test_two_joint_groups_are_no_reference_and_that_is_said(runs):
    protocol = runs.open(runs.write(make_record())).config.protocol_id
    for epochs in (1, 2):
        runs.write(make_record("joint", settings={"passes": epochs}))
    with pytest.warns(UserWarning, match=rf"no intransigence in protocol {protocol[:8]} at seed 0"):
        table = cl_bench.load(runs.root, "metrics")
    assert table.intransigence.isna().all()


def test_a_copied_joint_run_is_one_reference(runs):
    runs.write(make_record())
    path = runs.write(make_record("joint"))
    shutil.copytree(path, path.with_name("copy-" + path.name))
    table, problems = load_with_warnings(runs.root, "metrics")
    assert len(table) == 2
    assert table.intransigence.notna().all()
    assert len(problems) == 1
    assert "is a copy of run" in problems[0]


def test_a_diverged_run_has_no_metrics_and_is_no_reference(runs):
    for seed in (0, 1):
        record, joint = make_record(seed=seed), make_record("joint", seed)
        broken = record if seed else joint
        broken.accuracy.loc[broken.accuracy.index[-1], "loss"] = np.nan
        runs.write(record)
        runs.write(joint)
    table = cl_bench.load(runs.root, "metrics").set_index(["strategy", "seed"])
    assert table.diverged.to_dict() == {
        ("ewc", 0): False,
        ("ewc", 1): True,
        ("joint", 0): True,
        ("joint", 1): False,
    }
    assert table[table.diverged][names()].isna().all(axis=None)
    assert table[~table.diverged]["average_accuracy"].notna().all()
    assert np.isnan(table.intransigence[("ewc", 0)])
    tables: list[Any] = [*TABLES]
    for name in tables:
        assert set(cl_bench.load(runs.root, name).diverged) == {True, False}


def test_runs_that_other_code_trained_are_another_configuration(runs):
    for seed, code in enumerate((None, "a" * 64, "b" * 64, "a" * 64)):
        record = make_record(seed=seed)
        if code:
            record.provenance |= {"code": code, "finished": f"2026-01-0{seed}T00:00:00+00:00"}
        runs.write(record)
    runs.write(make_record("naive"))
    table = cl_bench.load(runs.root, "metrics").sort_values(["strategy", "seed"])
    of_ewc = table[table.strategy == "ewc"]
    group = make_config().group_id
    assert of_ewc.group_id.tolist() == [group, group, f"{group}-bbbbbbbb", group]
    now, before = "ewc (code=aaaaaaaa)", "ewc (code=bbbbbbbb)"
    assert of_ewc.label.tolist() == [now, now, before, now]
    assert set(table[table.strategy == "naive"].label) == {"naive"}


def test_every_file_is_read_once_however_many_tables_are_wanted(runs, monkeypatch):
    for seed in range(3):
        runs.write(make_record(seed=seed))
    read, original = [], files.read_bytes

    def noted(path):
        read.append(path)
        return original(path)

    monkeypatch.setattr(files, "read_bytes", noted)
    tables, _ = load_several(runs.root, "metrics", "accuracy", "runs")
    assert [table.run_id.nunique() for table in tables] == [3, 3, 3]
    assert len(read) == len(set(read)) == 3 * 3


def test_runs_are_flattened(runs):
    runs.write(make_record(settings={"strength": 100.0}))
    runs.write(make_record("naive", seed=1))
    row = cl_bench.load(runs.root, "runs").iloc[0]
    assert row["strategy"] == row["strategy.name"] == "ewc"
    assert row["strategy.settings.strength"] == 100.0
    assert row["network.hidden"] == (100, 100)
    assert row["training.batch_size"] == 64
    assert row["cost.seconds.train"] == 1.5
    assert row["provenance.packages.torch"] == "2.14.1"
    assert len(row["weights_sha256"]) == 64


def labels(runs):
    table = cl_bench.load(runs.root, "runs")
    return sorted(set(table.label))


def test_a_label_names_the_settings_that_differ_and_no_others(runs):
    runs.write(make_record("naive"))
    runs.write(make_record(settings={"strength": 100.0, "shape": "diagonal"}))
    runs.write(make_record(settings={"strength": 100.0, "shape": "diagonal"}, seed=1))
    assert labels(runs) == ["ewc", "naive"]
    runs.write(make_record(settings={"strength": 1e-5, "shape": "diagonal"}))
    assert labels(runs) == ["ewc (strength=100)", "ewc (strength=1e-05)", "naive"]
    runs.write(make_record(settings={"strength": 100.0, "shape": "kronecker"}))
    assert "ewc (strength=100, shape=kronecker)" in labels(runs)


def test_a_label_is_kept_across_protocols(runs):
    runs.write(make_record())
    runs.write(make_record(training={"batch_size": 10}))
    table = cl_bench.load(runs.root, "runs")
    assert set(table.label) == {"ewc"}
    assert table.protocol_id.nunique() == 2


def test_a_label_tells_apart_within_a_protocol_alone(runs):
    runs.write(make_record(settings={"strength": 1.0}))
    runs.write(make_record(settings={"strength": 2.0}, training={"batch_size": 10}))
    assert labels(runs) == ["ewc"]


def test_a_label_names_what_differs_within_its_protocol_alone(runs):
    """Other settings in other protocols do not lengthen it; nor what comes with another setting."""
    for strength, every in ((1.0, 1), (10.0, 5), (100.0, 5)):
        runs.write(make_record(settings={"every": every, "strength": strength}))
    other: dict[str, Any] = {"every": 7, "strength": 3.0, "shape": "kronecker"}
    runs.write(make_record(settings=other, training={"batch_size": 10}))
    assert labels(runs) == [
        "ewc",
        "ewc (strength=1)",
        "ewc (strength=10)",
        "ewc (strength=100)",
    ]


def test_versions_of_an_own_strategy_are_told_apart(runs):
    for code in ("a" * 64, "b" * 64):
        runs.write(make_record("mine", code=code))
    assert labels(runs) == ["mine (code=aaaaaaaa)", "mine (code=bbbbbbbb)"]


@pytest.mark.parametrize("table", TABLES)
def test_an_empty_folder_is_an_empty_table_with_its_columns(tmp_path, runs, table):
    empty = cl_bench.load(tmp_path, table)
    assert len(empty) == 0
    runs.write(make_record())
    filled = list(cl_bench.load(tmp_path, table).columns)
    assert filled[: len(empty.columns)] == list(empty.columns)
    if table != "runs":  # its columns depend on the configs
        assert filled == list(empty.columns)


def test_no_folder_and_no_such_table(tmp_path):
    with pytest.raises(UserError, match="no folder of runs at"):
        cl_bench.load(tmp_path / "nothing")
    unknown: Any = "metric"
    with pytest.raises(UserError, match="did you mean metrics"):
        cl_bench.load(tmp_path, unknown)


@pytest.mark.parametrize("name", ["accuracy.parquet", "record.json"])
def test_damaged_runs_are_skipped_with_a_warning(runs, name):
    whole, broken = runs.write(make_record(seed=0)), runs.write(make_record(seed=1))
    (broken / name).write_bytes(b"x")
    with pytest.warns(UserWarning, match="is damaged"):
        table = cl_bench.load(runs.root)
    assert set(table.run_id) == {whole.name[-16:]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame, problems = load_with_warnings(runs.root, "metrics")
    assert len(frame) == len(problems) == 1
    assert str(broken / name) in problems[0]


def test_weights_are_not_needed_to_load(runs):
    (runs.write(make_record()) / "weights.safetensors").unlink()
    assert len(cl_bench.load(runs.root, "metrics")) == 1


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, cl_bench; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pandas", "pydantic", "torch"} & set(done.stdout.split())


def test_the_package_has_a_version_and_no_other_names():
    assert isinstance(cl_bench.__version__, str)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        cl_bench.lod  # noqa: B018
