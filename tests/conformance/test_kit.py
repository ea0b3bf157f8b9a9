"""The kit finds what is wrong: each of these strategies breaks one promise and is told so."""

import csv
import json
import re
from pathlib import Path

import pytest

from cl_bench.cli import main
from cl_bench.conformance import kit
from cl_bench.conformance.checks import CHECKS
from cl_bench.planning import finding

HEAD = '''"""Breaks a promise."""
import torch

from cl_bench.config import Scenario
from cl_bench import Strategy, setting

TASKS = []


class Mine(Strategy):
    title = "Mine"
    source = "me"
    scenarios = frozenset({Scenario.DOMAIN})
    networks = frozenset({"mlp"})

    factor: float = setting(0.5, "factor", low=0, high=1e9, tune=(0.1, 1.0))
    odd_name: int = setting(3, "of no meaning to the kit", low=1)

'''
README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")

# What breaks the promise, the check that is meant for it, and what it must say.
BROKEN = {
    "mixes": (
        "def adjust_gradient(self, gradient, batch):\n    gradient -= gradient.mean(0)",
        *("company", r"alone and stacked.* in weights, .*: something mixes the runs"),
    ),
    "takes_anothers_setting": (
        "def adjust_gradient(self, gradient, batch):\n    gradient *= self.factor[0]",
        *("company", "a setting of another run is taken for its own"),
    ),
    "draws_from_torch": (
        "def after_step(self, batch):\n"
        "    self.theta.add_(torch.randn_like(self.theta), alpha=1e-4)",
        *("repeats", "learner.uniform and learner.normal are the only source of randomness"),
    ),
    "counts_evaluations": (
        "def predict(self, images, task):\n"
        "    self.asked = getattr(self, 'asked', 0) + 1\n"
        "    return super().predict(images, task)\n"
        "def adjust_gradient(self, gradient, batch):\n    gradient /= self.asked",
        *("repeats", "not evaluated while it trains ends differently"),
    ),
    "hides_state": (
        "def after_step(self, batch):\n"
        "    self.theta.lerp_(getattr(self.learner, 'last', self.theta), 0.1)\n"
        "    self.learner.last = self.theta.clone()",
        *("resumed", "stopped in the middle of task 1 and resumed, a run differs in weights"),
    ),
    "forgets_between_tasks": (
        "def end_task(self, task):\n    self.learner.anchor = self.theta.clone()\n"
        "def after_step(self, batch):\n"
        "    if self.learner.task == 1:\n"
        "        self.theta.lerp_(getattr(self.learner, 'anchor', self.theta), 0.1)",
        *("resumed", "stopped after task 1 and resumed, a run differs in weights"),
    ),
    "keeps_a_function": (
        "def begin_task(self, task):\n    self.hook = lambda: 0",
        *("state", "'hook' is a function, which cannot be saved"),
    ),
    "keeps_a_table_of_all": (
        "def end_task(self, task):\n    self.table = torch.zeros(10, 4)",
        *("state", r"'table' has the shape \[10, 4\] after task 1; its first axis .* 3 here"),
    ),
    "looks_back": (
        "def begin_task(self, task):\n"
        "    TASKS.append(task)\n"
        "    list(TASKS[-2:][0].sample(5, 'old'))",
        *("data", "data of task 0 were asked for after the task"),
    ),
    "keeps_images": (
        "def end_task(self, task):\n    self.few = 255 * next(task.sample(8, 'few')).images",
        *("data", r"'few' holds \d+ training images after task 1; keeps_samples is not declared"),
    ),
    "keeps_test_images": (
        "keeps_samples = True\n"
        "def predict(self, images, task):\n"
        "    self.asked = images.clone()\n"
        "    return super().predict(images, task)",
        *("data", r"'asked' holds \d+ test images"),
    ),
    "learns_from_test_images": (
        "def predict(self, images, task):\n"
        "    self.theta.mul_(0.999)\n"
        "    return super().predict(images, task)",
        *("data", "predict changed the weights; test images are for prediction alone"),
    ),
    "predicts_by_chance": (
        "def predict(self, images, task):\n"
        "    logits = super().predict(images, task)\n"
        "    return logits + torch.rand_like(logits)",
        *("predict", "asked twice gives different logits"),
    ),
    "caches": (
        "cache = None\n"
        "def after_step(self, batch):\n    self.cache = None\n"
        "def predict(self, images, task):\n"
        "    if self.cache is None:\n"
        "        self.cache = self.theta.clone()\n"
        "    return self.learner.network.forward(self.cache, images)",
        *("predict", "predict changes cache"),
    ),
    "isolates_nothing": (
        "isolates = True\nscenarios = frozenset({Scenario.TASK})",
        *("isolates", r"(accuracy|loss) on task 1 was \S+ when it was learnt and is"),
    ),
    "isolates_untold": ("isolates = True", "declared", "need the task scenario, in which the"),
    "hides_bytes": (
        "def begin_task(self, task):\n    self.start = self.theta.clone()\n"
        "def bytes_kept(self):\n    return 0",
        *("cost", r"bytes_kept is 0, but the state has \d+ bytes a run"),
    ),
    "hides_gradients": (
        "def end_task(self, task):\n    self.learner.gradient_passes = 0.0",
        *("cost", "0.0 gradient passes are reported for 40 steps"),
    ),
    "diverges": (
        "pull: float = setting(1.0, 'x', low=0, tune=(1e-3, 1e9), log=True)\n"
        "def adjust_gradient(self, gradient, batch):\n    gradient += self.pull * self.theta",
        *("extremes", r"weights, loss not finite at pull = 1e\+09, an end of its tune range"),
    ),
    "has_no_title": ("title = ' '", "declared", "title is empty"),
    "computes_scenarios": (
        "scenarios = frozenset({*Scenario} - {Scenario.TASK, Scenario.CLASS})",
        *("declared", "write them out in the class"),
    ),
    "tunes_beyond": (
        "pull: float = setting(1.0, 'x', high=2, tune=(1.0, 3.0))",
        *("declared", "setting pull: 3.0 of tune is not allowed"),
    ),
    "starts_beyond": (
        "pull: float = setting(3.0, 'x', high=2)",
        *("declared", "setting pull: default 3.0 is not allowed"),
    ),
    "says_any_network": (
        "networks = frozenset({'mlp', 'convnet'})\n"
        "def after_step(self, batch):\n    self.learner.network.activations",
        *("networks", r"AttributeError: .*'activations' \(says_any_network.py, line \d+\)"),
    ),
    "fails": (
        "def end_task(self, task):\n    raise RuntimeError('no\\n end')",
        *("trains", r"RuntimeError: no end \(fails.py, line 20\)"),
    ),
    "explodes": (
        "def adjust_gradient(self, gradient, batch):\n    gradient *= 1e9",
        *("trains", "weights, loss not finite after five short tasks"),
    ),
}
# Some of them cannot break one promise without another.
ALSO = {
    "mixes": {"resumed", "families"},
    "takes_anothers_setting": {"resumed", "families"},
    "draws_from_torch": {"company", "resumed", "families"},
    "counts_evaluations": {"predict"},
    "keeps_a_table_of_all": {"cost"},
    "keeps_test_images": {"predict"},
    "predicts_by_chance": {"repeats", "company", "resumed", "families"},
    "computes_scenarios": {"refused", "trains"},
    "starts_beyond": {"trains"},
    "explodes": {"extremes", "families"},
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Write a strategy's file and return its path."""
    monkeypatch.setattr(finding, "_added", {})

    def write(name, body):
        path = tmp_path / f"{name}.py"
        indented = re.sub("(?m)^(?=.)", "    ", body)
        path.write_text(HEAD + indented + "\n" if not body.startswith('"""') else body)
        return str(path)

    return write


def check(path):
    """Return what came of each check in the strategy's first scenario."""
    return {r.check: r for r in kit.check(kit.cases([finding.resolve(path)])[0])}


def failed(results):
    return {name for name, result in results.items() if result.outcome is kit.Outcome.FAILED}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found_by_the_check_meant_for_it(name, file):
    body, meant, message = BROKEN[name]
    results = check(file(name, body))
    assert meant in failed(results), {n: r.why for n, r in results.items() if r.why}
    assert re.search(message, results[meant].why), results[meant].why
    assert "\n" not in results[meant].why
    assert failed(results) - {meant} <= ALSO.get(name, set())


def test_what_cannot_be_reached_points_to_the_check_that_failed(file):
    results = check(file("fails_at_once", "def begin_task(self, task):\n    1 / 0"))
    assert failed(results) == {"trains"}
    assert results["company"].outcome is kit.Outcome.NOT_REACHED
    assert results["company"].why == "see trains"
    assert results["declared"].outcome is kit.Outcome.PASSED


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import not_there\n", ".py:2: ModuleNotFoundError: No module named 'not_there'"),
        ("x = int('one')\n", "ValueError: invalid literal"),
        ("def broken(:\n", ".py:2: invalid syntax"),
        ("x = 1\n", "must define one subclass of Strategy; found none"),
    ],
)
def test_a_file_that_does_not_load_is_a_failed_check(file, source, message):
    results = check(file(f"unloadable_{abs(hash(source))}", f'"""Not a strategy."""\n{source}'))
    assert failed(results) == {"loads"}
    assert message in results["loads"].why


