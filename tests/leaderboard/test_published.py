"""Published tables: described fully, made again by one command, and judged from the matrices."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from cl_bench.cli import main
from cl_bench.leaderboard.entries import parse_entry
from cl_bench.leaderboard.published import tables
from cl_bench.planning import finding

TABLE = """
title: Two split tasks, made small
source: "nobody (a paper that is not)"
spread: standard deviation over 3 runs
seeds: 2
rows:
  task-IL:
    config: split-mnist-online-task
    set: {benchmark.tasks: 2, benchmark.train_samples: 100}
  domain-IL:
    config: split-mnist-online-domain
    set: {benchmark.tasks: 2, benchmark.train_samples: 100}
methods:
  SGD: {strategy: naive}
  EWC: {strategy: ewc, set: {ewc.exploration_steps: 0}, departs: the Fisher is another.}
cells:
  task-IL:
    SGD: {published: 55.5, spread: 45}
    EWC: {published: 1.0, set: {ewc.strength: 5}, why: the figure was made up.}
  domain-IL:
    SGD: {published: 50.0, spread: 40}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table of the user's own, made again with two seeds."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "small.yaml").write_text(TABLE)
    assert run(folder) == 0
    return folder


def run(folder: Path, *words: str) -> int:
    """Run the command on the folder's table."""
    where = [f"--out={folder / 'runs'}", f"--to={folder / 'page'}"]
    return main(["reproduce", str(folder / "small.yaml"), *where, "--workers=1", *words])


def entries(folder: Path):
    files = sorted((folder / "page" / "small").glob("*.json"))
    return {path: parse_entry(path.read_bytes()) for path in files}


@pytest.mark.parametrize("name", tables.names())
def test_every_published_table_resolves_to_one_configuration_a_cell(name):
    _, table = tables.read(name)
    cells = tables.cells_of(name, table)
    assert len({cell.name for cell in cells}) == len(cells) > 1
    for cell in cells:
        assert len(cell.protocol.strategies) == 1


def test_the_committed_page_is_what_its_entries_give(capsys):
    to = finding.folder("configs").parent / "leaderboards" / "published"
    assert main(["reproduce", "--verify", f"--to={to}"]) == 0
    assert "agrees" in capsys.readouterr().err


def test_a_cell_is_judged_by_its_spread_and_a_miss_is_explained(made):
    page = (made / "page" / "README.md").read_text()
    assert "2 of 3 published cells are inside" in page
    assert "the figure was made up." in page
    assert "EWC: the Fisher is another." in page
    with (made / "page" / "table.csv").open() as file:
        rows = {(row["row"], row["method"]): row for row in csv.DictReader(file)}
    assert rows["task-IL", "SGD"]["verdict"] == "inside"
    assert rows["task-IL", "EWC"]["verdict"] == "outside"
    assert rows["task-IL", "EWC"]["allowed"] == "1.0"  # no spread was published
    for entry in entries(made).values():
        last = [100 * sum(run.accuracy[-1]) / 2 for run in entry.runs]
        row = next(r for r in rows.values() if r["group_id"] == entry.group_id)
        assert float(row["ours"]) == pytest.approx(sum(last) / 2, abs=1e-4)


def test_a_cell_changes_its_row_and_method(made):
    (ewc,) = [e for e in entries(made).values() if e.strategy == "ewc"]
    assert ewc.config["strategy"]["settings"]["strength"] == 5
    assert ewc.config["strategy"]["settings"]["exploration_steps"] == 0
    assert ewc.config["benchmark"]["train_samples"] == 100
    assert ewc.config["benchmark"]["scenario"] == "task"


def test_seeds_are_added_and_those_there_stay(made):
    before = entries(made)
    assert run(made, "--cells=domain-IL", "--seeds=3") == 0
    after = entries(made)
    (grown,) = [path for path in after if len(after[path].runs) == 3]
    assert after[grown].runs[:2] == before[grown].runs
    assert run(made, "--cells=domain-IL", "--seeds=1") == 0
    assert entries(made) == after


@pytest.mark.parametrize("digit", ["accuracy", "page"])
def test_what_was_changed_by_hand_is_found(made, tmp_path, digit, capsys):
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    assert run(folder, "--verify") == 0
    path = next(iter(entries(folder)))
    if digit == "accuracy":
        content = json.loads(path.read_text())
        content["runs"][0]["accuracy"][0][0] = 0.5  # of the untrained network
        path.write_text(json.dumps(content))
    else:
        page = folder / "page" / "README.md"
        page.write_text(page.read_text().replace("55.50", "55.51"))
    capsys.readouterr()
    assert run(folder, "--verify") == 1
    assert capsys.readouterr().err
    assert run(folder, "--rebuild") == 0
    assert run(folder, "--verify") == 0


