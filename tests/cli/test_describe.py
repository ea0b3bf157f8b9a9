"""Finding out: what a name stands for, on 80 columns and for programs."""

import json

import pytest

from cl_bench import benchmarks, data
from cl_bench.cli import main
from cl_bench.metrics import METRICS
from cl_bench.planning import finding, reading
from cl_bench.planning.keys import keys
from cl_bench.planning.settings import settings_of


def described(name, capsys):
    assert main(["describe", name, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("strategy", finding.strategy_names()),
        ("benchmark", [name for name in benchmarks.names() if ":" not in name]),
        ("network", ["mlp", "convnet"]),
        ("metric", list(METRICS)),
        ("config", reading.config_names()),
        ("dataset", data.names()),
        ("section", list(reading.SECTIONS)),
        ("key", list(keys())),
    ],
)
def test_everything_that_has_a_name_is_described_within_80_columns(kind, names, capsys):
    for name in names:
        assert main(["describe", name]) == 0
        text = capsys.readouterr().out
        assert f"({kind})" in text, name
        assert all(len(line) <= 80 for line in text.splitlines() if " " in line.strip()), name


def test_a_strategy_is_described_with_every_setting(capsys):
    (found,) = described("ewc", capsys)
    assert found["kind"] == "strategy"
    assert "Kirkpatrick" in found["facts"]["source"]
    assert [each["setting"] for each in found["settings"]] == [
        each.setting for each in settings_of("ewc")
    ]
    (strength,) = [each for each in found["settings"] if each["setting"] == "strength"]
    assert set(strength) == {"setting", "default", "values", "tuned_over", "meaning"}
    (alone,) = described("ewc.strength", capsys)
    assert alone["about"] == strength["meaning"]
    assert alone["facts"]["tuned over"] == strength["tuned_over"]


def test_a_file_is_described_as_what_it_holds(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "mine.py"
    path.write_text(
        '"""Does nothing."""\nfrom cl_bench import Strategy, setting\n\n\n'
        'class Mine(Strategy):\n    title = "Mine"\n'
        '    size: int = setting(3, "of something", low=1, high=9)\n'
    )
    (found,) = described(str(path), capsys)
    assert (found["name"], found["title"], found["about"]) == ("mine", "Mine", "Does nothing.")
    assert found["settings"][0]["values"] == "whole, 1 to 9"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flatnes", "unknown name 'flatnes'; did you mean flatness"),
        ("ewc.strenth", "unknown setting of ewc 'strenth'; did you mean strength"),
        ("training.epoch", "did you mean training.epochs"),
        ("nowhere/mine.py", "there is no strategy file nowhere/mine.py"),
    ],
)
def test_a_wrong_name_tells_the_nearest(name, said, capsys):
    assert main(["describe", name]) == 2
    assert said in capsys.readouterr().err


def test_every_key_says_what_it_means_and_what_it_takes():
    for name, each in keys().items():
        assert each.meaning, name
        assert each.values or name == "seeds", name


def test_settings_are_listed(capsys):
    assert main(["list", "settings", "--format", "json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["training.batch_size"]["default"] == 64
    assert main(["list", "settings", "ewc"]) == 0
    assert "strength" in capsys.readouterr().out
