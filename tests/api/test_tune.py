"""Tuning from Python: the same record as the command line's, and the choice handed to `run`."""

from typing import Any

import pytest

import cl_bench
from cl_bench import UserError
from cl_bench.cli import main

SMALL: dict[str, Any] = {
    "tasks": 2,
    "benchmark": "permuted-mnist-5k",
    "benchmark.train_samples": 200,
    "benchmark.test_samples": 50,
    "network": {"hidden": [8]},
}
WORDS = [
    "--set=benchmark.name=permuted-mnist-5k",
    "--set=benchmark.tasks=2",
    "--set=benchmark.train_samples=200",
    "--set=benchmark.test_samples=50",
    "--set=network.hidden=[8]",
]


def test_a_tuning_is_that_of_the_command_line_and_its_choice_is_run(tmp_path):
    given = {**SMALL, "workers": 1, "ranges": {"l2.strength": (0.1, 10)}}
    tuned = cl_bench.tune("l2", trials=2, seeds=1, out=tmp_path / "python", **given)
    typed = ["--strategy=l2", "--trials=2", "--seeds=1", "--workers=1"]
    chosen = ["--range=l2.strength=[0.1,10]", f"--out={tmp_path / 'typed'}"]
    assert main(["tune", *WORDS, *typed, *chosen]) == 0
    (path,) = (tmp_path / "typed" / "tuning").glob("*/l2-*.json")
    assert [each.name for each in tuned.paths] == [path.name]
    assert tuned.paths[0].parent.name == path.parent.name
    assert list(tuned.settings) == ["l2"]
    assert set(tuned.settings["l2"]) == {"strength"}
    assert tuned.table()["mean"].notna().all()
    assert "l2" in tuned._repr_html_()
    runs = cl_bench.run(
        config=tuned.configs[0], seeds=1, out=tmp_path / "python", workers=1, wandb="off"
    )
    same = cl_bench.run(
        tuned.settings, seeds=1, out=tmp_path / "python", workers=1, wandb="off", **SMALL
    )
    assert runs.ids == same.ids


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "sobel"}, "unknown method 'sobel'; did you mean sobol"),
        ({"metric": "acuracy"}, "unknown metric"),
        ({"ranges": {"ewc.strength": (1, 2)}}, "unknown strategy in --range 'ewc'"),
        ({"ranges": {"l2.strenth": (1, 2)}}, "strenth"),
        ({"network": {"hidden": [[8], [9]]}}, "these are 2 protocols; tune is for one"),
        ({"first_seed": 0}, "1000"),
        ({"trials": 0}, "trials = 0: should be at least 1"),
    ],
)
def test_mistakes_are_user_errors(tmp_path, given, said):
    with pytest.raises(UserError) as found:
        cl_bench.tune("l2", out=tmp_path, **{**SMALL, **given})
    assert said in str(found.value)
