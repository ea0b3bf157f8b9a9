"""The timings compare the same work (network, step, test set), and rows are well formed."""

import csv
import io
import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cl_bench.bench import Effort, measure
from cl_bench.bench.avalanche_peer import AvalanchePeer, make_stream, peer_tasks
from cl_bench.bench.ours import OurSide, OurTasks, make_benchmark
from cl_bench.bench.timing import compare, take_turns
from cl_bench.bench.workload import LARGE, SMALL, TASK, Shape
from cl_bench.benchmarks.permuted import Permuted
from cl_bench.cli import main

pytestmark = pytest.mark.slow

COLUMNS = ["name", "ours", "peer", "ratio", "ratio_min", "ratio_max", "target", "met", "unit"]
COLUMNS.append("compared_with")
TINY_SHAPE = Shape((20, 10), 64)
TINY = Effort(
    rounds=2,
    stack=2,
    our_images=64,
    peer_images=64,
    shapes=(SMALL,),
    train_samples=200,
    test_samples=100,
    strategy_samples=64,
    strategies=("l2",),
)


@pytest.fixture(scope="module")
def data_dir() -> Path | None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="module")
def benchmark(data_dir: Path | None) -> Permuted:
    made = make_benchmark(data_dir, train_samples=200, test_samples=150)
    assert isinstance(made, Permuted)
    return made


@pytest.fixture(scope="module")
def rows(data_dir: Path | None) -> list[dict]:
    return measure(data_dir, TINY)


def sides(benchmark: Permuted, strategy: str, images: int, *, normalise: bool = False):
    """Return ours and the peer with the same weights, ours at seed 0."""
    ours = OurSide(OurTasks(benchmark, 1), strategy, TINY_SHAPE)
    stream = make_stream(peer_tasks(benchmark, 0, (64, images)), normalise=normalise)
    peer = AvalanchePeer(stream, strategy, TINY_SHAPE)
    weights = ours.stack.learner.network.unstack(ours.stack.learner.theta[0])
    with torch.no_grad():
        for theirs, our in zip(peer.network.parameters(), weights.values(), strict=True):
            theirs.copy_(our)
    return ours, peer


def test_both_networks_give_the_same_outputs(benchmark):
    ours, peer = sides(benchmark, "naive", 64)
    images = torch.rand(1, 32, 784, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = peer.network(images[0])
        found = ours.stack.learner.network.forward(ours.stack.learner.theta, images)[0]
    torch.testing.assert_close(found, expected)


def test_one_step_of_both_sides_gives_the_same_weights(benchmark):
    ours, peer = sides(benchmark, "naive", TINY_SHAPE.batch_size)
    before = ours.stack.learner.theta.clone()
    peer.train(TASK, shuffle=False)
    with torch.no_grad():
        rows = torch.arange(TINY_SHAPE.batch_size).unsqueeze(0)
        ours.stack.step(ours.tasks.timed.gather(rows))
    expected = torch.nn.utils.parameters_to_vector(peer.network.parameters()).detach()
    moved = (expected - before[0]).abs().max()
    assert moved > 1e-3
    torch.testing.assert_close(ours.stack.learner.theta[0], expected, rtol=1e-5, atol=1e-6)


def test_both_sides_evaluate_the_same_test_set_to_the_same_accuracy(benchmark):
    ours, peer = sides(benchmark, "naive", 64)
    _, accuracy = peer.evaluate(TASK)
    with torch.no_grad():
        found = ours.evaluator.evaluate(ours.stack.strategy, TASK, TASK)
    assert found.samples == [150] == [len(peer.stream.test_stream[TASK].dataset)]
    assert float(found.accuracy) == pytest.approx(accuracy)


def test_the_shipped_peer_normalises_and_the_plain_one_does_not(benchmark):
    tasks = peer_tasks(benchmark, 0, (64, 64))
    # The mean image, since Avalanche sorts a task's images by class.
    mean = benchmark.examples(0, TASK, "train").images[:64].mean(0) / 255
    for normalise, expected in ((False, mean), (True, (mean - 0.1307) / 0.3081)):
        dataset = make_stream(tasks, normalise=normalise).train_stream[TASK].dataset
        found = torch.stack([dataset[i][0].flatten() for i in range(64)]).mean(0)
        torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-5)


