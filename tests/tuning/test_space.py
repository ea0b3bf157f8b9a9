"""Spaces: what strategies declare, and the same trials from it wherever they are drawn."""

import math

import pytest

from cl_bench.config import OptimizerConfig
from cl_bench.engine.settings import setting, tune_range
from cl_bench.engine.strategy import Strategy
from cl_bench.errors import UserError
from cl_bench.planning import finding
from cl_bench.tuning.search import settings_of
from cl_bench.tuning.space import LEARNING_RATE, parse_range, space_of

SGD = OptimizerConfig()
RANGE = {"strength": (1e-2, 1e6)}


def space(name, given=None, **rest):
    return space_of(name, given or {}, SGD, **rest)


@pytest.mark.parametrize("name", finding.strategy_names())
def test_every_trial_of_every_strategy_is_allowed_and_the_first_is_its_defaults(name):
    settings = finding.load(name).Settings
    found = space(name)
    assert [each.name for each in found] == [
        key for key in settings.model_fields if tune_range(settings, key)
    ]
    trials = settings_of(found, 16)
    assert settings(**trials[0]) == settings()
    for trial in trials[1:]:
        settings(**trial)
        assert all(each.low <= trial[each.name] <= each.high for each in found)


def test_the_same_trials_are_drawn_on_every_machine_and_more_begin_with_fewer():
    trials = settings_of(space("ewc", ranges=RANGE), 16)
    assert trials[:5] == [{"strength": s} for s in (10.0, 3.414, 629700.0, 2299.0, 0.01248)]
    assert settings_of(space("ewc", ranges=RANGE), 5) == trials[:5]
    assert len({trial["strength"] for trial in trials}) == 16


def test_points_are_spread_evenly_over_the_logarithm():
    drawn = [trial["strength"] for trial in settings_of(space("ewc", ranges=RANGE), 17)[1:]]
    places = sorted(math.floor(2 * math.log10(value)) for value in drawn)
    assert places == list(range(-4, 12)), "one in each half decade of 0.01 to 1e6"


def test_strategies_with_as_many_settings_get_the_same_points():
    shares = [
        [each.share(trial[each.name]) for trial in settings_of((each,), 8)[1:]]
        for each in (space("ewc")[0], space("mas")[0], space("gem")[0])
    ]
    assert shares[0] == pytest.approx(shares[1], abs=1e-3)
    assert shares[0] == pytest.approx(shares[2], abs=1e-3)


def test_whole_numbers_stay_whole(monkeypatch):
    class Whole(Strategy):
        every: int = setting(1, "steps", low=1, tune=(1, 8))

    monkeypatch.setattr(finding, "load", lambda name: Whole)
    (each,) = found = space("whole")
    assert each.whole
    tried = [trial["every"] for trial in settings_of(found, 32)]
    assert set(tried) == set(range(1, 9))
    assert all(isinstance(value, int) for value in tried)


def test_a_setting_that_is_given_a_value_is_held_at_it():
    names = [each.name for each in space("der++", {"alpha": 0.3})]
    assert names == ["beta"]
    assert space("ewc", {"strength": 5.0}) == ()
    assert space("naive") == ()


def test_the_learning_rate_has_the_same_range_for_all_and_starts_at_the_protocols():
    for name in ("naive", "ewc"):
        rate = space(name, learning_rate=(0.001, 1.0))[-1]
        assert (rate.name, rate.low, rate.high, rate.log) == (LEARNING_RATE, 0.001, 1.0, True)
        assert rate.default == SGD.learning_rate


def test_a_range_takes_the_place_of_the_declared_one():
    assert parse_range("ewc.strength=[1, 1e3]") == ("ewc", "strength", (1.0, 1000.0))
    assert parse_range("avalanche:EWC.strength=1,2") == ("avalanche:EWC", "strength", (1.0, 2.0))
    (each,) = space("ewc", ranges={"strength": (1.0, 1000.0)})
    assert (each.low, each.high, each.log) == (1.0, 1000.0, True)


@pytest.mark.parametrize(
    ("name", "given", "rest", "message"),
    [
        ("ewc", {"strength": [1, 10]}, {}, "--range 'ewc.strength=.LOW,HIGH.'"),
        ("ewc", {}, {"ranges": {"strength": (10.0, 1.0)}}, "give the lower end first"),
        ("ewc", {}, {"ranges": {"strength": (0.0, 1.0)}}, "0 has no logarithm"),
        (
            "ewc",
            {},
            {"ranges": {"strength": (1.0, 1e13)}},
            "strength = 1.*0: should be less than or equal to",
        ),
        ("ewc", {}, {"ranges": {"every": (1.0, 5.0)}}, "declares no range .* of: strength"),
        ("ewc", {}, {"ranges": {"strenght": (1.0, 5.0)}}, "did you mean ewc.strength"),
        ("ewc", {"strength": 5.0}, {"ranges": {"strength": (1.0, 5.0)}}, "held at 5.0"),
        ("ewc", {"strength": -5.0}, {}, "ewc.strength = -5.0: should be greater"),
        ("ewc", {}, {"learning_rate": (0.0, 1.0)}, "0 has no logarithm"),
        ("ewc", {}, {"learning_rate": (0.1, 5000.0)}, "optimizer.learning_rate = 5000.0"),
    ],
)
def test_what_cannot_be_tuned_is_told(name, given, rest, message):
    with pytest.raises(UserError, match=message):
        space(name, given, **rest)


@pytest.mark.parametrize(
    "text", ["ewc.strength", "strength=[1,2]", "ewc.strength=[1]", "a.b=[1,x]", "a.b=[1,nan]"]
)
def test_a_malformed_range_is_told(text):
    with pytest.raises(UserError, match="give a setting and the ends"):
        parse_range(text)
