"""What verification finds: any changed digit, other streams, and runs that come out otherwise."""

import json
import re
import shutil
from pathlib import Path

import pytest

from cl_bench.cli import main
from cl_bench.errors import UserError
from cl_bench.leaderboard import pages
from cl_bench.leaderboard.entries import entry_bytes, parse_entry
from cl_bench.leaderboard.folder import read_entries
from cl_bench.leaderboard.rerun import choose
from cl_bench.leaderboard.standings import standings
from cl_bench.leaderboard.verification import verify
from cl_bench.seeding import numpy_generator
from tests.leaderboard.boards import files, problems

BOARDS = sorted((Path(__file__).parents[2] / "leaderboards").glob("*/entries"))
FEW = 12
"""Entries of a board that is verified quickly."""
PLACES = 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "board",
    [
        pytest.param(
            path.parent,
            id=path.parent.name,
            marks=[pytest.mark.slow] if len(list(path.iterdir())) > FEW else [],
        )
        for path in BOARDS
    ],
)
def test_every_board_of_the_suite_verifies(board):
    assert problems(board) == {}


@pytest.mark.slow
def test_any_changed_digit_of_any_file_is_caught(folder):
    """A sample of the digits of all files, each raised by 1 to 9, one at a time."""
    places = [
        (name, place)
        for name, data in files(folder).items()
        for place, byte in enumerate(data)
        if chr(byte).isdigit()
    ]
    generator = numpy_generator("changed digits")
    for number in generator.choice(len(places), PLACES, replace=False):
        name, place = places[number]
        path, raised = folder / name, int(generator.integers(1, 10))
        whole = path.read_bytes()
        digit = str((int(chr(whole[place])) + raised) % 10).encode()
        path.write_bytes(whole[:place] + digit + whole[place + 1 :])
        assert name in problems(folder), f"byte {place} of {name}"
        path.write_bytes(whole)
    assert problems(folder) == {}


def forge(folder, strategy, change):
    """Change an entry and make everything that is derived from it anew, as a forger would."""
    path = next((folder / "entries").glob(f"{strategy}-*"))
    entry = parse_entry(path.read_bytes()).model_dump(mode="json")
    change(entry)
    path.write_text(json.dumps(entry))
    entries = [parse_entry(p.read_bytes()) for p in sorted((folder / "entries").iterdir())]
    path.write_bytes(entry_bytes(parse_entry(path.read_bytes())))
    for name, data in pages.render(entries, standings(entries)).items():
        (folder / name).write_bytes(data)


