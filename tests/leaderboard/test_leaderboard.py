"""A board is made of its protocol's records alone, ranks by confidence and shows any change."""

import csv
import json
import re
from pathlib import Path

import pytest

from cl_bench.cli import main
from cl_bench.config import FIRST_TUNING_SEED
from cl_bench.errors import UserError
from cl_bench.leaderboard.board import build
from cl_bench.leaderboard.entries import parse_entry, problem_of
from cl_bench.results.store import RunStore
from tests.leaderboard.boards import PROTOCOL, files, make_record, matrix, problems, rows, write

COMMITTED = Path(__file__).resolve().parents[2] / "leaderboards"


def test_a_board_ranks_by_confidence_and_lists_what_has_too_few_seeds(out, config, tmp_path):
    built = build(config, out, tmp_path / "boards", "On validation data.")
    assert built.folder == tmp_path / "boards" / "three"
    ranks = {row["strategy"]: (row["rank"], row["rank_last"], row["tied"]) for row in rows(built)}
    assert ranks == {
        "ewc": (1, 2, True),
        "si": (1, 2, True),
        "naive": (3, 3, False),
        "joint": (None, None, False),
    }
    assert [row["strategy"] for row in rows(built)][2:] == ["naive", "joint"]

    table = json.loads((built.folder / "table.json").read_text())
    assert [row["strategy"] for row in table["entries"]] == [r["strategy"] for r in rows(built)]
    assert len(table["pairs"]) == 3  # joint takes no part
    by_name = {row["strategy"]: row for row in table["entries"]}
    assert by_name["naive"]["average_accuracy"] == pytest.approx(0.7, abs=0.002)
    assert by_name["naive"]["learning_accuracy"] == pytest.approx((0.95 + 0.94 + 0.7) / 3, abs=2e-3)
    # best of .95 and .92 less .7, best of .1 and .94 less .7, over two tasks
    assert by_name["naive"]["forgetting"] == pytest.approx((0.25 + 0.24) / 2, abs=0.002)
    assert by_name["ewc"]["gradient_passes_of_naive"] == 1
    table = list(csv.DictReader((built.folder / "table.csv").read_text().splitlines()))
    assert [row["rank"] for row in table] == ["1", "1", "3", ""]

    page = (built.folder / "README.md").read_text()
    assert re.search(r"\| 1–2 \| ewc \(strength=123\) \| 5 \| 0\.90\d\d \[0\.\d{4}, ", page)
    assert "| not ranked | joint | 3 |" in page
    assert "On validation data." in page
    assert "3 tasks, domain-incremental" in page
    assert "--strategy ewc --seeds 5 --set ewc.strength=123\n" in page
    assert "leaderboard build --config ./three.yaml --tuning-note 'On validation data.'" in page


def test_the_same_records_give_the_same_bytes_wherever_they_lie(out, config, tmp_path):
    first = build(config, out, tmp_path / "a")
    again = build(config, out, tmp_path / "a")
    assert again.removed == ()
    moved = out.rename(tmp_path / "moved")
    second = build(config, moved, tmp_path / "b")
    assert files(first.folder) == files(second.folder)
    assert len(files(first.folder)) == 3 + 4
    assert str(tmp_path) not in "".join(d.decode() for d in files(first.folder).values())


def test_entries_hold_every_seed_in_full_precision(out, config, tmp_path):
    third = 1 / 3
    level = [[0.95], [0.92, 0.94], [third, 0.1 + 0.2, 0.93]]
    RunStore(out).write(make_record("mas", 0, level, initial=[0.1, 0.11, 0.12]))
    folder = build(config, out, tmp_path / "boards").folder
    (path,) = (folder / "entries").glob("mas-*.json")
    entry = json.loads(path.read_text())
    (run,) = entry["runs"]
    record = make_record("mas", 0, level)
    assert run["accuracy"] == [
        [0.1, 0.11, 0.12],
        [0.95, None, None],
        [0.92, 0.94, None],
        [third, 0.1 + 0.2, 0.93],
    ]
    assert (entry["group_id"], run["run_id"]) == (record.config.group_id, record.config.run_id)
    assert run["stream_id"] == record.stream_id
    assert run["weights_sha256"] == record.weights_sha256
    assert run["data"] == {k: v for k, v in record.data.items() if k != "source"}
    assert run["provenance"] == record.provenance
    assert run["cost"] == record.cost


def test_other_protocols_and_the_small_stand_in_are_left_out(out, config, tmp_path):
    before = build(config, out, tmp_path / "a")
    store = RunStore(out)
    write(store, "mas", 0.99, benchmark={"name": "permuted-mnist-5k"})
    write(store, "mas", 0.99, training={"epochs": 2})
    assert files(build(config, out, tmp_path / "b").folder) == files(before.folder)

    stand_in = make_record("mas", 0)
    stand_in.data = {**stand_in.data, "name": "mnist-5k"}
    store.write(stand_in)
    built = build(config, out, tmp_path / "c")
    assert files(built.folder) == files(before.folder)
    assert "was trained on other data (mnist-5k)" in built.warnings[0]


