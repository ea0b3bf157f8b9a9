"""A board is made of its protocol's records alone, ranks by confidence and shows any change."""

import csv
import hashlib
import json
import re
from pathlib import Path

import pytest

from cl_bench.cli import main
from cl_bench.config import FIRST_TUNING_SEED
from cl_bench.errors import UserError
from cl_bench.leaderboard.board import add, build, rebuild
from cl_bench.leaderboard.entries import parse_entry, problem_of
from cl_bench.leaderboard.verification import verify
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


def test_an_untouched_board_verifies(folder):
    checks = verify(folder)
    assert problems(folder) == {}
    assert len(checks) == 4 + 1 + 1 + 3


def test_a_changed_entry_with_a_forged_checksum_shows_in_the_tables(folder):
    from cl_bench.leaderboard.entries import checksum

    path = next((folder / "entries").glob("naive-*"))
    old = path.read_bytes()
    row = re.search(rb"\[0\.69\d*, 0\.\d+, 0\.\d+\]", old)
    assert row
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


@pytest.fixture
def search(tmp_path):
    """The file of a search that chose the settings of ewc's records."""
    chosen = make_record("ewc", settings={"strength": 123.0, "form": "implicit"}).config.group_id
    terms = {"trials": 16, "seeds": 3, "metric": "average_accuracy", "method": "sobol"}
    path = tmp_path / "ewc.json"
    path.write_text(json.dumps({"terms": terms, "group_id": chosen}))
    return path


def test_add_replaces_the_entries_of_its_strategies_and_leaves_the_others(
    out, config, folder, search, tmp_path
):
    before = files(folder)
    store = RunStore(tmp_path / "new")
    write(store, "ewc", 0.95, settings={"strength": 7.0})
    write(store, "mas", 0.99)  # is not asked for
    built = add(config, store.root, folder.parent, ["ewc"], "Guessed.")
    assert built.removed == (f"ewc-{make_ewc().group_id}.json",)
    after = files(folder)
    assert {name for name in before if after.get(name) == before[name]} == {
        name for name in before if name.startswith("entries/") and "ewc" not in name
    }
    assert problems(folder) == {}
    labels = [row["label"] for row in rows(built)]
    assert labels == ["ewc (strength=7)", "si", "naive", "joint"]
    page = after["README.md"].decode()
    assert "ewc (strength=7): Guessed." in page
    assert "leaderboard add --config ./three.yaml --strategy ewc --tuning-note Guessed." in page

    add(config, out, folder.parent, ["ewc"])
    assert files(folder) == before


def make_ewc():
    return make_record("ewc", settings={"strength": 123.0, "form": "implicit"}).config


def test_a_board_is_made_by_adding_and_shows_what_tuning_cost(out, config, search, tmp_path):
    add(config, out, tmp_path, ["naive"])
    built = add(config, out, tmp_path, ["ewc", "si"], tuning=search)
    budgets = {row["strategy"]: row["budget"] for row in rows(built)}
    assert budgets["ewc"] == {
        **json.loads(search.read_text())["terms"],
        "sha256": hashlib.sha256(search.read_bytes()).hexdigest(),
    }
    assert budgets["naive"] is budgets["si"] is None  # si is not what this search chose
    page = (built.folder / "README.md").read_text()
    assert re.search(r"\| ewc \(strength=123\) .*\| 16 trials × 3 seeds \|", page)
    assert "Tuned: 16 trials × 3 seeds, the best average_accuracy by sobol" in page
    assert re.search(r"leaderboard add .*--strategy ewc --tuning leaderboards/tuning/three", page)
    assert "budget" not in next((built.folder / "entries").glob("naive-*")).read_text()
    assert problems(built.folder) == {}
    kept = built.folder.parent / "tuning" / "three" / search.name
    assert kept.read_bytes() == search.read_bytes()
    kept.write_bytes(kept.read_bytes().replace(b"16", b"17", 1))
    (problem,) = problems(built.folder).values()
    assert "names a search that is not in" in problem
    assert "Tuned" not in (build(config, out, tmp_path).folder / "README.md").read_text()