def test_the_penalty_is_there_on_both_sides_when_ewc_is_timed(benchmark):
    ours, _ = sides(benchmark, "ewc", 64)
    assert float(ours.stack.strategy.precision.omega.sum()) > 0
    stream = make_stream(peer_tasks(benchmark, 0, (64, 192)), normalise=False)
    strong, none = (AvalanchePeer(stream, "ewc", TINY_SHAPE, strength=s) for s in (1.0, 0.0))
    with torch.no_grad():
        for a, b in zip(strong.network.parameters(), none.network.parameters(), strict=True):
            a.copy_(b)
    for peer in (strong, none):
        peer.train(0, shuffle=False)
        peer.train(TASK, shuffle=False)
    pairs = zip(strong.network.parameters(), none.network.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_the_peer_refuses_a_strategy_it_does_not_have(benchmark):
    with pytest.raises(ValueError, match="naive, ewc"):
        AvalanchePeer(make_stream(peer_tasks(benchmark, 0, (64,))), "si", TINY_SHAPE)


@pytest.mark.parametrize("shape", [TINY_SHAPE, SMALL, LARGE])
def test_operations_are_counted_as_the_engine_executes_them(benchmark, shape):
    ours = OurSide(OurTasks(benchmark, 2), "naive", shape)
    batch = ours.tasks.timed.gather(torch.zeros(2, shape.batch_size, dtype=torch.int64))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        ours.stack.step(batch)
    assert counter.get_total_flops() == shape.training_flops * 2 * shape.batch_size


def test_contenders_take_turns():
    order = []

    def turn(name):
        order.append(name)
        return len(order)

    rates = take_turns({name: partial(turn, name) for name in "ab"}, 3)
    assert order == list("ababab")
    assert rates == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_a_ratio_is_the_median_over_turns_not_the_ratio_of_medians():
    row = compare("x", [10.0, 2.0, 30.0], [1.0, 1.0, 10.0], "peer", target=3)
    assert (row.ratio, row.ratio_min, row.ratio_max) == (3, 2, 10)
    assert (row.ours, row.peer) == (10, 1)
    assert row.met is True
    assert compare("x", [2.0], [1.0], "peer", target=3).met is False
    assert compare("x", [2.0], [1.0], "peer").met is None


def test_rows_are_well_formed(rows):
    assert all(list(row) == COLUMNS for row in rows)
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        assert math.isfinite(row["ours"]) and row["ours"] > 0
        if row["name"] == "peak":
            continue
        assert math.isfinite(row["peer"]) and row["peer"] > 0
        assert (row["ratio_min"] or 0) <= row["ratio"] <= (row["ratio_max"] or math.inf)
        assert (row["met"] is None) == (row["target"] is None)
    by_name = {row["name"]: row for row in rows}
    stack = f"{SMALL.name}/B64/R2"
    assert by_name[f"naive/{stack}"]["target"] == 20
    assert by_name[f"ewc/{stack}"]["target"] == 50
    assert by_name[f"evaluation/{SMALL.name}/R2"]["target"] == 10
    assert {f"naive/{SMALL.name}/B64/R1", f"naive/{stack}/plain", "strategy-rate/l2"} <= set(names)
    assert 0 < by_name[f"share of peak/{stack}"]["ratio"] < 1


def test_threads_are_given_back(rows, data_dir):
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="stop"):
            measure(data_dir, TINY, on_progress=_stop)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def _stop(what: str) -> None:
    assert torch.get_num_threads() == 1
    raise RuntimeError("stop")


@pytest.mark.parametrize("given", ["json", "csv"])
def test_the_command_prints_the_rows(rows, monkeypatch, capsys, given):
    asked = []

    def fake(data_dir, effort, on_progress):
        asked.append((data_dir, effort.rounds))
        return rows

    monkeypatch.setattr("cl_bench.bench.measure", fake)
    assert main(["bench", "--quick", "--format", given, "--data-dir", "here"]) == 0
    assert asked == [(Path("here"), 3)]
    text = capsys.readouterr().out
    found = json.loads(text) if given == "json" else list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in found] == [row["name"] for row in rows]
    assert float(found[0]["ratio"]) == rows[0]["ratio"]
