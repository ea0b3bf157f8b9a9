"""All that touches `wandb`: which server and key it knows, and replaying one run into it.

Methods raise whatever W&B raises; the sink decides what that means. wandb is imported only here,
when first needed, and its service process is started by the first run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from cl_bench.tracking.replay import AXES, SAMPLES_SEEN, TASKS_SEEN, Replay

PROJECT = "cl_bench"

TEARDOWN_SECONDS = 20.0
"""Time W&B's service gets to end by itself; all runs are finished by then."""

IDENTITY = (
    "fork_from",
    "launch",
    "resume",
    "resume_from",
    "run_group",
    "run_id",
    "run_job_type",
    "run_name",
    "run_tags",
    "sweep_id",
    "sweep_param_path",
    "x_label",
)
"""W&B's settings that say which run this is, and go on with another."""

_LOGGER = logging.getLogger("wandb")


@contextlib.contextmanager
def _ended_within(seconds: float) -> Iterator[None]:
    """Kill W&B's service process if it has not ended in time.

    A service that is still busy with a request that nobody answers does not end when it is asked
    to, and W&B waits for it without limit (wandb 0.31).
    """
    from wandb.sdk import wandb_setup

    connection = getattr(wandb_setup.singleton(), "_connection", None)
    process = getattr(getattr(connection, "_proc", None), "_process", None)
    timer = threading.Timer(seconds, process.kill) if process is not None else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


@contextlib.contextmanager
def _identity_aside() -> Iterator[None]:
    """Hide from W&B which run it takes this process for, such as the one of a sweep's agent.

    Its variables (WANDB_RUN_ID, WANDB_SWEEP_ID, WANDB_RESUME, …) are of one run and would make
    one of all of ours. Another run of this process finds them as they were.
    """
    from wandb.sdk import wandb_setup

    settings = wandb_setup.singleton().settings
    kept = {name: getattr(settings, name) for name in IDENTITY}
    try:
        for name in IDENTITY:
            setattr(settings, name, type(settings).model_fields[name].default)
        yield
    finally:
        for name, value in kept.items():
            setattr(settings, name, value)


class _Complaints:
    """What W&B would print, kept in place of printed: where it tells of data it could not send."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def info(self, _: str) -> None:
        pass

    def warning(self, text: str) -> None:
        self.texts.append(text.removeprefix("wandb: ").removeprefix("WARNING "))

    def error(self, text: str) -> None:
        self.texts.append(text.removeprefix("wandb: ").removeprefix("ERROR "))


class Session:
    """A use of W&B by this process: one service process for any number of runs."""

    def __init__(
        self,
        project: str | None,
        entity: str | None,
        directory: Path,
        init_timeout: float,
        finish_timeout: float,
    ) -> None:
        """Read what W&B knows (environment, its settings files); no network, no questions.

        Args:
            project: None is WANDB_PROJECT, else `cl_bench`.
            entity: None is WANDB_ENTITY, else (online) the key's own.
            directory: W&B's files go to its subfolder `wandb`.
            init_timeout: seconds that opening a run online may take.
            finish_timeout: seconds that closing a run online may take.
        """
        from wandb.sdk import wandb_setup

        settings = wandb_setup.singleton().settings
        self.server: str = settings.base_url
        self.mode: str = settings.mode
        """WANDB_MODE; "online" where nothing is said."""
        self.project = project or settings.project or PROJECT
        self.entity = entity or settings.entity
        self._directory = directory
        self._init_timeout, self._finish_timeout = init_timeout, finish_timeout
        self._started = False
        self._complaints = _Complaints()
        self._log_level = logging.NOTSET

    def credentials(self) -> Any:
        """Return W&B's credentials for the server, None where there are none; asks nobody."""
        from wandb.sdk.lib import wbauth

        return wbauth.authenticate_session(
            host=self.server, source="cl_bench", prompt=False, update_session=False
        )

    def log(self, run: Replay, mode: Literal["online", "offline"]) -> Any:
        """Replay a run into W&B and return the closed `wandb.Run`.

        Raises:
            RuntimeError: the server refused a part of the run, of which W&B merely warns.
        """
        import wandb

        self._start()
        self._complaints.texts.clear()
        with _identity_aside():
            logged = wandb.init(
                id=run.run_id,
                name=run.name,
                group=run.group,
                job_type=run.job_type,
                tags=run.tags,
                config=run.config,
                project=self.project,
                entity=self.entity,
                dir=str(self._directory.absolute()),
                mode=mode,
                reinit="create_new",
                settings=self._settings(),
            )
        try:
            # The summary is ours alone: W&B would add the last value of every series.
            for axis in (TASKS_SEEN, SAMPLES_SEEN):
                logged.define_metric(axis, hidden=True, summary="none")
            for series, axis in AXES.items():
                logged.define_metric(series, step_metric=axis, summary="none")
            for row in run.rows:
                logged.log(row)
            logged.summary.update(run.summary)
        except BaseException:
            with contextlib.suppress(Exception, SystemExit):
                logged.finish(exit_code=1)
            raise
        logged.finish(exit_code=0)
        for complaint in self._complaints.texts:
            if "fatal error" in complaint.lower():
                raise RuntimeError(complaint.partition(". ")[0])
        return logged

    def verify(self, credentials: Any) -> None:
        """Raise where the server cannot be reached in ten seconds or refuses the credentials.

        Asked before the first run: a run that fails to open online keeps its id in W&B's service,
        where it then cannot be opened offline either (wandb 0.31).
        """
        self._start()
        credentials.verify()

    def close(self) -> None:
        """End W&B's service process, unless it also serves a run that is not ours."""
        if not self._started:
            return
        self._started = False
        import wandb

        if wandb.run is None:
            with _ended_within(TEARDOWN_SECONDS):
                wandb.teardown()
            _LOGGER.setLevel(self._log_level)

    def _start(self) -> None:
        if self._started:
            return
        # W&B reports its own faults to its server, in offline mode, too; a user's choice stands.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        if wandb.run is None:  # silence would reach a run that is not ours
            self._log_level = _LOGGER.level
            _LOGGER.setLevel(logging.CRITICAL)  # it keeps a diary beside each run
            silent = wandb.Settings(silent=True)
            wandb.setup(silent)
            wandb.termsetup(silent, self._complaints)
        self._started = True

    def _settings(self) -> Any:
        """Return W&B settings that watch, print and tell as little as possible.

        `resume` is unset (`IDENTITY`): W&B then replaces a run of the same id, where "allow" would
        append the same points once more.
        """
        import wandb

        return wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            finish_timeout=self._finish_timeout,
            finish_timeout_raises=True,
            host="",
            init_timeout=self._init_timeout,
            label_disable=True,
            sagemaker_disable=True,  # it would name the runs after its job
            save_code=False,
            silent=True,
            stop_fn=lambda: None,  # a run stopped on W&B's page must not interrupt training
            symlink=False,
            use_dot_wandb=False,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
