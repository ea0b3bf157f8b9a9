"""Pictures of forgetting curves hold every strategy and are the same each time."""

from typing import Any

import matplotlib as mpl
import pytest

from cl_bench import load
from cl_bench.errors import UserError
from cl_bench.report.curves import draw, picture
from cl_bench.report.style import STYLE
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


def test_panels_are_as_large_whatever_their_titles_are(tmp_path):
    """The picture grows with its panels: long names break at words and do not shrink the curves."""
    store = RunStore(tmp_path / "long")
    for number in range(7):
        given: dict[str, Any] = {
            "exploration_steps": number % 2,
            "average_weights": number > 3,
            "every": number,
        }
        given |= {"strength": 10.0 ** (number // 2), "form": f"form-{number % 3}-of-the-penalty"}
        for strategy in ("flatness", "online-ewc-with-a-longer-name"):
            store.write(make_record(strategy, settings=given))
    RunStore(tmp_path / "short").write(make_record("ewc"))
    accuracy = load(tmp_path / "long")
    accuracy["label"] += " (exploration_steps=300, strength=10, form=implicit)"
    sizes = []
    for table in (load(tmp_path / "short"), accuracy):
        with mpl.rc_context(STYLE):
            drawn = picture(table)
            drawn.draw_without_rendering()
        panels = [axis.get_window_extent() for axis in drawn.axes if axis.get_lines()]
        sizes.append((min(p.width for p in panels), min(p.height for p in panels)))
    assert sizes[1][0] > 0.9 * sizes[0][0]
    assert sizes[1][1] > 0.9 * sizes[0][1]
