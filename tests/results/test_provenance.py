"""Provenance: the commit that was run, and nothing about who ran it where."""

import getpass
import json
import platform
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from cl_bench.results import provenance


@pytest.fixture
def checkout(tmp_path):
    """A repository that tracks a package, as a checkout of the suite does."""
    package = tmp_path / "repo" / "cl_bench"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git(package, "init", "--quiet", "..")
    git(package, "add", ".")
    git(package, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "first")
    provenance._git_state.cache_clear()
    return package


def git(folder, *arguments):
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_the_commit_of_a_clean_checkout(checkout):
    (checkout.parent / "runs").mkdir()
    (checkout.parent / "runs" / "record.json").write_text("")  # no part of the code
    state = provenance.git_state(checkout)
    assert state == {"commit": git(checkout, "rev-parse", "HEAD"), "clean": True}


@pytest.mark.parametrize("path", ["cl_bench/__init__.py", "cl_bench/new.py", "strategies/mine.py"])
def test_a_changed_or_new_source_file_is_not_clean(checkout, path):
    file = checkout.parent / path
    file.parent.mkdir(exist_ok=True)
    file.write_text("changed = True\n")
    state = provenance.git_state(checkout)
    assert state is not None and state["clean"] is False


def test_a_package_that_is_installed_in_somebody_elses_checkout_has_no_commit(checkout):
    installed = checkout.parent / ".venv" / "cl_bench"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert provenance.git_state(installed) is None


def test_git_variables_of_the_caller_do_not_mislead(checkout, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert provenance.git_state(checkout) is not None


def test_no_git_is_no_error(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state(checkout) is None


def test_what_is_collected():
    started = datetime(2024, 5, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    finished = datetime(2024, 5, 1, 12, 30, 5, 999, tzinfo=UTC)
    found = provenance.collect("cpu", 1, started=started, finished=finished)
    assert (found["started"], found["finished"]) == (
        "2024-05-01T12:00:00+00:00",
        "2024-05-01T12:30:05+00:00",
    )
    assert (found["device"], found["threads"]) == ("cpu", 1)
    assert found["python"] == platform.python_version()
    assert {"torch", "numpy", "pandas"} <= set(found["packages"])
    assert found["cpu"]
    assert provenance.collect("cpu", 1)["started"] is None
    with pytest.raises(ValueError, match="no time zone"):
        provenance.collect("cpu", 1, started=datetime(2024, 5, 1))


def test_nothing_in_it_names_a_person_or_a_place():
    text = json.dumps(provenance.collect("cpu", 1))
    for place in (Path.home(), Path.cwd(), Path(provenance.__file__).parents[2]):
        assert str(place) not in text
    for private in (platform.node(), getpass.getuser()):
        assert f'"{private}"' not in text


def test_packages_that_are_not_installed_are_left_out():
    assert set(provenance.versions(["numpy", "no-such-package"])) == {"numpy"}
