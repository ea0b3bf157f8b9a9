"""The drawing of imports: every room of the suite from the ground up, and what it may import.

A room stands above everything that it imports, so that there is no circle and no arrow up. A room
or a loose file that the drawing does not know is refused. `python -m tests.test_architecture`
prints the arrows as they are.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import cl_bench

PACKAGE = Path(cl_bench.__file__).parent
STRATEGIES = PACKAGE.parent / "strategies"
# Room: the rooms below that it may import; from the ground up.
ROOMS: dict[str, str] = {
    "errors": "",
    "plain": "",
    "atomic": "errors",
    "seeding": "errors",
    "config": "errors",
    "data": "errors seeding",
    "benchmarks": "config data errors seeding",
    "metrics": "errors seeding",
    "results": "config errors metrics seeding",
    "engine": "benchmarks config errors results seeding",
    "methods": "config engine errors seeding",
    "instruments": "config engine errors methods seeding",
    "strategies": "config engine errors instruments methods",
    "planning": "benchmarks config data engine errors results",
    "execution": "benchmarks config engine errors instruments planning results",
    "landscape": "benchmarks config engine errors execution instruments methods metrics results "
    "seeding",
    "report": "config errors landscape metrics results",
    "tracking": "config errors metrics results",
    "tuning": "benchmarks config engine errors metrics planning report results seeding",
    "leaderboard": "benchmarks config errors metrics planning report results",
    "avalanche": "benchmarks config data engine errors methods metrics planning results seeding",
    "conformance": "benchmarks config engine errors execution planning results seeding",
    "bench": "avalanche benchmarks config data engine errors methods planning results",
    "api": "benchmarks config data engine errors execution metrics planning report results "
    "tracking tuning",
    "cli": "api avalanche bench benchmarks config conformance data engine errors execution "
    "landscape leaderboard metrics planning report results tracking tuning",
    "__main__": "cli",
    "__init__": "api avalanche benchmarks config engine methods results",
}
# What every room above them may use.
GROUND = ("errors", "plain", "atomic", "seeding")
ONE_FILE = {"errors", "plain", "atomic", "seeding", "config", "__main__", "__init__"}
# Known by no name: whatever they do for one strategy, another could ask for.
BLIND = ("benchmarks", "engine", "execution", "planning")
SOURCES = sorted([*PACKAGE.rglob("*.py"), *STRATEGIES.glob("*.py")])


def module_of(path: Path) -> str:
    """Return a file's module without `cl_bench.`; a package is its folder."""
    root = PACKAGE if path.is_relative_to(PACKAGE) else STRATEGIES.parent
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_of(path): path for path in SOURCES}


def imports(path: Path) -> set[str]:
    """Return the suite's modules that a file imports, lazily or for types as well."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("cl_bench."):
                inner = name.removeprefix("cl_bench.")
                while inner and inner not in MODULES:
                    inner = inner.rpartition(".")[0]
                found.add(inner or "__init__")
    return found - {module_of(path)}


def room(module: str) -> str:
    return module.partition(".")[0]


ARROWS = {module: imports(path) for module, path in MODULES.items()}


def test_every_room_is_in_the_drawing_and_no_file_stands_loose():
    assert {room(module) for module in MODULES} == set(ROOMS)
    loose = {module for module in MODULES if "." not in module and MODULES[module].stem == module}
    assert loose - {"strategies"} == ONE_FILE


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_what_it_may(name):
    allowed = {name, *ROOMS[name].split(), *GROUND}
    found = {
        f"{m} -> {o}"
        for m in MODULES
        if room(m) == name
        for o in ARROWS[m]
        if room(o) not in allowed
    }
    assert not found


def test_no_arrow_goes_up():
    order = list(ROOMS)
    for name, below in ROOMS.items():
        assert all(order.index(other) < order.index(name) for other in below.split()), name


def test_no_file_imports_itself_by_way_of_others():
    """Not even for types. A package's `__init__` re-exports what stands in it and is left out."""
    packages = {module for module, path in MODULES.items() if path.stem == "__init__"}
    graph = {m: others - packages for m, others in ARROWS.items() if m not in packages}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("name", BLIND)
def test_what_runs_every_strategy_names_none(name):
    """Not even in a string."""
    names = {path.stem.replace("_plus", "+").replace("_", "-") for path in STRATEGIES.glob("*.py")}
    for module, path in MODULES.items():
        if room(module) == name:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert node.value not in names, f"{path}:{node.lineno} names {node.value}"


def test_metrics_use_no_more_than_arrays_tables_and_statistics():
    for module, path in MODULES.items():
        if room(module) != "metrics":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                assert name.split(".")[0] not in ("torch", "wandb", "avalanche", "torchvision")


if __name__ == "__main__":
    for one in ROOMS:
        targets = {room(other) for m in MODULES if room(m) == one for other in ARROWS[m]} - {one}
        print(f"{one:12} -> {' '.join(sorted(targets, key=list(ROOMS).index))}")