def test_what_cannot_be_added_is_refused_with_the_reason(out, config, folder, search, tmp_path):
    before, store = files(folder), RunStore(tmp_path / "new")
    for seed in range(2):
        record = make_record("mas", seed)
        record.stream_id = "another"
        store.write(record)
        record = make_record("swa", seed)
        record.data = {"name": "mnist", "checksum": "elsewhere"}
        store.write(record)
    write(store, "l2", 0.9)
    search.write_text(search.read_text().replace('"trials": 16', '"trials": 0'))
    for strategies, tuning, message in [
        (["mas"], None, "seed 0: another task stream than the others (another, not"),
        (["swa"], None, "seed 0: other data than"),
        (["ewc"], None, "unknown strategy of .*; known: l2, mas, swa"),
        (["l2"], tmp_path / "none.json", "none.json: No such file"),
        (["l2"], search, "trials = 0: Input should be greater than or equal to 1"),
    ]:
        with pytest.raises(UserError, match=re.escape(message).replace(r"\.\*", ".*")):
            add(config, store.root, folder.parent, strategies, tuning=tuning)
    search.write_text(search.read_text().replace('"trials": 0', '"trials": 16'))
    with pytest.raises(UserError, match=r"it chose configuration \w+, of which there are no"):
        add(config, store.root, folder.parent, ["l2"], tuning=search)
    assert files(folder) == before
    path = next((folder / "entries").glob("si-*"))
    path.write_bytes(path.read_bytes().replace(b"0.95", b"0.96", 1))
    with pytest.raises(UserError, match="is damaged: entries/si-"):
        add(config, store.root, folder.parent, ["l2"])


def test_tables_are_made_again_from_the_entries_that_they_list(folder):
    before = files(folder)
    (folder / "README.md").unlink()
    table = json.loads((folder / "table.json").read_text())
    table["schema_version"], table["pairs"] = 0, []
    (folder / "table.json").write_text(json.dumps(table))
    rebuild(folder)
    assert files(folder) == before
    next((folder / "entries").glob("si-*")).unlink()
    with pytest.raises(UserError, match=r"is damaged: entries/si-\w+\.json: it is missing"):
        rebuild(folder)


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


def test_entries_that_no_record_gives_are_not_lost_by_building(out, config, folder, tmp_path):
    before = files(folder)
    stranger = folder / "entries" / "someone-elses.json"
    stranger.write_text("{}")
    store = RunStore(tmp_path / "some")
    write(store, "naive", 0.7)
    words = ["leaderboard", "build", "--config", config, "--out", str(store.root)]
    assert main([*words, "--to", str(folder.parent)]) == 2
    assert {name: data for name, data in files(folder).items() if name in before} == before
    assert main([*words, "--to", str(folder.parent), "--replace"]) == 0
    assert [path.name.split("-")[0] for path in sorted((folder / "entries").iterdir())] == [
        "naive",
        "someone",
    ]
    assert stranger.read_text() == "{}"


def test_files_that_no_command_made_are_not_overwritten(out, config, folder, tmp_path, capsys):
    mine = tmp_path / "boards" / "three" / "README.md"
    mine.parent.mkdir(parents=True)
    mine.write_text("# Mine")
    page = tmp_path / "page.md"
    page.write_text("<!-- Generated by hand -->")
    build_ = ["leaderboard", "build", "--config", config, "--out", str(out)]
    for words in (
        [*build_, "--to", str(tmp_path / "boards")],
        ["leaderboard", "versus", "ewc", f"--to={folder.parent}", f"--page={page}"],
    ):
        assert main(words) == 2
        printed = capsys.readouterr()
        assert "was not made by this command and would be overwritten" in printed.err
        assert printed.err.count("\n") == 1
        assert printed.out == ""
    assert mine.read_text() == "# Mine"
    assert [path.name for path in mine.parent.iterdir()] == ["README.md"]
