"""Pictures of forgetting curves hold every strategy and are the same each time."""

import pytest

from cl_bench import load
from cl_bench.errors import UserError
from cl_bench.report.curves import draw
from cl_bench.results.store import RunStore
from tests.support import make_record


def test_a_picture_names_every_strategy_and_is_reproducible(tmp_path):
    store = RunStore(tmp_path / "runs")
    for strategy in ("ewc", "naive", "joint", "flatness"):
        for seed in range(3):
            store.write(make_record(strategy, seed))
    accuracy = load(tmp_path / "runs")
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    draw(accuracy, first)
    draw(accuracy, second)
    text = first.read_text()
    assert all(name in text for name in ("ewc", "naive", "joint", "flatness", "tasks seen"))
    assert "3 seeds" in text
    assert text == second.read_text()


def test_one_run_can_be_drawn(tmp_path):
    RunStore(tmp_path).write(make_record("ewc", matrix=[[0.9]]))
    draw(load(tmp_path), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_a_path_that_cannot_be_drawn_to_is_told(tmp_path):
    for name, message in (("x.pdf", "ends in .svg or .png"), ("no/x.svg", "there is no folder")):
        with pytest.raises(UserError, match=message):
            draw(load_one(tmp_path), tmp_path / name)


def load_one(folder):
    RunStore(folder / "one").write(make_record("ewc"))
    return load(folder / "one")