def test_a_grid_is_an_entry_a_point_and_entries_without_records_go(out, config, tmp_path):
    store = RunStore(tmp_path / "grid")
    for strength in (10.0, 1e-5):
        write(store, "ewc", 0.9, settings={"strength": strength})
    build(config, out, tmp_path / "boards")
    with pytest.raises(UserError, match=r"4 entries without records in .*give --replace"):
        build(config, store.root, tmp_path / "boards")
    built = build(config, store.root, tmp_path / "boards", replace=True)
    assert sorted(row["label"] for row in rows(built)) == [
        "ewc (strength=10)",
        "ewc (strength=1e-05)",
    ]
    assert len(built.removed) == 4
    assert problems(built.folder) == {}


def test_records_that_disagree_on_a_seed_s_task_stream_are_refused(out, config, tmp_path):
    record = make_record("mas", 0)
    record.stream_id = "another"
    RunStore(out).write(record)
    with pytest.raises(UserError, match="another task stream"):
        build(config, out, tmp_path / "boards")


def test_a_damaged_record_is_left_out_with_a_warning(out, config, tmp_path):
    damaged = next(out.glob("naive-s4-*")) / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    built = build(config, out, tmp_path / "boards")
    assert "weights.safetensors is damaged" in built.warnings[0]
    assert {row["strategy"]: row["seeds"] for row in rows(built)}["naive"] == 4


def test_committed_entries_have_the_ids_of_their_configurations():
    entries = sorted(COMMITTED.glob("*/entries/*.json"))
    assert entries
    for path in entries:
        assert problem_of(parse_entry(path.read_bytes())) is None, path


def test_the_commands_print_tables_and_exit_codes(out, config, tmp_path, capsys):
    words = ["--config", config, "--out", str(out), "--to", str(tmp_path / "boards")]
    assert main(["leaderboard", "build", *words, "--format=json"]) == 0
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert [row["rank"] for row in rows] == [1, 1, 3, None]
    board = tmp_path / "boards" / "three"
    assert f"written: {board} (4 configurations)" in printed.err
    assert main(["leaderboard", "build", *words]) == 0
    assert "1–2" in capsys.readouterr().out

    assert main(["leaderboard", "verify", str(board)]) == 0
    assert "to the byte" in capsys.readouterr().err
    path = board / "table.csv"
    path.write_text(path.read_text().replace(",naive,", ",maive,"))
    assert main(["leaderboard", "verify", str(board), "--format=csv"]) == 1
    printed = capsys.readouterr()
    rows = {row["file"]: row for row in csv.DictReader(printed.out.splitlines())}
    assert (rows["table.csv"]["agrees"], rows["README.md"]["agrees"]) == ("False", "True")
    assert "first: table.csv: line 4 is" in printed.err


