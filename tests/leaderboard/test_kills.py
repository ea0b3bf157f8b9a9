"""Writing a board is killed at every step: it can always be gone on with, and no entry is lost."""

import shutil
from pathlib import Path

import pytest

from cl_bench.cli import main
from cl_bench.leaderboard.board import add, rebuild
from cl_bench.results.store import RunStore
from tests.leaderboard.boards import PROTOCOL, files, problems, write
from tests.leaderboard.killing import killed_copies


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A folder of boards with one of naive and ewc, and records of naive and another ewc."""
    root = tmp_path_factory.mktemp("kills")
    (root / "three.yaml").write_text(PROTOCOL)
    old, new = RunStore(root / "old"), RunStore(root / "new")
    for store, better, strength in ((old, 0.0, 5.0), (new, 0.01, 7.0)):
        write(store, "naive", 0.7 + better, seeds=1)
        write(store, "ewc", 0.9 + better, seeds=1, settings={"strength": strength})
    add(str(root / "three.yaml"), old.root, root / "boards", ["naive", "ewc"])
    (root / "none").mkdir()
    return root


def words_of(scene, command, to):
    words = [f"--config={scene}/three.yaml", f"--out={scene}/new", f"--to={to}"]
    more = {"add": ["--strategy=naive,ewc"], "build": ["--replace"]}[command]
    return ["leaderboard", command, *words, *more]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "before"),
    [
        ("add", "boards"),
        pytest.param("add", "none", marks=pytest.mark.slow),
        pytest.param("build", "boards", marks=pytest.mark.slow),
    ],
)
def test_a_board_whose_writing_was_killed_is_gone_on_with(scene, command, before, tmp_path):
    """As it was or as it was to be, whole; and the same command ends as if it was never killed."""
    whole, *killed = killed_copies(
        scene / before, tmp_path / "copies", words_of(scene, command, "{}")
    )
    assert len(killed) >= 7
    kept = [files(scene / before / "three"), files(whole / "three")]
    assert kept[1] != kept[0]
    assert problems(whole / "three") == {}
    for copy in killed:
        board, again = copy / "three", Path(shutil.copytree(copy, tmp_path / "again"))
        if (board / "entries").is_dir() or before == "boards":
            rebuild(board)
            assert files(board) in kept, copy
        assert main(words_of(scene, command, again)) == 0, copy
        assert files(again / "three") == kept[1], copy
        shutil.rmtree(again)


@pytest.mark.slow
def test_a_stopped_writing_is_said_and_is_not_taken_for_another_boards(scene, tmp_path, capsys):
    copies = killed_copies(scene / "boards", tmp_path / "copies", words_of(scene, "add", "{}"))
    board = copies[3] / "three"
    before = files(board)
    assert list(problems(board)) == [".pending.json"]
    assert files(board) == before  # verifying writes nothing
    (board / "table.json").write_bytes(b"{}")
    capsys.readouterr()
    assert main(["leaderboard", "rebuild", str(board)]) == 2
    printed = capsys.readouterr().err
    assert "was begun on another table.json; remove it" in printed
    assert printed.count("\n") == 1
