"""Tables and figures of studies, from records of a small one."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
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


@pytest.mark.slow
def test_settings_stand_side_by_side(found):
    (row, again) = summary.settings(found)
    assert (row.setting, row.batch, row.seeds) == ("small", 20, 2)
    assert replace(row, setting="again") == again
    quantities = {row.quantity for row in summary.exponents(found)}
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
    row = next(row for row in summary.noise_scaling({"x": changed}) if row.loss == 1.0)
    assert row.temperature == pytest.approx(2)  # half-way from 4 to 1, in logarithms
    assert row.scaled.mean == pytest.approx(2 * 20 / 0.1)
    assert row.sharpness.mean == pytest.approx(1)


def test_every_kind_of_figure_has_its_points(found):
    drawn = figures.of_setting("small", found["small"]) | figures.of_settings(found)
    assert list(drawn) == [
        "relation",
        "noise",
        "theory",
        "same-landscape",
        "annealing",
        "settings",
    ]
    for figure in drawn.values():
        assert sum(len(trace.x) for trace in figure.data) > 20
    directions = found["small"].tables["directions"]
    own = directions.query("source == 'sgd' and analysis == 'raw'")["variance"]
    assert list(drawn["relation"].data[0].y) == own.tolist()


def test_the_verdicts_come_first_and_the_rest_is_short_unless_asked_for(found):
    one = {"small": found["small"]}
    for tables in (report.brief(one), report.brief(found), report.tables(one)):
        assert next(iter(tables)) == "verdicts"
    assert sum(len(rows) for rows in report.brief(one).values()) < 15
    relations = report.brief(one)["variance ~ flatness^-psi, all directions: small"]
    assert set(relations[0]) == {
        "source",
        "psi, raw",
        "rho, raw",
        "psi, detrended",
        "rho, detrended",
    }
    assert sum(len(rows) for rows in report.tables(one).values()) > 50


def test_what_is_not_defined_is_said_so(found):
    """A control that is hottest at its last look has no looks after that."""
    record = found["small"]
    looks = record.tables["annealing"]
    rising = looks.assign(temperature=looks["step"] + 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        further, _ = study.conclusions({**record.tables, "annealing": rising})
    rows = {(r["source"], r["figure"]): r for r in further["annealing_figures"]}
    assert rows["quiet", "rho_flatness_after"]["seeds"] == 0
    assert rows["quiet", "rho_flatness"]["seeds"] == 2
    tables = {**record.tables, "annealing_figures": pd.DataFrame(further["annealing_figures"])}
    tables["relations"] = tables["relations"].assign(psi=np.nan, rho=np.nan)
    shown = report.tables({"x": replace(record, tables=tables)})
    means = {(r["source"], r["figure"]): r["mean"] for r in shown["annealing: x"]}
    assert means["quiet", "rho_flatness_after"] == "too few looks"
    assert {row["psi"] for row in shown["variance ~ flatness^-psi: x"]} == {"too few directions"}
    assert not any("nan" in str(v) for rows in shown.values() for r in rows for v in r.values())


def test_nothing_lies_over_the_points(found):
    """Notes are titles of their panels, and titles keep clear of the panels above."""
    for figure in figures.of_setting("small", found["small"]).values():
        for note in figure.layout.annotations:
            assert note.yref == "paper"
            assert note.yanchor == "bottom"
        height = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
        tops = sorted({axis.domain[1] for axis in figure.select_yaxes()})
        bottoms = sorted({axis.domain[0] for axis in figure.select_yaxes()})
        for top, bottom in zip(tops, bottoms[1:], strict=False):
            assert (bottom - top) * height > 90
    relation = figures.of_setting("small", found["small"])["relation"]
    bars = [trace.marker.colorbar for trace in relation.data if trace.marker.showscale]
    assert [bar.title.text for bar in bars] == ["direction"]
    assert relation.layout.margin.r >= 100


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