def test_mistakes_are_one_line_and_exit_code_2(out, config, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text(PROTOCOL.replace("epochs: 1", "epochs: 3"))
    grid = tmp_path / "grid.yaml"
    grid.write_text(PROTOCOL.replace("epochs: 1", "epochs: [1, 2]"))
    build_ = ["leaderboard", "build", "--out", str(out), "--config"]
    mistakes = [
        ([*build_, "permuted-mnist-6"], "unknown config 'permuted-mnist-6'; did you mean"),
        ([*build_, str(other)], "(18 runs: training.epochs=1.0)"),
        ([*build_, str(grid)], "is 2 protocols"),
        ([*build_, config, "--to=/dev/null/x"], "cannot write the leaderboard to /dev/null/x"),
        ([*build_[:2], "--out=/not/there", "--config", config], "no folder of runs at /not/there"),
        (["leaderboard", "verify", str(tmp_path)], "is not a leaderboard"),
        (["leaderboard", "verify", str(tmp_path), "--seeds=1"], "--seeds 1 is of --rerun"),
        (["leaderboard", "verify", str(tmp_path), "--data-dir=/not/there"], "no such folder"),
        (["leaderboard", "rebuild", str(tmp_path)], "is not a leaderboard"),
        (["leaderboard", "add", *build_[2:], config], "Missing option '--strategy'"),
        (["leaderboard", "add", *build_[2:], config, "--strategy=sj"], "did you mean si"),
        (["leaderboard", "add", *build_[2:], config, "--strategy=si,"], "a name is empty"),
        (["leaderboard", "add", *build_[2:], config, "--strategy="], "--strategy is empty"),
        (["leaderboard", "versus", "ewc", "--others=", f"--to={tmp_path}"], "--others is empty"),
        (["leaderboard", "verfy"], "verify"),
    ]
    for words, message in mistakes:
        assert main(words) == 2, words
        printed = capsys.readouterr()
        assert printed.out == ""
        assert message in printed.err
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1


def test_places_are_all_that_the_shown_differences_leave(config, tmp_path):
    """mas is shown to be above naive; si, which wobbles between them, is not told from either."""
    store = RunStore(tmp_path / "runs")
    write(store, "mas", 0.903)
    write(store, "naive", 0.900)
    for seed in range(5):
        store.write(make_record("si", seed, matrix(0.9015 + (-1) ** seed * 0.01, seed)))
    built = build(config, store.root, tmp_path)
    places = {row["strategy"]: (row["rank"], row["rank_last"]) for row in rows(built)}
    assert places == {"mas": (1, 2), "si": (1, 3), "naive": (2, 3)}
    assert [row["strategy"] for row in rows(built)] == ["mas", "si", "naive"]
    page = (built.folder / "README.md").read_text()
    assert re.findall(r"^\| (\d\S*) \| (\w+) ", page, re.M) == [
        ("1–2", "mas"),
        ("1–3", "si"),
        ("2–3", "naive"),
    ]


def test_seeds_that_choose_settings_do_not_report(out, config, folder, tmp_path):
    RunStore(out).write(make_record("si", FIRST_TUNING_SEED, matrix(0.99, 0)))
    built = build(config, out, tmp_path / "boards")
    assert "its seed is one for choosing settings" in built.warnings[0]
    assert {row["strategy"]: row["seeds"] for row in rows(built)}["si"] == 5
    path = next((folder / "entries").glob("joint-*"))
    path.write_text(path.read_text().replace('"seed": 2,', f'"seed": {FIRST_TUNING_SEED},'))
    assert problems(folder)[f"entries/{path.name}"].startswith("seed 1000 is one for choosing")


def test_seeds_that_several_versions_of_a_strategy_trained_are_on_no_board(out, config, tmp_path):
    for seed in range(5):
        mixed = make_record("lwf", seed, matrix(0.99, seed))
        mixed.provenance["code"] = "ab"[seed % 2] * 64
        RunStore(out).write(mixed)
    built = build(config, out, tmp_path / "boards")
    assert "lwf" not in {row.strategy for row in built.standings.rows}
    assert sum("several versions of the strategy's code" in line for line in built.warnings) == 1


def test_a_strategy_is_shown_against_others_on_every_board(folder, capsys, tmp_path):
    page = tmp_path / "ewc.md"
    words = ["leaderboard", "versus", "ewc", f"--to={folder.parent}", "--format=json"]
    assert main([*words, "--others=naive,si,joint", f"--page={page}"]) == 0
    rows = {row["against"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {"naive", "si"}  # joint has too few seeds to be compared
    assert rows["naive"]["verdict"] == "higher"
    assert rows["naive"]["difference"] == pytest.approx(0.2)
    assert rows["naive"]["low"] <= rows["naive"]["difference"] <= rows["naive"]["high"]
    assert rows["si"]["verdict"] == "no difference shown"
    assert "higher in 1, lower in 0, and in 1 no difference" in page.read_text()
    assert main(["leaderboard", "versus", "naive", f"--to={folder.parent}", "--format=json"]) == 0
    back = {row["against"]: row for row in json.loads(capsys.readouterr().out)}["ewc"]
    assert back["verdict"] == "lower"
    assert (back["low"], back["high"]) == (-rows["naive"]["high"], -rows["naive"]["low"])
    for wrong, message in [("mas", "unknown strategy on the boards"), ("ewc", "no leaderboard in")]:
        where = folder.parent if wrong == "mas" else tmp_path / "none"
        assert main(["leaderboard", "versus", wrong, f"--to={where}"]) == 2
        assert message in capsys.readouterr().err


def test_a_diverged_run_is_never_ranked(out, config, tmp_path):
    store = RunStore(out)
    for seed in range(5):
        record = make_record("mas", seed, matrix(0.99, seed))
        if seed in (1, 4):
            record.accuracy.loc[record.accuracy["after_task"] == 2, "loss"] = float("nan")
        store.write(record)
    built = build(config, out, tmp_path / "boards")
    (mas,) = [row for row in rows(built) if row["strategy"] == "mas"]
    assert (mas["rank"], mas["not_ranked"]) == (None, "2 of 5 seeds diverged")
    assert mas["average_accuracy"] == pytest.approx(0.99, abs=0.002)  # of the three others
    page = (built.folder / "README.md").read_text()
    assert "| not ranked | mas | 5 |" in page
    assert "Not ranked (2 of 5 seeds diverged): mas." in page
    assert "Not ranked (fewer than 5 seeds): joint." in page
    table = json.loads((built.folder / "table.json").read_text())
    assert len(table["pairs"]) == 3  # neither mas nor joint takes part
    assert problems(built.folder) == {}
