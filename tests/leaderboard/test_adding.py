"""Adding to a board: whose entries change, what tuning cost, and that nothing is lost by it."""

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from cl_bench.cli import main
from cl_bench.errors import UserError
from cl_bench.leaderboard.board import add, build, rebuild
from cl_bench.results.store import RunStore
from tests.leaderboard.boards import files, make_record, matrix, problems, rows, write


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


def test_strategies_added_at_once_are_all_on_the_board(out, config, tmp_path):
    names = ["ewc", "joint", "naive", "si"]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: add(config, out, tmp_path / "boards", [name]), names))
    folder = tmp_path / "boards" / "three"
    assert problems(folder) == {}
    assert [path.name.split("-")[0] for path in sorted((folder / "entries").iterdir())] == names
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_the_command_names_seeds_that_have_gaps(config, tmp_path):
    store = RunStore(tmp_path / "runs")
    for strategy, seeds in {"naive": (5, 6), "ewc": (5, 7, 9)}.items():
        for seed in seeds:
            store.write(make_record(strategy, seed, matrix(0.7, seed)))
    page = (build(config, store.root, tmp_path / "boards").folder / "README.md").read_text()
    assert "--strategy naive --seeds 2 --set first_seed=5\n" in page
    assert "--strategy ewc --seeds 5,7,9\n" in page
