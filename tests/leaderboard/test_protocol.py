"""A page says all that sets its protocol apart, for every name that the configuration knows."""

from enum import EnumType
from itertools import chain
from typing import get_args

import pytest
from pydantic import BaseModel

from cl_bench.config import NETWORKS, OptimizerConfig
from cl_bench.leaderboard.board import build
from cl_bench.leaderboard.protocol import protocol_in_words
from cl_bench.planning import finding
from cl_bench.results.store import RunStore
from tests.leaderboard.boards import make_record
from tests.support import make_config

SECTIONS = {
    name: type(section)
    for name, section in make_config()
    if isinstance(section, BaseModel) and name != "strategy"
}
LEAVES = [(name, key) for name, section in SECTIONS.items() for key in section.model_fields]
OPTIMIZERS = get_args(OptimizerConfig.model_fields["name"].annotation)


def options(annotation):
    """All values that a type names itself: of a Literal, an Enum, or a union of such."""
    if isinstance(annotation, EnumType):
        return list(annotation)
    parts = get_args(annotation)
    return list(
        chain.from_iterable([part] if isinstance(part, str) else options(part) for part in parts)
    )


def other_values(annotation, value):
    """Values of a field that are not the one it has."""
    named = [option for option in options(annotation) if option != value]
    if named:
        return named
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value + 1, value + 0.125 if isinstance(value, float) else value + 2]
    if isinstance(value, tuple):
        return [(), (*value, 7)]
    is_text = isinstance(value, str) or str in get_args(annotation)
    return [f"{value}-other"] if is_text else [3, 4]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_whatever_is_changed_is_said(optimizer, network):
    config = make_config(optimizer={"name": optimizer}, network={"name": network})
    said = {tuple(protocol_in_words(config))}
    ids = {config.protocol_id}
    for name, key in LEAVES:
        section = getattr(config, name)
        annotation = SECTIONS[name].model_fields[key].annotation
        for value in other_values(annotation, getattr(section, key)):
            changed = config.model_copy(update={name: section.model_copy(update={key: value})})
            words = tuple(protocol_in_words(changed))
            assert words not in said, f"{name}.{key} = {value}"
            said.add(words)
            ids.add(changed.protocol_id)
    assert len(ids) == len(said)
    assert protocol_in_words(config.model_copy(update={"init_seed": 3})) not in map(list, said)


def test_only_numbers_that_a_rule_uses_are_said_where_they_are_its_defaults():
    words = {
        name: " ".join(protocol_in_words(make_config(optimizer={"name": name})))
        for name in OPTIMIZERS
    }
    assert ["momentum" in text.replace("momentum,", "") for text in words.values()].count(True) == 1
    assert "beta2 0.999" in words["rmsprop"]
    assert "beta1" not in words["rmsprop"]
    unused = make_config(optimizer={"name": "sgd", "momentum": 0.5})
    assert "momentum 0.5 (which sgd does not use)" in " ".join(protocol_in_words(unused))


def test_a_board_can_hold_every_strategy(tmp_path):
    (tmp_path / "all.yaml").write_text("benchmark: {name: permuted-mnist, tasks: 3}")
    store = RunStore(tmp_path / "runs")
    names = finding.strategy_names()
    for name in names:
        settings = finding.load(name).Settings().model_dump(mode="json")
        store.write(make_record(name, settings=settings))
    built = build(str(tmp_path / "all.yaml"), store.root, tmp_path)
    assert {row.strategy for row in built.standings.rows} == set(names)
    page = (built.folder / "README.md").read_text()
    for name in names:
        assert f"--strategy {name} --seeds 1\n" in page
