"""`tune` as a user meets it: tables, warnings, what to type next, and mistakes told."""

import hashlib
import json
import subprocess
import sys
import time

import pytest

from cl_bench import benchmarks
from cl_bench.cli import main
from cl_bench.planning import reading
from cl_bench.planning.packing import make_plan
from cl_bench.results.store import RunStore
from tests.tuning.support import SMALL

ASSIGNMENTS = [*SMALL, "l2.exploration_steps=0"]
WORDS = [
    "tune",
    "--strategy=l2,naive",
    "--trials=4",
    "--seeds=1",
    "--workers=1",
    *(f"--set={each}" for each in ASSIGNMENTS),
]


def test_a_tuning_is_done_once_shown_each_time_and_leads_on_to_a_run(tmp_path, capsys):
    picture = tmp_path / "curve.svg"
    words = [*WORDS, "--out", str(tmp_path), "--format=json", "--picture", str(picture)]
    words += ["--range", "l2.strength=[10,1000]"]
    assert main(words) == 0
    first = capsys.readouterr()
    tables = json.loads(first.out)
    l2, naive = tables["chosen"]
    assert (l2["strategy"], l2["trials"], l2["default_mean"] > 0) == ("l2", 4, True)
    assert (naive["trials"], naive["chosen"]) == (1, {})
    assert {row["setting"] for row in tables["sensitivity"]} == {"strength"}
    assert "training 5 runs in 2 stacks on 1 cpu worker" in first.err
    assert l2["edges"] == {"strength": "lowest"}, "weaker than any of the range is better here"
    assert "warning: l2: strength = 0.03 is the lowest value tried" in first.err
    assert "a better one may lie beyond: widen the range" in first.err
    text = picture.read_text()
    assert all(part in text for part in ("l2", "strength", "average accuracy", "chosen"))

    assert main(words) == 0
    second = capsys.readouterr()
    assert json.loads(second.out) == tables
    assert "nothing to tune" in second.err
    assert "training 5 runs" not in second.err
    assert picture.read_text() == text

    (line,) = [x for x in second.err.splitlines() if x.startswith("next: ")]
    following = line.removeprefix("next: python -m cl_bench run --config ").split()[0]
    made = make_plan(reading.read(following), benchmarks.get)
    assert {config.strategy.name for config in made.configs} == {"l2", "naive"}
    (line,) = [x for x in second.err.splitlines() if x.startswith("l2: ")]
    assert line.endswith(f"--set l2.strength=0.03 --out {tmp_path}")


def test_a_range_is_to_be_widened_only_where_its_end_was_reached(tmp_path, capsys):
    """The default lies in the middle and is the weakest tried: there is room within the range."""
    words = [*WORDS[:1], "--strategy=l2", "--trials=2", *WORDS[3:], "--out", str(tmp_path)]
    words += ["--range", "l2.strength=[1e-9,1e6]"]
    assert main(words) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(told) == 1
    assert "value tried, in a range of 1e-09 to 1e+06; between it and the range's end" in told[0]
    assert "give more --trials" in told[0]
    assert "widen" not in told[0]


def test_a_leaderboard_shows_what_each_choice_on_it_cost(tmp_path, capsys):
    config, out = tmp_path / "small.yaml", tmp_path / "runs"
    (read,) = reading.read(strategies=["l2", "naive"], assignments=ASSIGNMENTS)
    config.write_text(read.model_dump_json(exclude_none=True))
    assert main(["tune", "--config", str(config), *WORDS[2:5], "--out", str(out)]) == 0
    records = {path.name.split("-")[0]: path for path in out.glob("tuning/*/*.json")}
    (tuned,) = out.glob("tuning/*/tuned.yaml")
    assert main(["run", "--config", str(tuned), "--seeds=2", "--workers=1", f"--out={out}"]) == 0
    board = ["leaderboard", "add", "--config", str(config), f"--out={out}", "--format=json"]
    for name, path in records.items():
        capsys.readouterr()
        words = [f"--strategy={name}", f"--tuning={path}", f"--to={tmp_path}"]
        assert main([*board, *words]) == 0
    rows = {row["strategy"]: row["budget"] for row in json.loads(capsys.readouterr().out)}
    words = ["--strategy=l2,naive", f"--tuning={tuned.parent}", f"--to={tmp_path / 'both'}"]
    assert main([*board, *words]) == 0
    again = {row["strategy"]: row["budget"] for row in json.loads(capsys.readouterr().out)}
    assert again == rows
    assert {name: (found["trials"], found["seeds"]) for name, found in rows.items()} == {
        "l2": (4, 1),
        "naive": (1, 1),
    }
    assert rows["l2"]["sha256"] == hashlib.sha256(records["l2"].read_bytes()).hexdigest()
    assert main(["leaderboard", "verify", str(tmp_path / "small")]) == 0


@pytest.mark.slow
def test_a_command_killed_outright_goes_on_from_what_is_stored(tmp_path, capsys):
    words = [*WORDS, "--out", str(tmp_path), "--set=training.epochs=60"]
    command = [sys.executable, "-m", "cl_bench", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store, deadline = RunStore(tmp_path / "tuning" / "runs"), time.monotonic() + 60
    while not store.paths():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in store.paths()}
    assert 1 <= len(kept) < 5
    assert main(words) == 0
    assert f"{len(kept)} run" in capsys.readouterr().err.partition("; ")[2]
    assert len(store.paths()) == 5
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_table_for_people_says_what_was_tried(tmp_path, capsys):
    words = [*WORDS[:1], "--strategy=naive", "--seeds=1", "--workers=1"]
    words += [*(f"--set={each}" for each in SMALL), "--out", str(tmp_path)]
    assert main(words) == 0
    assert "nothing to tune" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--first-seed=3"], "tuning seeds start at 1000"),
        (["--set=seeds=1001"], "seed 1000 would be tuned with and reported"),
        (["--method=random"], "unknown method 'random'"),
        (["--trials=0"], "greater than or equal to 1"),
        (["--validation-fraction=1"], "above 0 and below 1"),
        (["--range=l2.strength=[5]"], "such as ewc.strength=[1,1000]"),
        (["--range=ewc.strength=[1,5]"], "unknown strategy in --range 'ewc'"),
        (["--set=l2.strength=[1,5]"], "tune draws its own values"),
        (["--set=training.epochs=[1,2]"], "these are 2 protocols"),
        (["--metric=intransigence"], "measured against joint training"),
        (["--picture=x.pdf"], "ends in .svg or .png"),
        (["--data-dir=/nowhere"], "there is no such folder"),
        (["--strategy=ewcc"], "did you mean"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(extra, message, tmp_path, capsys):
    assert main([*WORDS, "--out", str(tmp_path), *extra]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out
