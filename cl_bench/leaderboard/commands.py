"""How a board is made again: the commands that make its records, build it and verify it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from cl_bench.leaderboard.entries import Entry
from cl_bench.results.labels import setting_text


def commands(entries: Sequence[Entry]) -> list[str]:
    """Return the commands that make the records, the board, and verify it."""
    board = entries[0].board
    config = board.config if board.config == board.name else f"./{board.config}"
    found = [
        *(_run_command(entry, config) for entry in entries),
        *_board_commands(entries, config),
        ["leaderboard", "verify", f"leaderboards/{board.name}"],
    ]
    return [f"python -m cl_bench {shlex.join(command)}" for command in found]


def _board_commands(entries: Sequence[Entry], config: str) -> list[list[str]]:
    """Return the command that makes the board, and those that add what was tuned otherwise."""
    of_strategy: dict[str, tuple[str | None, bool]] = {}
    for entry in entries:
        if entry.strategy not in of_strategy or entry.budget:
            of_strategy[entry.strategy] = entry.tuning, entry.budget is not None
    told: dict[tuple[str | None, bool], list[str]] = {}
    for name, how in of_strategy.items():
        told.setdefault(how, []).append(name)
    build = ["leaderboard", "build", "--config", config]
    (note, tuned), *others = told
    if not others and not tuned:
        return [[*build, *_note_options(note)]]
    commands = [build]
    for (note, tuned), names in told.items():
        if note or tuned:
            add = ["leaderboard", "add", "--config", config, "--strategy", ",".join(names)]
            where = ["--tuning", f"leaderboards/tuning/{entries[0].board.name}"] if tuned else []
            commands.append([*add, *_note_options(note), *where])
    return commands


def _note_options(note: str | None) -> list[str]:
    return ["--tuning-note", note] if note else []


def _run_command(entry: Entry, config: str) -> list[str]:
    name = entry.strategy
    outside = entry.config["strategy"].get("code") is not None
    path = f"./{name.replace('-', '_')}.py" if outside else name
    seeds = [run.seed for run in entry.runs]
    command = ["run", "--config", config, "--strategy", path, "--seeds"]
    if seeds[-1] - seeds[0] >= len(seeds):
        command.append(",".join(map(str, seeds)))
    else:
        command.append(str(len(seeds)))
        command += ["--set", f"first_seed={seeds[0]}"] if seeds[0] else []
    for key, value in entry.changed.items():
        command += ["--set", f"{name}.{key}={setting_text(value)}"]
    return command
