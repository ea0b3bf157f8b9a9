"""What is built works from any folder, claims one import name and is pinned."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = (ROOT / "constraints.txt").read_text().split()
COPIED = ("cl_bench", "strategies", "configs", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy, so that the checkout stays as it is."""
    copy = tmp_path_factory.mktemp("copy")
    names = [name for name in COPIED if (ROOT / name).exists()]
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in names), str(copy)], check=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "."],
        cwd=copy,
        check=True,
        capture_output=True,
    )
    (path,) = (copy / "dist").glob("*.whl")
    return path


def test_a_wheel_claims_one_import_name_and_holds_strategies_and_configs(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"cl_bench"}
    for folder, ending in (("strategies", ".py"), ("configs", ".yaml")):
        own = {path.name for path in (ROOT / folder).glob(f"*{ending}")}
        assert own
        assert own <= {name.split("/")[-1] for name in names if f"cl_bench/{folder}/" in name}


def test_every_package_is_part_of_the_wheel():
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "cl_bench").rglob("*.py")
        if "__pycache__" not in path.parts
    }
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    assert listed == found | {"cl_bench.configs", "cl_bench.strategies"}


def test_an_installed_wheel_works_from_an_empty_folder(wheel, tmp_path):
    target, empty = tmp_path / "target", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r});"
        "import cl_bench, cl_bench.planning.finding as r;"
        f"assert cl_bench.__file__.startswith({str(target)!r});"
        "assert 'permuted-mnist-5' in r.config_names();"
        f"assert str(r.load('naive').__module__) == 'cl_bench.strategies.naive';"
        f"assert str(r.summary('ewc').path).startswith({str(target)!r});"
        "from cl_bench.cli import main; sys.exit(main(['list', 'strategies']))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=empty, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "flatness" in found.stdout


def test_constraints_are_plain_pins_of_everything_installed_for_the_suite():
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", pin) for pin in PINS)
    pinned = {canonicalize_name(pin.split("==")[0]) for pin in PINS}
    assert len(pinned) == len(PINS)
    extras = PROJECT["project"]["optional-dependencies"]
    queue = [*PROJECT["project"]["dependencies"], *(r for rs in extras.values() for r in rs)]
    seen: set[str] = set()
    while queue:
        requirement = Requirement(queue.pop())
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if name in seen or not applies:
            continue
        seen.add(name)
        assert name in pinned, f"{name} is not in constraints.txt"
        try:
            queue += distribution(name).requires or []
        except PackageNotFoundError:  # the extra `ray` need not be installed
            assert name in ("ray",), f"{name} is not installed"


def test_no_file_names_a_package_index():
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|index-url|find-links", text), name
