"""What is built works from any folder, claims one import name and is pinned."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = (ROOT / "constraints.txt").read_text().split()
COPIED = ("cl_bench", "strategies", "configs", "pyproject.toml", "README.md", "LICENSE")
OPTIONAL = {"docs", "figures", "huggingface", "ray"}
"""Extras that `make setup` leaves out."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy, so that the checkout stays as it is."""
    copy = tmp_path_factory.mktemp("copy")
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in COPIED), str(copy)], check=True)
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
    assert "cl_bench/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
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
        "import cl_bench; from cl_bench.planning import finding as r, reading;"
        f"assert cl_bench.__file__.startswith({str(target)!r});"
        "assert 'permuted-mnist-5' in reading.config_names();"
        f"assert str(r.load('naive').__module__) == 'cl_bench.strategies.naive';"
        f"assert str(r.summary('ewc').path).startswith({str(target)!r});"
        "from cl_bench.cli import main; sys.exit(main(['list', 'strategies']))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=empty, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "flatness" in found.stdout


def applying(texts, python=None):
    """Return the requirements that apply here, or on another Python, by their names."""
    environment = {"extra": "", **({"python_version": python} if python else {})}
    found = [Requirement(text) for text in texts]
    return {
        canonicalize_name(each.name): each
        for each in found
        if each.marker is None or each.marker.evaluate(environment)
    }


def test_constraints_are_plain_pins_of_everything_installed_for_the_suite():
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", pin) for pin in PINS)
    pinned = {canonicalize_name(pin.split("==")[0]) for pin in PINS}
    assert len(pinned) == len(PINS)
    extras = PROJECT["project"]["optional-dependencies"]
    optional = applying(text for extra in OPTIONAL for text in extras[extra])
    needed = [text for extra in extras.keys() - OPTIONAL for text in extras[extra]]
    queue = [applying(PROJECT["project"]["dependencies"]), applying(needed), optional]
    seen: set[str] = set()
    while queue:
        for name in queue.pop().keys() - seen:
            seen.add(name)
            assert name in pinned, f"{name} is not in constraints.txt"
            try:
                queue.append(applying(distribution(name).requires or []))
            except PackageNotFoundError:
                assert name in optional, f"{name} is not installed"


def test_what_is_large_and_seldom_needed_is_an_extra():
    base = applying(PROJECT["project"]["dependencies"])
    assert not base.keys() & {"kaleido", "ray", "optuna", "zensical", "mkdocstrings"}
    assert not applying(PROJECT["project"]["optional-dependencies"]["dev"]).keys() & {"kaleido"}


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_a_python_without_distutils_gets_it_from_setuptools(python):
    """avalanche-lib's GPUtil imports it, and a virtual environment no longer brings setuptools."""
    assert "setuptools" in applying(PROJECT["project"]["dependencies"], python)
    assert f"Programming Language :: Python :: {python}" in PROJECT["project"]["classifiers"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it changes nothing")
def test_one_option_of_make_asks_for_builds_without_cuda():
    def asked(*words):
        command = ["make", "--dry-run", "--always-make", "setup", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    pins = [f"{pin}+cpu" for pin in PINS if pin.startswith(("torch==", "torchvision=="))]
    assert len(pins) == 2
    assert all(pin in asked("TORCH=cpu").stdout for pin in pins)
    assert "+cpu" not in asked().stdout
    assert asked("TORCH=gpu").returncode == 2


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    changes = re.findall(r"^## \[?([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes[0] == PROJECT["project"]["version"]


def test_no_file_names_a_package_index():
    names = ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run", ".pre-commit-config.yaml")
    for name in names:
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|index-url|find-links", text), name
