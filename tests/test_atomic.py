"""Files and folders appear whole or not at all; what killed processes left behind goes."""

import os
import subprocess
import sys
import time
from functools import partial

import pytest

from cl_bench import atomic
from cl_bench.errors import UserError

HEX = "0" * 32
TAKE = """
import fcntl, os, sys
try:
    fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(9)
"""


def holds(content, found):
    return (found / "a").read_bytes() == content


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_in_one_move(tmp_path):
    path = tmp_path / "new" / "file.json"
    atomic.replace(path, b"one")
    atomic.replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["file.json"]


def test_a_write_that_fails_leaves_what_was_there_and_says_why(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    atomic.replace(path, b"one")

    def full(temporary, data):
        temporary.write_bytes(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(UserError, match=f"cannot write {path}: No space left on device"):
        atomic.replace(path, b"two")
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["file.json"]


def test_where_a_file_stands_in_place_of_the_folder_one_line_says_so(tmp_path):
    (tmp_path / "folder").write_bytes(b"a file")
    with pytest.raises(UserError, match=r"cannot write .*folder/name: "):
        atomic.replace(tmp_path / "folder" / "name", b"content")


@pytest.mark.parametrize("length", [255, 256, 5000])
def test_a_name_as_long_as_the_system_takes_is_written_and_a_longer_one_refused(tmp_path, length):
    path = tmp_path / ("x" * length)
    if length <= 255:
        atomic.replace(path, b"")
        assert names(tmp_path) == [path.name]
    else:
        with pytest.raises(UserError, match="File name too long"):
            atomic.replace(path, b"")
        assert names(tmp_path) == []


def test_a_folder_that_stays_is_kept_and_one_that_does_not_is_put_aside(tmp_path):
    final, aside = tmp_path / "record", tmp_path / "aside"
    atomic.write_folder(final, {"a": b"1"}, stays=lambda found: True)
    atomic.write_folder(final, {"a": b"2"}, stays=lambda found: True)
    assert (final / "a").read_bytes() == b"1"
    for content in (b"2", b"3"):
        atomic.write_folder(
            final,
            {"a": content},
            stays=partial(holds, content),
            aside=lambda found: aside,
        )
    assert (final / "a").read_bytes() == b"3"
    assert {(aside / name / "a").read_bytes() for name in ("record", "record.1")} == {b"1", b"2"}
    atomic.write_folder(final, {"b": b"4"}, stays=lambda found: (found / "b").exists())
    assert names(final) == ["b"]
    assert names(tmp_path) == ["aside", "record"]


def left_over(folder, name, age=0.0):
    path = folder / name
    path.mkdir()
    (path / "file").write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_dead_or_old_writers_left_is_removed_and_nothing_else(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here, another = atomic._machine(), "0123abcd"
    left_over(tmp_path, f".writing-{here}-{dead.pid}-{HEX}")
    left_over(tmp_path, f".writing-{another}-1-{HEX}", age=2 * atomic.ABANDONED)
    left_over(tmp_path, f".writing-{here}-{os.getpid()}-{HEX}", age=2 * atomic.LONGEST)
    left_over(tmp_path, ".damaged-ewc", age=2 * atomic.ABANDONED)
    (tmp_path / f".writing-{here}-{dead.pid}-{'1' * 32}").write_bytes(b"a file")
    kept = [
        left_over(tmp_path, f".writing-{here}-{os.getpid()}-{'2' * 32}", age=2 * atomic.ABANDONED),
        left_over(tmp_path, f".writing-{another}-1-{'2' * 32}"),
        left_over(tmp_path, ".hidden", age=2 * atomic.LONGEST),
        left_over(tmp_path, "ewc-s0", age=2 * atomic.LONGEST),
    ]
    atomic.sweep(tmp_path, ".damaged-*")
    assert names(tmp_path) == sorted(path.name for path in kept)
    atomic.sweep(tmp_path / "nothing")


@pytest.mark.skipif(os.name == "nt", reason="has no such locks")
@pytest.mark.parametrize("name", [".", "lock"])
def test_what_is_held_is_held_alone_and_a_folder_is_left_as_it_was(tmp_path, name):
    take = partial(subprocess.run, [sys.executable, "-c", TAKE, str(tmp_path / name)], check=False)
    with atomic.locked(tmp_path / name):
        assert take().returncode == 9
    assert take().returncode == 0
    assert names(tmp_path) == ([] if name == "." else [name])
    with atomic.locked(tmp_path / "nothing" / "there"):
        pass


KILLED = """
import os, sys
from pathlib import Path
from cl_bench import atomic
write = atomic.write_bytes
def killed(path, data):
    write(path, data)
    os._exit(9)
atomic.write_bytes = killed
if sys.argv[2] == "file":
    atomic.replace(Path(sys.argv[1]) / "x", b"1")
atomic.write_folder(Path(sys.argv[1]) / "x", {"a": b"1", "b": b"2"}, lambda found: True)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_writer_leaves_nothing_that_the_next_sweep_does_not_remove(tmp_path, kind):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), kind], check=False)
    assert done.returncode == 9
    assert len(names(tmp_path)) == 1
    assert not (tmp_path / "x").exists()
    atomic.sweep(tmp_path)
    assert names(tmp_path) == []
