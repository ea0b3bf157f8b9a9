"""A board is made of its protocol's records alone, ranks by confidence and shows any change."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from cl_bench.cli import main
from cl_bench.errors import UserError
from cl_bench.leaderboard.board import build, verify
from cl_bench.leaderboard.entries import parse_entry, problem_of
from cl_bench.results.store import RunStore
from tests.support import make_record

PROTOCOL = """
description: "Three tasks."
benchmark: {name: permuted-mnist, tasks: 3}
training: {epochs: 1}
strategies: {naive: {}}
"""
NAN = float("nan")
COMMITTED = Path(__file__).resolve().parents[2] / "leaderboards"


def matrix(level, seed, wobble=0.001):
    """Accuracies that end at `level`, and a little elsewhere with each seed."""
    last = [level + wobble * ((seed * 7 + task) % 5 - 2) for task in range(3)]
    return [[0.95, 0.1, NAN], [0.92, 0.94, 0.1], last]


def write(store, strategy, level, seeds=5, **changes):
    for seed in range(seeds):
        store.write(make_record(strategy, seed, matrix(level, seed), **changes))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Records of one protocol: ewc and si equal, naive below, joint above but at 3 seeds only."""
    store = RunStore(tmp_path_factory.mktemp("records"))
    write(store, "ewc", 0.90, settings={"strength": 123.0, "form": "implicit"})
    for seed in range(5):  # as ewc on average, better at some seeds and worse at others
        shifted = matrix(0.90 + (-1) ** seed * 0.004, seed)
        store.write(make_record("si", seed, shifted))
    write(store, "naive", 0.70)
    write(store, "joint", 0.97, seeds=3)
    return store.root


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "three.yaml"
    path.write_text(PROTOCOL)
    return str(path)


@pytest.fixture(scope="module")
def built_folder(records, config, tmp_path_factory):
    return build(config, records, tmp_path_factory.mktemp("boards")).folder


@pytest.fixture
def out(records, tmp_path):
    return Path(shutil.copytree(records, tmp_path / "runs"))


@pytest.fixture
def folder(built_folder, tmp_path):
    return Path(shutil.copytree(built_folder, tmp_path / "three"))


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def problems(folder):
    return {check.subject: check.problem for check in verify(folder) if check.problem}


