"""Runs are found by any start of a name that is theirs alone; protocols are named in words."""

from typing import Any

import pytest

from cl_bench.config import Protocol
from cl_bench.errors import UserError
from cl_bench.report import protocols
from cl_bench.report.selection import find, select
from cl_bench.results.store import RunStore
from tests.support import make_config, make_record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two protocols: naive and flatness in both, ewc at two strengths in the first."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    for seed in range(2):
        store.write(make_record("naive", seed))
        store.write(make_record("flatness", seed))
        for strength in (1.0, 10.0):
            store.write(make_record("ewc", seed, settings={"strength": strength}))
        longer: dict[str, Any] = {"training": {"epochs": 2}}
        store.write(make_record("naive", seed, **longer))
        store.write(make_record("flatness-er", seed, **longer))
    return store.root


def ids(runs):
    return set(runs.metrics["run_id"])


def test_any_start_of_an_id_or_of_a_folders_name_finds_a_run(folder):
    """Two digits will do where they are one run's alone, and a name where its seed is."""
    stored = select(folder).stored
    for run in stored:
        run_id = run.config.run_id
        others = [other.config.run_id for other in stored if other is not run]
        start = next(
            run_id[:n] for n in range(2, 17) if not any(o.startswith(run_id[:n]) for o in others)
        )
        groups = {other.config.group_id for other in stored}
        if not any(group.startswith(start) for group in groups):
            assert ids(find(folder, start)) == {run_id}
        assert ids(find(folder, run.path.name)) == {run_id}
        assert ids(find(folder, str(run.path))) == {run_id}
    assert len(ids(find(folder, "flatness-s0"))) == 1


def test_the_start_of_a_label_or_a_strategy_finds_a_configuration(folder):
    assert ids(find(folder, "ewc (strength=10)")) == ids(
        select(folder).where("label", ["ewc (strength=10)"])
    )
    assert ids(find(folder, "flatness-e")) == ids(select(folder).where("strategy", ["flatness-er"]))
    assert ids(find(folder, "flatness")) == ids(select(folder).where("strategy", ["flatness"]))


def test_what_several_have_is_told_with_the_choices(folder):
    with pytest.raises(UserError, match="'naive' is the start of several") as caught:
        find(folder, "naive")
    choices = caught.value.choices
    assert len(choices) == 2
    assert any("2 epochs" in choice for choice in choices)
    assert any("1 epoch," in choice for choice in choices)
    with pytest.raises(UserError, match="several") as caught:
        find(folder, "ewc")
    assert {choice.split("  ")[1].split("\n")[0] for choice in caught.value.choices} == {
        "ewc (strength=1)",
        "ewc (strength=10)",
    }
    with pytest.raises(UserError, match="several") as caught:
        find(folder, "naive-s1")
    assert all(choice.startswith("naive-s1-") for choice in caught.value.choices)
    with pytest.raises(UserError, match=r"unknown run .* 'flatnes-er'; did you mean flatness-er"):
        find(folder, "flatnes-er")


def test_of_many_names_an_unknown_one_is_told_the_nearest(tmp_path):
    store = RunStore(tmp_path)
    for seed in range(12):
        store.write(make_record("ewc", seed))
    with pytest.raises(UserError, match=r"unknown run .*; the nearest of 13 known: ") as caught:
        find(tmp_path, "98")
    assert str(caught.value).count(",") == 9


def test_a_protocol_is_chosen_by_its_id_its_words_or_a_config(folder):
    runs = select(folder)
    assert len(runs.protocols) == 2
    short, long = (make_config(training={"epochs": n}).protocol_id for n in (1, 2))
    words = protocols.describe(runs.protocols)
    assert words[long] == (
        "permuted-mnist, 3 tasks, domain-incremental, mlp 100-100, sgd 0.1, 2 epochs, batch 64"
    )
    for text in (long, long[:4], words[long], words[long].upper()[: words[long].index("2 ep") + 1]):
        assert set(select(folder, protocol=text).protocols) == {long}
    config = Protocol.model_validate({"benchmark": {"tasks": 3}, "training": {"epochs": 1}})
    assert set(select(folder, protocol="mine", config=config).protocols) == {short}
    with pytest.raises(UserError, match="start of 2 protocols") as caught:
        select(folder, protocol="permuted-mnist")
    assert [choice[:8] for choice in caught.value.choices] == [short[:8], long[:8]]
    with pytest.raises(UserError, match="unknown protocol 'split'") as caught:
        select(folder, protocol="split")
    assert len(caught.value.choices) == 2


def test_what_is_not_in_the_words_is_named_where_it_differs():
    configs = [make_config(), make_config(evaluation={"landscape": 500}), make_config(init_seed=3)]
    words = protocols.describe({config.protocol_id: config for config in configs})
    texts = [text.removeprefix(words[configs[0].protocol_id]) for text in words.values()]
    assert texts == ["", ", evaluation.landscape=500", ", init_seed=3"]
    assert all(
        len(line) <= 80
        for text in protocols.lines({c.protocol_id: c for c in configs})
        for line in text.splitlines()
    )
