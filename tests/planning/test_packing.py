"""Plans: settings from config and command line, impossible ones refused, runs packed in stacks."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_bench.config import Scenario
from cl_bench.engine.architectures import build_network
from cl_bench.engine.strategy import all_settings
from cl_bench.errors import UserError
from cl_bench.planning import finding, packing, reading

ONLY_TASK = '''"""For one scenario."""
from cl_bench.config import Scenario
from cl_bench.engine.strategy import Strategy


class OnlyTask(Strategy):
    scenarios = frozenset({Scenario.TASK})
'''


def benchmark_of(config, scenarios=(Scenario.DOMAIN, Scenario.TASK, Scenario.CLASS)):
    """A stand-in for a benchmark: 5 tasks of 60,000 images."""
    tasks, scenario = config.tasks or 5, config.scenario or scenarios[0]
    return SimpleNamespace(
        name=config.name,
        config=config.model_copy(update={"tasks": tasks, "scenario": scenario}),
        scenario=scenario,
        scenarios=scenarios,
        n_tasks=tasks,
        n_outputs=10,
        input_shape=(1, 28, 28),
        dataset=SimpleNamespace(name="mnist", train_images=torch.empty(0, dtype=torch.uint8)),
        notice="this stands in" if config.name.endswith("5k") else None,
        epoch_size=lambda task: 60_000,
    )


def planned(*assignments, strategies=("naive",), workers=1, benchmark=benchmark_of, **rest):
    read = reading.read(strategies=list(strategies), assignments=assignments)
    return packing.make_plan(read, benchmark, workers=workers, **rest)


def test_the_landscape_is_not_measured_in_another_librarys_loop():
    measured = "evaluation.landscape=500"
    assert planned(measured).configs[0].evaluation.landscape == 500
    with pytest.raises(UserError, match=r"'avalanche:EWC' .*landscape = 500: it is trained by"):
        planned(measured, strategies=["naive", "avalanche:EWC"])


def test_fewer_runs_fit_where_the_landscape_is_measured():
    memory = 2**34
    measured = planned("evaluation.landscape=500", "seeds=100", memory=memory)
    assert max(sizes(measured)) < max(sizes(planned("seeds=100", memory=memory)))


def sizes(made):
    return sorted((len(stack.configs) for stack in made.stacks), reverse=True)


def test_a_plan_holds_every_seed_with_all_its_settings_resolved():
    made = planned(strategies=["ewc"])
    assert [config.seed for config in made.configs] == [0, 1, 2, 3, 4]
    config = made.configs[0]
    assert config.benchmark.tasks == 5
    assert config.benchmark.scenario is Scenario.DOMAIN
    kind, given = finding.load("ewc"), config.strategy.settings
    assert set(all_settings(kind, given)) == set(kind.Settings.model_fields)
    assert given == kind.Settings().model_dump(mode="json")


def test_the_seed_of_the_weights_is_one_for_all_and_no_part_of_an_id_where_it_is_not_set():
    ordinary, crossed = planned("seeds=2"), planned("seeds=2", "init_seed=7")
    assert [(c.seed, c.weights_seed) for c in ordinary.configs] == [(0, 0), (1, 1)]
    assert [(c.seed, c.weights_seed) for c in crossed.configs] == [(0, 7), (1, 7)]
    assert "init_seed" not in ordinary.configs[0].model_dump()
    ids = {(c.run_id, c.protocol_id) for c in (*ordinary.configs, *crossed.configs)}
    assert len(ids) == 4
    assert len({c.protocol_id for c in (*ordinary.configs, *crossed.configs)}) == 2
    assert len({packing.stack_key(c) for c in (*ordinary.configs, *crossed.configs)}) == 1
    with pytest.raises(UserError, match=r"'avalanche:EWC' .*init_seed = 7: it is trained by"):
        planned("init_seed=7", strategies=["avalanche:EWC"])


def test_options_override_the_config_and_assignments_override_both():
    (read,) = reading.read(
        "permuted-mnist-10",
        strategies=["naive"],
        options={"benchmark.tasks": 3, "seeds": None},
        assignments=["optimizer.learning_rate=1e-3", "training.iterations=7"],
    )
    assert (read.benchmark.tasks, read.seeds) == (3, 5)
    assert read.optimizer.learning_rate == 0.001
    assert (read.training.iterations, read.training.epochs) == (7, None)


def test_lists_are_grids_and_numbers_of_a_grid_train_in_one_stack():
    made = planned(
        "ewc.strength=[1, 10, 100]",
        "optimizer.learning_rate=[0.1, 0.01]",
        "seeds=2",
        strategies=["ewc"],
    )
    assert len(made.configs) == 12
    assert sizes(made) == [12]
    found = {(c.strategy.settings["strength"], c.optimizer.learning_rate) for c in made.configs}
    assert len(found) == 6


def test_what_is_no_number_does_not_share_a_stack():
    assert sizes(planned("training.batch_size=[16, 32]", "seeds=3")) == [3, 3]
    assert sizes(planned("network.hidden=[[10], [20]]", "seeds=3")) == [3, 3]
    assert sizes(planned("seeds=3", strategies=["naive", "joint"])) == [3, 3]


def test_seeds_are_given_by_their_number_or_one_by_one():
    made = planned("seeds=[5, 6, 7]", strategies=["naive", "joint"])
    assert [config.seed for config in made.configs] == [5, 6, 7] * 2
    assert sizes(made) == [3, 3]
    by_number = planned("seeds=3", "first_seed=5", strategies=["naive"])
    assert [c.run_id for c in by_number.configs] == [c.run_id for c in made.configs[:3]]
    with pytest.raises(UserError, match="first_seed = 5: seeds are given by number"):
        planned("seeds=[5, 6, 7]", "first_seed=5")


def test_a_number_is_one_hidden_layer_and_still_of_a_grid():
    assert planned("network.hidden=100").configs[0].network.hidden == (100,)
    same = planned("network.hidden=[100]").configs[0]
    assert planned("network.hidden=100").configs[0].run_id == same.run_id
    grid = planned("network.hidden=[[10], 20]", "seeds=1")
    assert [config.network.hidden for config in grid.configs] == [(10,), (20,)]


def test_the_same_run_asked_for_twice_is_one_run():
    assert len(planned("ewc.strength=[1, 1.0]", "seeds=2", strategies=["ewc"]).configs) == 2


def test_runs_that_are_stored_are_left_out():
    made = planned(is_stored=lambda config: config.seed < 3)
    assert [config.seed for config in made.stored] == [0, 1, 2]
    assert [config.seed for stack in made.stacks for config in stack.configs] == [3, 4]
    assert planned(is_stored=lambda config: True).stacks == ()


def test_five_seeds_on_two_workers_are_three_and_two():
    assert sizes(planned(workers=2)) == [3, 2]


def test_upper_bounds_cost_more_and_come_first():
    made = planned(strategies=["naive", "joint"], workers=2)
    assert made.stacks[0].configs[0].strategy.name == "joint"
    steps = {stack.configs[0].strategy.name: stack.steps for stack in made.stacks}
    explored = 5 * 300
    assert steps["joint"] == pytest.approx(3 * steps["naive"] + explored, rel=0.01)


def test_stacks_are_no_larger_than_memory_or_the_limit_allow():
    assert max(sizes(planned("seeds=50", max_runs=8))) <= 8
    assert max(sizes(planned("seeds=50", memory=4 * 2**30))) < 50
    assert max(sizes(planned("seeds=4", "network.hidden=[5000, 5000]", memory=2**30))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        ["network.hidden=[7, 5]"],
        ["network.hidden=[]"],
        ["network.hidden=[7]", "network.input_padding=3", "network.input_mean=0.1"],
        ["network.name=convnet", "network.hidden=[40]"],
        ["network.name=convnet", "network.hidden=[40]", "network.input_padding=2"],
    ],
)
def test_a_network_counts_with_the_weights_that_it_has(changes):
    config = planned(*changes, "seeds=1").configs[0]
    stood_in = benchmark_of(config.benchmark)
    network = build_network(config.network, stood_in.input_shape, stood_in.n_outputs)
    assert packing.network_size(config, stood_in) == len(network.initial(0)) == network.size


def test_fewer_runs_fit_of_a_padded_network_and_more_of_a_small_convnet():
    def fit(*changes):
        asked = ("seeds=200", "training.iterations=1", *changes)
        return max(sizes(planned(*asked, memory=2**33)))

    plain = fit("network.hidden=[1000]")
    assert fit("network.hidden=[1000]", "network.input_padding=28") < plain / 4
    assert fit("network.name=convnet", "network.hidden=[8]") > plain


@settings(max_examples=50, deadline=None)
@given(
    runs=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    workers=st.integers(1, 9),
    limit=st.integers(1, 16),
)
def test_packing_loses_no_run_and_is_near_the_best_possible(runs, workers, limit):
    configs, steps = [], {}
    for kind, count in enumerate(runs, start=1):
        found = planned(f"seeds={count}", f"training.iterations={kind * 100}").configs
        configs += found
        steps[packing.stack_key(found[0])] = kind * 500
    stacks = packing.pack(configs, steps, dict.fromkeys(steps, limit), workers)
    packed = Counter(config.run_id for stack in stacks for config in stack.configs)
    assert packed == Counter(config.run_id for config in configs)
    assert all(len(stack.configs) <= limit for stack in stacks)
    assert [s.work for s in stacks] == sorted((s.work for s in stacks), reverse=True)
    ideal = sum(stack.work for stack in stacks) / workers
    longest_run = max(steps.values()) * (1 + packing._STACK_OVERHEAD)
    assert packing._time(stacks, workers) <= ideal + max(longest_run, stacks[0].work)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("ewc.strenth=1", "unknown key 'ewc.strenth'; did you mean ewc.strength"),
        ("ewc.strength=-1", "ewc.strength = -1: should be greater than or equal to 0"),
        ("ewc.strength=many", "ewc.strength = 'many': should be a valid number"),
        ("optimizer.learning_rate=0", "learning_rate = 0: should be greater than 0"),
        ("optimizer.learning_rate=nan", "learning_rate = nan: should be a finite number"),
        ("ewc=3", r"ewc = 3: give one of its settings, as ewc.<setting>=<value>"),
        ("ewc.strength=yes", "ewc.strength = True: should be a number"),
        ("ewc.strength=[1, on]", r"ewc.strength = True: should be a number"),
        ("optimizer.learning_rate=true", "optimizer.learning_rate = True: should be a number"),
        ("training.iterations=yes", "training.iterations = True: should be a number"),
        ("network.hidden=[true]", r"network.hidden = \[True\]: should be a number"),
        ("seeds=true", "seeds = True: should be a number"),
        ("ewc.strength=[]", r"ewc.strength = \[\]: a grid needs at least one value"),
        ("network.hidden=ten", r"network.hidden = 'ten': give the widths .* such as \[100, 100\]"),
        ("network.hidden=0", "network.hidden = 0: should be greater than or equal to 1"),
        (
            "seeds=2.5",
            r"seeds = 2.5: give their number \(1 to 10000\), or a list such as \[5, 6, 7\]",
        ),
        ("seeds=[]", r"seeds = \[\]: give their number"),
        ("seeds=[3, -1]", r"seeds = \[3, -1\]: give their number"),
        ("seeds=[3, 4, 3]", r"seeds = \[3, 4, 3\]: a seed stands twice"),
        ("benchmark={tasks: 2, tasks: 3}", "the key 'tasks' stands twice"),
        ("optimizer.nam=sgd", "did you mean optimizer.name"),
        ("optimizer.name=sdg", "should be 'sgd', 'momentum', 'adam' or 'rmsprop'"),
        ("flatness.strength=1", "strategy 'flatness', which is not run here"),
        ("benchmark.tasks=0", "benchmark.tasks = 0: should be greater than or equal to 1"),
        ("training.batch_size=[]", "a grid needs at least one value"),
        ("seeds=0", "seeds = 0: give their number"),
        ("seeds", "give it as key=value"),
        ("seeds=[", "not valid YAML"),
        ("evaluation.split=valid", "set benchmark.validation_fraction"),
        ("evaluation.evry=3", "did you mean evaluation.every"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(assignment, message):
    with pytest.raises(UserError, match=message) as caught:
        planned(assignment, strategies=["ewc"])
    assert "\n" not in str(caught.value)


def test_validation_data_make_the_validation_split_possible():
    made = planned("evaluation.split=valid", "benchmark.validation_fraction=0.1")
    assert made.configs[0].evaluation.split == "valid"


def test_a_strategy_given_twice_is_refused():
    with pytest.raises(UserError, match="'naive' is given twice"):
        planned(strategies=["naive", "naive"])


def test_a_scenario_that_a_strategy_lacks_is_refused_with_the_nearest_that_works(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "only_task.py"
    path.write_text(ONLY_TASK)
    with pytest.raises(UserError, match=r"it supports: task\); .* --scenario task"):
        planned(strategies=[str(path)])
    with pytest.raises(UserError, match=r"--benchmark \S+-mnist --scenario task"):
        planned(
            strategies=[str(path)],
            benchmark=lambda config: benchmark_of(config, scenarios=(Scenario.DOMAIN,)),
        )


def test_data_that_stand_in_are_announced():
    assert planned("benchmark.name=permuted-mnist-5k").notices == ("this stands in",)
