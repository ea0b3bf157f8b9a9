"""Ctrl-C at bad moments: as modules are imported, here or in a worker, nobody sees a traceback."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cl_bench.execution.signals import Interrupted, interruptible

RUN = ["-m", "cl_bench", "run", "--strategy", "naive", "--wandb", "off", "--workers", "2"]
RUN += ["--set", "benchmark.name=permuted-mnist-5k", "--set", "training.epochs=[9998, 9999]"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "module"),
    [
        ("", "cl_bench/cli/app.py"),
        ("", "typer/main.py"),
        ("", "torch/__init__.py"),
        ("", "numpy/__init__.py"),
        ("training 10 runs", "multiprocessing/spawn.py"),
        ("training 10 runs", "cl_bench/execution/pool.py"),
        ("training 10 runs", "torch/__init__.py"),
    ],
)
def test_ctrl_c_while_importing_is_quiet(tmp_path, after, module):
    """`python -v` tells, here and in the workers, which module is just being loaded."""
    process = subprocess.Popen(
        [sys.executable, "-v", *RUN, "--out", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stderr is not None
    for sign in (after, f"/{module.removesuffix('.py')}."):
        while sign not in process.stderr.readline():
            assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert "KeyboardInterrupt" not in rest


def test_a_signal_during_an_import_comes_again_when_that_has_ended(tmp_path, monkeypatch):
    (tmp_path / "swallows.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    sum(range(1000))\n"
        "except BaseException:\n    raise ImportError('caught in the import')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    deadline = time.monotonic() + 60
    with pytest.raises(Interrupted) as stopped, interruptible(signal.SIGINT):
        __import__("swallows")
        while time.monotonic() < deadline:
            time.sleep(0.01)
    assert stopped.value.exit_code == 130
    assert "swallows" in sys.modules
