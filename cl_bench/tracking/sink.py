"""Send finished records to Weights & Biases, online where a key is there, else as offline files.

Nothing here may cost a run: whatever W&B does (no network, bad key, full disk), `send` returns
what happened in place of raising, falls back to offline files, and the record stays as it was,
so that `python -m cl_bench wandb` can send it later.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from cl_bench import atomic
from cl_bench.errors import UserError, unknown
from cl_bench.tracking import sent
from cl_bench.tracking.mode import Mode
from cl_bench.tracking.offline import read_offline
from cl_bench.tracking.replay import Replay, replay
from cl_bench.tracking.sent import Destination
from cl_bench.tracking.session import Session

if TYPE_CHECKING:
    from cl_bench.results.record import RunRecord

INIT_TIMEOUT = 30.0
"""Seconds that W&B may take to open a run online."""
FINISH_TIMEOUT = 120.0
"""Seconds that W&B may take to send what is left of a run when it is closed."""
ROOM_BYTES = 8 * 1024**2
"""Free disk below which nothing is tried; 3,000 evaluations of ten tasks are a file of 1.6 MB."""
FLUSH_TIMEOUT = 5.0
"""Seconds that the end of an offline file may be late."""

WANDB_FAILURES = (Exception, SystemExit)
"""What W&B may raise: anything, and where its service fails it exits."""


@dataclass(frozen=True)
class SendResult:
    """Where one run went."""

    run_id: str
    mode: Literal["online", "offline", "disabled", "failed"]
    path: Path | None = None
    """Folder of the offline files."""
    url: str | None = None
    """Page of the run."""
    error: str | None = None
    """What went wrong, in one line. With mode `offline`: why the run is not online."""
    skipped: bool = False
    """Whether it had been sent there before, and so was not sent again."""


class Sink:
    """A connection to W&B that records are sent through, one W&B run a record.

    The W&B run's id is the record's run id, and a run that is sent again replaces itself. What
    was sent is noted in `<directory>/wandb/sent/`, so that it is not sent twice.
    """

    def __init__(
        self,
        mode: Mode | str = Mode.AUTO,
        project: str | None = None,
        entity: str | None = None,
        directory: Path | str = "runs",
        *,
        again: bool = False,
        say: Callable[[str], None] | None = None,
        init_timeout: float = INIT_TIMEOUT,
        finish_timeout: float = FINISH_TIMEOUT,
    ) -> None:
        """Decide whether to go online, without a network access and without asking anything.

        Args:
            mode: `auto` is what WANDB_MODE says, else online where W&B knows an API key
                (WANDB_API_KEY, netrc), else offline.
            project: the W&B project; None is WANDB_PROJECT, else `cl_bench`.
            entity: the W&B user or team; None is WANDB_ENTITY, else the key's own.
            directory: the folder of the records; W&B's files go to its subfolder `wandb`.
            again: send what was sent before, too.
            say: is given one line when plans change; prints to stderr by default.
            init_timeout: seconds that opening a run online may take.
            finish_timeout: seconds that closing a run online may take.

        Raises:
            UserError: there is no such mode.
        """
        if mode not in list(Mode):
            raise unknown("W&B mode", mode, Mode)
        self.asked = Mode(mode)
        self.directory = Path(directory)
        self.folder = self.directory / "wandb"
        self.again = again
        self.mode: Literal["online", "offline", "disabled"] = "disabled"
        self._say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self._warned = False
        self._reason = ""
        self._failed = False
        self._credentials: Any = None
        self._given = (project, entity)
        self._has_key = True
        """As far as is known: unless a key was looked for in vain."""
        self._session: Session | None = None
        if self.asked == Mode.DISABLED:
            return
        atomic.sweep(self.folder / "sent")
        try:
            self._session = Session(project, entity, self.directory, init_timeout, finish_timeout)
            self.mode = self._choose(self._session)
        except WANDB_FAILURES as error:
            self._session, self._reason = None, _line(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self) -> str:
        """Return one line: where runs go, and why."""
        why = f" ({self._reason})" if self._reason else ""
        if self.mode == "disabled" or self._session is None:
            return f"W&B: disabled{why}"
        if self.mode == "online":
            owner = f"{self._session.entity}/" if self._session.entity else ""
            return f"W&B: online, project {owner}{self._session.project} at {self._session.server}"
        return f"W&B: offline{why}; files in {self.folder}; to send them: {self._remedy()}"

    def _remedy(self) -> str:
        """Return what to type for the offline files to go online."""
        words = ["wandb", "--out", str(self.directory)]
        if self._session is not None and self._session.mode != "online":
            words += ["--mode", "online"]
        for option, value in zip(("--project", "--entity"), self._given, strict=True):
            words += [option, value] if value else []
        login = "" if self._has_key else "python -m wandb login, then "
        return f"{login}python -m cl_bench {shlex.join(words)}"

    def send(self, record: RunRecord) -> SendResult:
        """Send one record; never raises for what W&B, the network or the disk does."""
        run_id = record.config.run_id
        if self._session is None and self._reason:
            return SendResult(run_id, "failed", error=self._reason)
        if self._session is None or self.mode == "disabled":
            return SendResult(run_id, "disabled")
        try:
            before = self.sent_before(run_id, record.weights_sha256)
            return before or self._noted(
                self._send(replay(record), self._session), record, self._session
            )
        except WANDB_FAILURES as error:
            reason = _line(error)
            self.close()  # so that the next run starts anew, should W&B's service have died
            if not self._warned:
                self._say(f"W&B: not sent ({reason}); the records are complete without it")
            self._warned = True
            return SendResult(run_id, "failed", error=reason)

    def sent_before(self, run_id: str, weights_sha256: str) -> SendResult | None:
        """Return where `send` would find this run already sent; None where it would send it.

        A run that was trained again to other weights, by other code, was not sent.
        """
        note = sent.read(self.folder, run_id)
        if self.again or note is None or self._session is None:
            return None
        if note.destination != self._destination(self._session):
            return None
        if note.weights_sha256 not in (None, weights_sha256):
            return None
        if note.mode == "online":
            return SendResult(run_id, "online", url=note.url, skipped=True)
        path = self.folder / str(note.path)
        if self.mode == "offline" and path.is_dir():
            return SendResult(run_id, "offline", path=path, skipped=True)
        return None

    def close(self) -> None:
        """End W&B's service process, unless it also serves runs that are not ours."""
        if self._session is not None:
            with contextlib.suppress(*WANDB_FAILURES):
                self._session.close()

    def _choose(self, session: Session) -> Literal["online", "offline", "disabled"]:
        if self.asked == Mode.OFFLINE:
            return "offline"
        if self.asked == Mode.AUTO and session.mode in ("disabled", "offline", "dryrun"):
            self._reason = f"WANDB_MODE={session.mode}"
            return "disabled" if session.mode == "disabled" else "offline"
        try:
            self._credentials = session.credentials()
            self._has_key = bool(self._credentials)
            self._reason = "" if self._credentials else "no API key found"
        except Exception as error:  # what was found cannot be a key
            self._has_key, self._reason = False, _line(error)
        return "online" if self._credentials else "offline"

    def _send(self, run: Replay, session: Session) -> SendResult:
        _require_room(self.folder)
        if self.mode == "online":
            try:
                if self._credentials is not None:
                    session.verify(self._credentials)
                    self._credentials = None  # once is enough
                url = session.log(run, "online").url
                return SendResult(run.run_id, "online", url=url)
            except WANDB_FAILURES as error:
                self._go_offline(_line(error))
        path = Path(session.log(run, "offline").dir).parent
        try:
            _wait_until_whole(path, len(run.rows))
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
            raise
        reason = self._reason if self._failed or self.asked == Mode.ONLINE else None
        return SendResult(run.run_id, "offline", path=path, error=reason)

    def _go_offline(self, reason: str) -> None:
        """Stay offline from here on, so that not every run waits for the same failure."""
        self.mode, self._reason, self._failed = "offline", reason, True
        self.close()  # the service forgets the run that was opened: its id is free again
        self._say(self.describe())

    def _destination(self, session: Session) -> Destination:
        return Destination(session.server, session.entity, session.project)

    def _noted(self, result: SendResult, record: RunRecord, session: Session) -> SendResult:
        """Write down that a run was sent, and drop the offline files it replaces."""
        before = sent.read(self.folder, result.run_id)
        name = result.path.name if result.path else None
        destination, weights = self._destination(session), record.weights_sha256
        note = sent.Note(destination, result.mode, name, result.url, weights)
        try:
            sent.write(self.folder, result.run_id, note)
        except UserError as error:
            return replace(result, error=f"sent, but not noted as sent: {_line(error)}")
        old = (before.path if before else None) or ""
        if old.startswith("offline-run-") and old.endswith(result.run_id) and old != name:
            shutil.rmtree(self.folder / old, ignore_errors=True)
        return result


def send(
    record: RunRecord,
    *,
    project: str | None = None,
    entity: str | None = None,
    mode: Mode | str = Mode.AUTO,
    directory: Path | str,
) -> SendResult:
    """Send one record; for more than one, a `Sink` starts W&B only once."""
    with Sink(mode, project, entity, directory) as sink:
        return sink.send(record)


def _require_room(folder: Path) -> None:
    """Raise an OSError where W&B would quietly write elsewhere, or only a part of its files."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to {folder}")
    if shutil.disk_usage(folder).free < ROOM_BYTES:
        raise OSError(f"no space left for {folder}")


def _wait_until_whole(path: Path, points: int) -> None:
    """Wait until W&B's service has written the whole file, which it does not say (wandb 0.31).

    Raises:
        OSError: some of it is still missing after a while: a full disk is not reported otherwise.
    """
    give_up = time.monotonic() + FLUSH_TIMEOUT
    while True:
        try:
            kept = read_offline(path)
            if kept.finished and len(kept.history) == points:
                return
            problem = f"{path} holds {len(kept.history)} of {points} points"
        except ValueError as error:  # it breaks off: still being written
            problem = str(error)
        if time.monotonic() > give_up:
            raise OSError(problem)
        time.sleep(0.01)


def _line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