def test_entries_of_an_edited_cell_stay_until_they_are_asked_away(made, tmp_path, capsys):
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    before = entries(folder)
    table = folder / "small.yaml"
    table.write_text(table.read_text().replace("{ewc.strength: 5}", "{ewc.strength: 6}"))
    others = [
        folder / "page" / "small" / name
        for name in ("package.json", "data-0123456789abcdef.json", "notes.md", ".writing-notes")
    ]
    left = folder / "page" / "small" / f".writing-00000000-1-{'0' * 32}"  # of a killed command
    left.write_text("{")
    for path in others:
        path.write_text('{"another": "program\'s"}')
    for path in (left, others[-1]):
        os.utime(path, (0, 0))
    copied = next(iter(before)).with_name("copy-0123456789abcdef.json")
    copied.write_bytes(next(iter(before)).read_bytes())
    capsys.readouterr()
    assert run(folder, "--rebuild") == 0
    told = capsys.readouterr().err
    (old,) = [path for path, entry in before.items() if entry.strategy == "ewc"]
    assert f"left as it is: {old}: no cell has this configuration; --prune removes it" in told
    assert run(folder, "--verify") == 1
    assert str(old) in capsys.readouterr().err
    assert all(path.exists() for path in [*before, *others, copied])
    assert not left.exists()

    assert run(folder, "--rebuild", "--prune") == 0
    assert f"removed entry {old}" in capsys.readouterr().err
    assert {path for path in before if not path.exists()} == {old}
    assert all(path.exists() for path in [*others, copied])
    for path in (*others, copied):
        path.unlink()
    assert run(folder, "--verify") == 0


def test_a_folder_with_other_peoples_page_is_refused_before_any_work(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs.yaml").write_text(TABLE)
    (tmp_path / "docs").mkdir()
    files = {"README.md": "# Mine", "table.csv": "a,b\n1,2\n", "docs/openapi.json": "{}"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", "./docs.yaml", "--to", ".", "--workers=1"]
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert "README.md was not made by this command and would be overwritten" in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    (tmp_path / "README.md").unlink()
    (tmp_path / "table.csv").unlink()
    assert main([*words, "--rebuild", "--prune"]) == 0
    assert (tmp_path / "docs" / "openapi.json").read_text() == "{}"
    assert main([*words, "--verify"]) == 0


def test_task_streams_are_made_again_from_their_seeds(made, tmp_path, capsys):
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    path, entry = next(iter(entries(folder).items()))
    stream = entry.runs[0].stream_id
    path.write_text(path.read_text().replace(stream, "0123456789abcdef"))
    assert run(folder, "--rebuild") == 0  # page and entries agree
    assert run(folder, "--verify") == 1
    assert f"its stream is {stream}" in capsys.readouterr().err


def test_listing_trains_nothing(tmp_path, capsys):
    (tmp_path / "small.yaml").write_text(TABLE)
    assert run(tmp_path, "--list", "--cells=task-IL/E", "--format=json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["settings"] == "exploration_steps=0, strength=5"
    assert not (tmp_path / "runs").exists()


def test_a_cell_whose_name_holds_a_comma_can_be_chosen(capsys):
    words = ["reproduce", "fisher-split-mnist", "--list", "--format=json"]
    assert main([*words, "--cells=task-IL/EWC, batched"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["method"] == "EWC, batched"


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (("naive", "naiv"), [], "small, task-IL/SGD: unknown strategy 'naiv'"),
        (("published: 55.5", "published: 555"), [], "cells.task-IL.SGD.published = 555"),
        (("  domain-IL:\n    SGD", "  class-IL:\n    SGD"), [], "unknown row 'class-IL'"),
        (("strength: 5", "strength: [5, 6]"), [], "it is a grid"),
        (("", ""), ["--cells=SI"], "unknown row or method 'SI'"),
        (("", ""), ["--cells=task-IL,"], "a name is empty"),
        (("", ""), ["--cells="], "--cells is empty"),
        (("", ""), ["--cells=task-IL/X"], "unknown row or method 'task-IL/X'"),
        (("EWC:", "SGD2:"), ["--cells=SG"], "'SG' is the start of several: SGD, SGD2"),
        (("", ""), ["--list", "--verify"], "give one of them"),
        (("", ""), ["--list", "--prune"], "give one"),
    ],
)
def test_mistakes_are_told_before_any_work(tmp_path, capsys, change, words, message):
    (tmp_path / "small.yaml").write_text(TABLE.replace(*change))
    assert run(tmp_path, *words) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_tables_that_are_not_the_suites_need_a_folder_of_their_own(tmp_path, capsys):
    assert main(["reproduce", "no-such-table"]) == 2
    assert "unknown published table 'no-such-table'" in capsys.readouterr().err
    assert main(["reproduce", "van-de"]) == 2
    assert "'van-de' is the start of several: van-de-ven-" in capsys.readouterr().err
    assert main(["reproduce", "./mine.yaml"]) == 2
    assert "give --to" in capsys.readouterr().err