def test_what_cannot_be_checked_is_said(folder):
    (check,) = [c for c in verify(folder, Path("/not/there")) if c.subject == "task streams"]
    assert (check.problem, check.skipped) == (None, True)
    assert "not checked: " in check.note


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A board of two strategies, five seeds each, that were trained for it."""
    root = tmp_path_factory.mktemp("trained")
    (root / "tiny.yaml").write_text(
        "benchmark: {name: permuted-mnist-5k, tasks: 2, train_samples: 200, test_samples: 50}\n"
        "network: {hidden: [8]}\n"
        "strategies: {naive: {}, ewc: {exploration_steps: 20}}\n"
    )
    config = f"--config={root / 'tiny.yaml'}"
    words = ["run", config, "--out", str(root / "runs"), "--workers=1", "--wandb=off"]
    assert main([*words, "--no-picture"]) == 0
    words = ["leaderboard", "build", config, "--out", str(root / "runs"), "--to", str(root)]
    assert main(words) == 0
    return root


@pytest.fixture
def tiny(trained, tmp_path):
    return Path(shutil.copytree(trained / "tiny", tmp_path / "tiny"))


def rerun(trained, folder, what, capsys, *more):
    """Return the exit code and the rows of runs that were made again; trained once for all."""
    capsys.readouterr()
    words = ["leaderboard", "verify", str(folder), f"--rerun={what}", "--workers=1"]
    code = main([*words, "--out", str(trained / "again"), "--format=json", *more])
    rows = json.loads(capsys.readouterr().out)
    return code, [row for row in rows if ", seed " in row["file"]]


def test_a_forged_stream_is_caught_where_the_data_are_at_hand(tiny):
    def other_stream(entry):
        entry["runs"][1]["stream_id"] = "0123456789abcdef"

    def other_data(entry):
        for run in entry["runs"]:
            run["data"]["checksum"] = "x"

    for strategy in ("ewc", "naive"):
        forge(tiny, strategy, other_stream)
    assert list(problems(tiny)) == ["task streams"]
    assert problems(tiny)["task streams"].startswith("seed 1: the entries have 0123456789abcdef")
    for strategy in ("ewc", "naive"):
        forge(tiny, strategy, other_data)
    assert "those at hand are" in problems(tiny)["task streams"]


def test_runs_that_are_made_again_are_the_same_to_the_bit(trained, tiny, capsys):
    code, rows = rerun(trained, tiny, "all", capsys, "--seeds=2")
    assert code == 0
    assert [row["note"] for row in rows] == ["the same bits"] * 4
    code, rows = rerun(trained, tiny, "1", capsys, "--seeds=1")
    assert (code, len(rows)) == (0, 1)


def test_a_forged_figure_is_found_by_running_again(trained, tiny, capsys):
    def other_accuracy(entry):
        entry["runs"][0]["accuracy"][2][0] += 0.02

    forge(tiny, "naive", other_accuracy)
    assert problems(tiny) == {}
    code, (row,) = rerun(trained, tiny, "naive", capsys, "--seeds=1")
    assert code == 1
    assert row["problem"] == "other accuracies of the same weights, by up to 0.02"

    def other_weights(entry):
        entry["runs"][0]["weights_sha256"] = "0" * 64

    forge(tiny, "ewc", other_weights)
    code, (row,) = rerun(trained, tiny, "ewc", capsys, "--seeds=1")
    assert code == 1
    assert row["problem"].startswith("other weights on the same platform (Linux")

    def other_cost(entry):
        entry["runs"][0]["cost"]["bytes_kept"] += 1

    forge(tiny, "ewc", other_cost)
    code, (row,) = rerun(trained, tiny, "ewc", capsys, "--seeds=1")
    assert code == 1
    assert row["problem"].startswith("bytes_kept is ")


def test_elsewhere_accuracies_agree_within_the_tolerance(trained, tiny, capsys):
    """Those of the other seeds spread with s = .0183, so that .01 + 3 s = .0648 is tolerated."""
    entry = parse_entry(next((tiny / "entries").glob("naive-*")).read_bytes())
    true = entry.runs[0].accuracy[2][0]
    assert true is not None
    nearer = -1 if true > 0.5 else 1

    def made_elsewhere(by):
        def change(entry):
            for run, apart in zip(entry["runs"], (by, 0.01, -0.01, 0.02, -0.02), strict=True):
                run["accuracy"][2][0] = true + nearer * apart
                run["weights_sha256"] = "0" * 64
                run["provenance"]["packages"]["torch"] = "1.0"

        return change

    forge(tiny, "naive", made_elsewhere(0.06))
    code, (row,) = rerun(trained, tiny, "naive", capsys, "--seeds=1")
    assert (code, row["note"]) == (0, "accuracies within 0.06, made elsewhere (1.0)")
    forge(tiny, "naive", made_elsewhere(0.07))
    code, (row,) = rerun(trained, tiny, "naive", capsys, "--seeds=1")
    assert code == 1
    assert row["problem"] == "accuracies differ by up to 0.07; made elsewhere (1.0)"


def test_nothing_is_trained_for_a_board_that_is_damaged(trained, tiny, capsys):
    path = tiny / "table.csv"
    path.write_text(path.read_text().replace(",5,", ",6,", 1))
    code, rows = rerun(trained, tiny, "all", capsys)
    assert (code, rows) == (1, [])


def test_what_to_run_again_is_a_number_or_names(built_folder):
    entries = read_entries(built_folder)
    assert choose(entries, "all") == entries
    assert len(choose(entries, "2")) == 2
    assert choose(entries, "2") == choose(entries, "2")
    assert [e.strategy for e in choose(entries, "si,ewc")] == ["si", "ewc"]
    assert [e.strategy for e in choose(entries, "ewc (strength=123)")] == ["ewc"]
    assert choose(entries, entries[1].group_id[:6]) == [entries[1]]
    assert [e.strategy for e in choose(entries, "nai")] == ["naive"]
    for wrong, message in [
        ("0", "above 0"),
        ("-1", "above 0"),
        ("sj", "did you mean si"),
        ("si,", "empty"),
    ]:
        with pytest.raises(UserError, match=message):
            choose(entries, wrong)


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
