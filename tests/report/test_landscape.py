"""Tables and figures of studies, from records of a small one."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pandas as pd
import pytest

from cl_bench.config import NetworkConfig
from cl_bench.errors import UserError
from cl_bench.landscape import study, summary
from cl_bench.landscape.setting import Setting
from cl_bench.report import landscape as report
from cl_bench.report import landscape_figures as figures

SMALL = Setting(
    dataset="mnist-5k",
    train_samples=400,
    network=NetworkConfig(hidden=(12, 10)),
    batch_size=20,
    epochs=4,
    window_epochs=5,
    seeds=2,
    leading=6,
    last=20,
    spread=3,
    looks=5,
    alone=False,
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    part = study.Part(SMALL, SMALL.all_seeds, folder)
    study.measure(part, lambda what, share: None)
    record = study.finish(SMALL, folder, datetime.now(UTC))
    return {"small": record, "again": record}


def test_settings_stand_side_by_side(found):
    (row, again) = summary.settings(found)
    assert (row["setting"], row["batch"], row["seeds"]) == ("small", 20, 2)
    assert {**row, "setting": "again"} == again
    quantities = {row["quantity"] for row in summary.exponents(found)}
    assert quantities == {"variance", "temperature", "correlation time"}
    shown = report.tables(found)
    assert {"settings", "exponents", "noise at equal loss"} <= set(shown)
    assert shown["exponents"][0]["psi"].count(",") == 1


def test_noise_at_equal_loss_is_interpolated_where_the_loss_has_fallen_for_good(found):
    record = found["small"]
    looks = pd.DataFrame(
        {
            "seed": 0,
            "source": "sgd",
            "step": range(5),
            "loss": [2.0, 0.5, 2.0, 0.5, 0.01],
            "temperature": [9.0, 9.0, 4.0, 1.0, 0.1],
            "sharpness": [1.0, 1.0, 1.0, 1.0, 1.0],
        }
    )
    tables = {**record.tables, "annealing": pd.concat([looks, looks.assign(seed=1)])}
    changed = type(record)(SMALL, tables, record.verdicts)
    row = next(row for row in summary.noise_scaling({"x": changed}) if row["loss"] == 1.0)
    assert row["temperature"] == pytest.approx(2)  # half-way from 4 to 1, in logarithms
    assert row["scaled"] == pytest.approx(2 * 20 / 0.1)
    assert row["sharpness"] == pytest.approx(1)


def test_every_kind_of_figure_has_its_points(found):
    drawn = figures.of_setting("small", found["small"]) | figures.of_settings(found)
    assert list(drawn) == ["relation", "noise", "theory", "annealing", "settings"]
    for figure in drawn.values():
        assert sum(len(trace.x) for trace in figure.data) > 20
    directions = found["small"].tables["directions"]
    own = directions.query("source == 'sgd' and analysis == 'raw'")["variance"]
    assert list(drawn["relation"].data[0].y) == own.tolist()


def test_a_folder_that_cannot_be_written_is_said_so(found, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write figures"):
        report.draw(found, tmp_path / "file")


def test_without_the_extra_the_page_is_drawn_and_the_extra_named(found, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)  # as where it is not installed
    page, pictures, problem = report.draw(found, tmp_path)
    assert page.stat().st_size > 1000
    assert pictures == []
    assert "cl_bench[figures]" in problem