def test_a_board_ranks_by_confidence_and_lists_what_has_too_few_seeds(out, config, tmp_path):
    built = build(config, out, tmp_path / "boards", "On validation data.")
    assert built.folder == tmp_path / "boards" / "three"
    ranks = {row["strategy"]: (row["rank"], row["tied"]) for row in built.rows}
    assert ranks == {
        "ewc": (1, True),
        "si": (1, True),
        "naive": (3, False),
        "joint": (None, False),
    }
    assert [row["strategy"] for row in built.rows][2:] == ["naive", "joint"]

    table = json.loads((built.folder / "table.json").read_text())
    assert [row["strategy"] for row in table["entries"]] == [r["strategy"] for r in built.rows]
    assert len(table["pairs"]) == 3  # joint takes no part
    by_name = {row["strategy"]: row for row in table["entries"]}
    assert by_name["naive"]["average_accuracy"] == pytest.approx(0.7, abs=0.002)
    assert by_name["naive"]["learning_accuracy"] == pytest.approx((0.95 + 0.94 + 0.7) / 3, abs=2e-3)
    # best of .95 and .92 less .7, best of .1 and .94 less .7, over two tasks
    assert by_name["naive"]["forgetting"] == pytest.approx((0.25 + 0.24) / 2, abs=0.002)
    assert by_name["ewc"]["gradient_passes_of_naive"] == 1
    rows = list(csv.DictReader((built.folder / "table.csv").read_text().splitlines()))
    assert [row["rank"] for row in rows] == ["1", "1", "3", ""]

    page = (built.folder / "README.md").read_text()
    assert re.search(r"\| =1 \| ewc \(strength=123\) \| 5 \| 0\.90\d\d \[0\.\d{4}, ", page)
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
    assert run["data"] == {"name": "mnist", "sha256": "0" * 64}
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
    built = build(config, store.root, tmp_path / "boards")
    assert sorted(row["label"] for row in built.rows) == [
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
    assert {row["strategy"]: row["seeds"] for row in built.rows}["naive"] == 4


def test_committed_entries_have_the_ids_of_their_configurations():
    entries = sorted(COMMITTED.glob("*/entries/*.json"))
    assert entries
    for path in entries:
        assert problem_of(parse_entry(path.read_bytes())) is None, path


def test_an_untouched_board_verifies(folder):
    checks = verify(folder)
    assert problems(folder) == {}
    assert len(checks) == 4 + 1 + 3


def test_any_changed_digit_of_an_entry_is_caught(folder):
    """Every 40th digit of the file, wherever it stands: accuracies, ids, costs, provenance."""
    path = next((folder / "entries").glob("ewc-*"))
    whole = path.read_bytes()
    places = [i for i, byte in enumerate(whole) if chr(byte).isdigit()][::40]
    assert len(places) > 20
    for place in places:
        changed = str((int(chr(whole[place])) + 1) % 10).encode()
        path.write_bytes(whole[:place] + changed + whole[place + 1 :])
        assert f"entries/{path.name}" in problems(folder)
    path.write_bytes(whole)
    assert problems(folder) == {}


def test_a_changed_entry_with_a_forged_checksum_shows_in_the_tables(folder):
    from cl_bench.leaderboard.entries import checksum

    path = next((folder / "entries").glob("naive-*"))
    old = path.read_bytes()
    row = re.search(rb"\[0\.69\d*, 0\.\d+, 0\.\d+\]", old)
    path.write_bytes(old.replace(row[0], b"[0.99, 0.99, 0.99]"))
    table = folder / "table.json"
    forged = table.read_text().replace(checksum(old), checksum(path.read_bytes()))
    table.write_text(forged)
    assert set(problems(folder)) == {"README.md", "table.csv", "table.json"}


@pytest.mark.parametrize("name", ["README.md", "table.csv", "table.json"])
def test_a_changed_digit_of_a_table_is_caught_with_its_line(folder, name):
    def changed(found):
        return f"{found[1]}{9 - int(found[2])}"

    path = folder / name
    lines = path.read_text().split("\n")
    number = next(i for i, line in enumerate(lines) if re.search(r"0\.\d{4}", line))
    lines[number] = re.sub(r"(0\.\d{3})(\d)", changed, lines[number], count=1)
    path.write_text("\n".join(lines))
    found = problems(folder)
    assert list(found) == [name]
    assert found[name].startswith(f"line {number + 1} is ")


def test_missing_strange_and_renamed_files_are_caught(folder):
    path = next((folder / "entries").glob("si-*"))
    moved = path.rename(path.with_name("si-0000000000000000.json"))
    assert f"entries/{path.name}" in problems(folder)
    assert problems(folder)[f"entries/{moved.name}"] == f"its content is that of {path.name}"
    moved.unlink()
    assert problems(folder)[f"entries/{path.name}"] == "it is missing"
    (folder / "entries" / "notes.txt").write_text("x")
    assert "cannot be read" in problems(folder)["entries/notes.txt"]
    (folder / "table.json").write_text("{")
    assert problems(folder)


def test_the_commands_print_tables_and_exit_codes(out, config, tmp_path, capsys):
    words = ["--config", config, "--out", str(out), "--to", str(tmp_path / "boards")]
    assert main(["leaderboard", "build", *words, "--format=json"]) == 0
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert [row["rank"] for row in rows] == [1, 1, 3, None]
    board = tmp_path / "boards" / "three"
    assert f"written: {board} (4 configurations)" in printed.err
    assert main(["leaderboard", "build", *words]) == 0
    assert "=1" in capsys.readouterr().out

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
        (["leaderboard", "verfy"], "verify"),
    ]
    for words, message in mistakes:
        assert main(words) == 2, words
        printed = capsys.readouterr()
        assert printed.out == ""
        assert message in printed.err
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
