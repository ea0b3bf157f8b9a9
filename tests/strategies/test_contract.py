"""What a strategy is given and may do: strategies written as a user writes them, outside the suite.

They need what few do: the task at test time, a loss on features, parameters of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from cl_bench.conformance import kit
from cl_bench.engine.settings import setting
from cl_bench.engine.stack import step
from cl_bench.engine.strategy import Strategy
from cl_bench.engine.tasks import Batch, TaskData
from cl_bench.errors import UserError
from cl_bench.planning import finding
from tests.training import config, stack, train

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.py"))


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch):
    monkeypatch.setattr(finding, "_added", {})


def example(name: str) -> str:
    (path,) = [path for path in EXAMPLES if path.stem == name]
    return finding.resolve(str(path))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_keep_every_promise(path):
    for case in kit.cases([finding.resolve(str(path))])[:1]:
        assert {r.check: r.why for r in kit.check(case) if r.why} == {}


# --- the task at test time ------------------------------------------------------------------


def test_packnet_keeps_what_it_learnt_where_naive_training_forgets():
    wanted = {"name": "permuted-mnist", "tasks": 4, "scenario": "task", "train_samples": 1000}
    (packed,), (naive,) = (
        train([config(name, benchmark=wanted, training={"epochs": 5})])
        for name in (example("packnet"), "naive")
    )
    table = packed.accuracy.query("after_task >= task")
    assert (table.groupby("task").accuracy.nunique() == 1).all()
    assert (table.accuracy > 0.4).all(), "chance is .1"
    first = naive.accuracy.query("task == 0").set_index("after_task").accuracy
    assert first[3] < first[0] - 0.02


@pytest.mark.slow
def test_a_packnet_that_ignores_its_masks_is_found(tmp_path):
    source = next(path for path in EXAMPLES if path.stem == "packnet").read_text()
    start, stop = source.index("    def predict"), source.index("    def _train_only")
    path = tmp_path / "forgetful_packnet.py"
    path.write_text(source[:start] + source[stop:])
    (case,) = kit.cases([finding.resolve(str(path))])
    failed = {r.check: r.why for r in kit.check(case) if r.outcome is kit.Outcome.FAILED}
    assert list(failed) == ["isolates"]
    assert "on task 1 was" in failed["isolates"]


@pytest.mark.parametrize(("scenario", "tasks"), [("task", {0, 1, 2, 3, 4}), ("class", {None})])
def test_the_task_is_told_where_the_scenario_gives_it(scenario, tasks, monkeypatch):
    told = set()

    class Listening(Strategy):
        def predict(self, images, task):
            told.add(task)
            return super().predict(images, task)

    monkeypatch.setattr(finding, "load", lambda name: Listening)
    wanted = {"name": "split-mnist", "tasks": 5, "scenario": scenario, "train_samples": 64}
    train([config("naive", benchmark=wanted)])
    assert told == tasks


# --- losses of features, and parameters of the strategy's own -------------------------------


def dense(theta, images, network):
    """Return one run's features and logits at weights [D], in plain torch."""
    weights, value = network.unstack(theta), images
    features = value
    for layer in range(2):
        features = value
        name = f"layers.{layer}"
        value = functional.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"])
        value = value.relu() if layer == 0 else value
    return features, value


def test_a_loss_of_features_is_the_one_that_is_minimised():
    strategy, streams = stack(example("steady_features"), strength=3.0)
    task = TaskData(streams, 0)
    first, second = task.minibatches(32, 2)
    step(strategy, first)
    strategy.end_task(task)
    strategy.theta.mul_(1.1)
    before = strategy.theta.clone()
    step(strategy, second)
    network = strategy.learner.network
    for run in (0, 1):
        leaf = before[run].clone().requires_grad_()
        features, logits = dense(leaf, second.images[run], network)
        old = dense(strategy.old[run], second.images[run], network)[0]
        loss = functional.cross_entropy(logits, second.labels[run])
        (loss + 3.0 * functional.mse_loss(features, old)).backward()
        expected = before[run] - 0.1 * leaf.grad
        torch.testing.assert_close(strategy.theta[run], expected, rtol=1e-4, atol=1e-6)


