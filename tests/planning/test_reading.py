"""Configs are found by name and read as written; mistakes in them are told in one line."""

import pytest

from cl_bench.config import Protocol, Scenario
from cl_bench.errors import UserError
from cl_bench.planning import finding, reading


def test_an_unknown_config_gets_the_nearest():
    with pytest.raises(UserError, match="did you mean permuted-mnist-5"):
        reading.load_config("permuted-mnist-6")


def test_the_default_config_is_the_default_protocol():
    (named,) = reading.read("permuted-mnist-5")
    content = named.model_dump(exclude={"description", "source"})
    default = Protocol().model_dump(exclude={"description", "source"})
    default["benchmark"] |= {"tasks": 5, "scenario": Scenario.DOMAIN}
    assert content == default


@pytest.mark.parametrize("name", ["permuted-mnist-10", "permuted-mnist-20", "rotated-mnist-5"])
def test_what_is_called_the_default_protocol_differs_in_its_benchmark_alone(name):
    (named,) = reading.read(name)
    left_out = {"description", "source", "benchmark"}
    assert named.model_dump(exclude=left_out) == Protocol().model_dump(exclude=left_out)


@pytest.mark.parametrize("name", reading.config_names())
def test_every_config_is_valid_and_says_where_it_comes_from(name):
    (read,) = reading.read(name)
    assert read.description
    assert read.source


def test_a_config_that_is_not_yaml_or_misspelt_is_told_in_one_line(tmp_path):
    path = tmp_path / "mine.yaml"
    for text, message in [
        ("a: [1", "is not valid YAML"),
        ("", "holds no settings"),
        ("benchmrk: {}", "unknown key 'benchmrk'; did you mean benchmark"),
        ("training: {epoch: 1}", "unknown key 'training.epoch'; did you mean training.epochs"),
        ("training: 3", "training = 3: must be a mapping"),
        ("training: {epochs: 1, iterations: 5}", "not both"),
        ("seeds: 0", "seeds = 0: give their number"),
        ("seeds: ", "seeds = None: give their number"),
        ("network: {hidden: [10, 0]}", "network.hidden = 0: should be greater than or equal to 1"),
        ("strategies: {}", "strategies = {}: name at least one"),
        ("strategies: {ewc: 3}", "strategies.ewc = 3: must be a mapping"),
    ]:
        path.write_text(text)
        with pytest.raises(UserError, match=message) as caught:
            reading.read(str(path))
        assert "\n" not in str(caught.value)
        assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "strategies:\n  naive: {}\n  ewc: {}\n  naive: {}\n",
            "'naive' stands twice, in lines 2 and 4",
        ),
        ("seeds: 1\nseeds: 2\n", "'seeds' stands twice, in lines 1 and 2"),
        ("training: {epochs: 1, epochs: 2}\n", "'epochs' stands twice, in lines 1 and 1"),
        ("strategies:\n  ewc:\n    strength: [1]\n    strength: 2\n", "'strength' stands twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_lines(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=f"mine.yaml: the key {message}"):
        reading.read(str(path))


def test_a_strategy_named_by_its_name_and_by_its_path_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    own = finding.folder("strategies") / "naive.py"
    path.write_text(f"strategies:\n  naive: {{}}\n  {own}: {{}}\n")
    with pytest.raises(UserError, match="strategy 'naive' is given twice"):
        reading.read(str(path))


def test_a_part_that_is_used_again_by_an_anchor_is_no_double(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("strategies:\n  ewc: &same {strength: 3}\n  si: *same\nseeds: [4, 9]\n")
    (read,) = reading.read(str(path))
    assert read.strategies == {"ewc": {"strength": 3}, "si": {"strength": 3}}
    assert read.all_seeds == (4, 9)