def test_a_sound_strategy_from_outside_passes_every_check(file):
    body = (
        "keeps_samples = True\n"
        "def end_task(self, task):\n"
        "    few = next(task.sample(self.odd_name, 'few')).images\n"
        "    self.few = {**getattr(self, 'few', {}), task.index: (few, self.learner.task)}\n"
        "def adjust_gradient(self, gradient, batch):\n"
        "    gradient *= self.factor + 0.1 * self.learner.uniform('noise', 1)"
    )
    results = check(file("sound", body))
    assert {n: r.why for n, r in results.items() if r.why} == {}
    assert list(results) == [each.name for each in CHECKS]


def test_the_example_of_the_readme_passes_every_check(file, capsys):
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    path = file("slow_down", source if source.startswith('"""') else f'"""Mine."""\n{source}')
    assert main(["check", path, "--scenario=domain"]) == 0
    printed = capsys.readouterr()
    rows = [line.split() for line in printed.out.splitlines() if "passed" in line]
    assert [row[0] for row in rows] == [each.name for each in CHECKS]
    assert f"slow-down, domain: {len(CHECKS)} of {len(CHECKS)} checks passed" in printed.err


def test_the_command_says_which_failed_and_why_in_every_format(file, capsys):
    good, bad = file("good", "pass"), file("bad", "def end_task(self, task):\n    1 / 0")
    assert main(["check", good, bad, "--format=json"]) == 1
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert len(rows) == 2 * len(CHECKS)
    (row,) = [row for row in rows if row["outcome"] == "failed"]
    assert (row["strategy"], row["scenario"], row["check"]) == ("bad", "domain", "trains")
    assert row["why"].startswith("ZeroDivisionError: division by zero (bad.py, line")
    assert "1 check failed" in printed.err
    assert main(["check", f"{good},{bad}", "--format=csv"]) == 1
    found = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [r["why"] for r in found] == [r["why"] for r in rows]
    assert main(["check", good, bad]) == 1
    table = capsys.readouterr().out
    assert "ZeroDivisionError" in table
    assert re.search(rf"good +domain +{len(CHECKS)} ", table)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flatnes"], "unknown strategy 'flatnes'; did you mean flatness"),
        (["./not_there.py"], "there is no strategy file ./not_there.py"),
        (["naive", "--scenario=tasks"], "unknown scenario 'tasks'; did you mean task"),
        (["avalanche:EWC"], "is another library's"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, capsys):
    assert main(["check", *words]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_a_scenario_that_is_not_declared_is_a_mistake(file, capsys):
    assert main(["check", file("good", "pass"), "--scenario=class"]) == 2
    assert "no strategy that was named declares the class scenario" in capsys.readouterr().err