def test_a_module_is_trained_along_by_the_same_optimiser():
    strategy, streams = stack(example("second_head"))
    before = strategy.theta.clone(), strategy.head.value.clone()
    (batch,) = TaskData(streams, 0).minibatches(32, 1)
    step(strategy, batch)
    for run in (0, 1):
        theta, head = (value[run].clone().requires_grad_() for value in before)
        features, logits = dense(theta, batch.images[run], strategy.learner.network)
        loss = functional.cross_entropy(logits, batch.labels[run])
        (loss + functional.cross_entropy(features @ head.T, batch.labels[run])).backward()
        for found, leaf in ((strategy.theta, theta), (strategy.head.value, head)):
            expected = leaf.detach() - 0.1 * leaf.grad
            torch.testing.assert_close(found[run], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reset", [True, False])
def test_what_is_trained_along_starts_its_optimiser_anew_where_the_weights_do(reset, monkeypatch):
    found = []

    kind: Any = finding.load(example("second_head"))

    class Watching(kind):
        def begin_task(self, task):
            found.append(self.head.optimizer.velocity is None)

    monkeypatch.setattr(finding, "load", lambda name: Watching)
    wanted = {"name": "split-mnist", "tasks": 2, "train_samples": 128}
    train([config("naive", benchmark=wanted, optimizer={"name": "momentum", "reset": reset})])
    assert found == [True, reset]


# --- the parts of a minibatch ---------------------------------------------------------------


def test_a_minibatch_knows_its_parts_and_splits_what_belongs_to_its_samples():
    def made(size, **rest):
        return Batch(torch.rand(2, size, 5), torch.zeros(2, size, dtype=torch.int64), None, **rest)

    fresh = made(4)
    assert fresh.parts == {"fresh": fresh}
    assert fresh.joined(None) is fresh
    kept, other = made(3, name="replay", extra={"score": torch.rand(2, 3)}), made(2, name="other")
    both = fresh.joined(kept).joined(other)
    assert list(both.parts) == ["fresh", "replay", "other"]
    assert both.fresh is fresh
    assert both.parts["replay"] is kept
    for name, values in both.split(both.images).items():
        assert torch.equal(values, both.parts[name].images)


def test_what_the_network_said_in_the_step_is_there_after_it():
    strategy, streams = stack("naive")
    heard = []
    strategy.after_step = lambda batch: heard.append(batch)
    (batch,) = TaskData(streams, 0).minibatches(32, 1)
    before = strategy.learner.network.forward(strategy.theta, batch.images)
    step(strategy, batch)
    assert torch.equal(heard[0].logits, before)


# --- settings -------------------------------------------------------------------------------


def test_a_setting_is_declared_once_and_read_with_its_type():
    class Mine(Strategy):
        strength: torch.Tensor = setting(2.0, "weight", low=0)
        plain = setting(0.5, "a number without an annotation")
        every: int = setting(3, "steps", low=1)

    class Fixed(Mine):
        every = 5
        strength = setting(1.0, "weight", low=0)

    fields = {name: field.annotation for name, field in Mine.Settings.model_fields.items()}
    assert fields == {"strength": float, "plain": float, "every": int}
    mine: Any = Mine.Settings
    fixed: Any = Fixed.Settings
    assert mine(strength=3).model_dump() == {"strength": 3.0, "plain": 0.5, "every": 3}
    assert fixed().model_dump() == {"strength": 1.0, "plain": 0.5}
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        fixed(strength=-1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("loss = setting(1.0, 'x')", "a setting cannot be named 'loss': Strategy has"),
        ("state: int = setting(1, 'x')", "a setting cannot be named 'state': Strategy has"),
        ("learner: int = setting(1, 'x')", "a setting cannot be named 'learner': Strategy has"),
        ("buffer_size = setting(1, 'x')", None),
        ("replayed = setting(1, 'x')", "a setting cannot be named 'replayed': Replay has"),
        ("copy = setting(1, 'x')", "a setting cannot be named 'copy': it is reserved"),
        ("class Settings:\n        pass", "settings are declared on the class itself"),
        ("strength: Tenser = setting(1.0, 'x')", "name 'Tenser' is not defined"),
    ],
)
def test_a_setting_named_like_something_else_is_refused_in_one_line(line, message, tmp_path):
    path = tmp_path / f"named_{abs(hash(line))}.py"
    path.write_text(
        "from __future__ import annotations\nfrom cl_bench import Replay, setting\n\n\n"
        f"class Mine(Replay):\n    {line}\n"
    )
    if message is None:
        kind: Any = finding.load(str(path))
        assert kind.Settings().buffer_size == 1
        return
    with pytest.raises(UserError, match=message):
        finding.load(str(path))


def test_settings_that_do_not_go_together_are_refused():
    kind: Any = finding.load("a-gem").Settings
    with pytest.raises(ValueError, match="per_task=600 is more than the memory has places"):
        kind(per_task=600)
    assert kind(per_task=500)
