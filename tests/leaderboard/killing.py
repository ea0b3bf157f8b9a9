"""Run a command again and again on a copy of a folder, killed before each change that it makes.

`python -m tests.leaderboard.killing FOLDER COPIES WORD...`, where `{}` in a word is the copy: the
copy `COPIES/n` is left as a command that is killed before its n-th renaming or removal leaves it,
what was to be renamed cut in half; `COPIES/0` is that of a command that was not killed.
"""

import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

CHANGES = ("os.rename", "os.remove", "os.rmdir")
KILLED = 9


def killed_copies(folder: Path, copies: Path, words: list[str]) -> list[Path]:
    """Return the copies, in order; the command runs in a process of its own."""
    command = [sys.executable, "-m", "tests.leaderboard.killing", str(folder), str(copies), *words]
    subprocess.run(
        command,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    return sorted(copies.iterdir(), key=lambda path: int(path.name))


def _kill_before(number: int, folder: Path) -> None:
    """End this process just before its so many-th change in a folder."""
    left = [number]

    def watch(event: str, arguments: tuple) -> None:
        if event in CHANGES and str(arguments[0]).startswith(str(folder)):
            left[0] -= 1
            if not left[0]:
                if event == "os.rename":
                    os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
                os._exit(KILLED)

    sys.addaudithook(watch)


def _main(folder: Path, copies: Path, words: list[str]) -> None:
    from cl_bench.cli import main

    for number in count():
        copy = Path(shutil.copytree(folder, copies / str(number)))
        typed = [word.format(copy) for word in words]
        if not number:  # and all is imported once
            assert main(typed) == 0
            continue
        child = os.fork()
        if not child:
            _kill_before(number, copy)
            os._exit(main(typed))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != KILLED:
            shutil.rmtree(copy)
            sys.exit(code)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
