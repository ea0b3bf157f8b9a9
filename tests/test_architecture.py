"""The arrows between rooms: which part of the suite may import which, read from the source."""

import ast
from pathlib import Path

import pytest

from cl_bench import registry

PACKAGE = Path(registry.__file__).parent
STRATEGIES = set(registry.strategy_names())
# Room: what it may import of the suite. A room's own modules are always allowed.
ALLOWED = {
    "errors": set(),
    "seeding": {"errors"},
    "config": {"errors"},
    "data": {"errors", "seeding"},
    "benchmarks": {"config", "data", "errors", "seeding"},
    "metrics": {"errors", "seeding", "results.record"},
    "results": {"config", "errors", "metrics", "seeding"},
    "tracking": {"config", "errors", "metrics", "results"},
    "report": {"config", "errors", "landscape.record", "landscape.summary", "metrics", "results"},
    "registry": {"config", "errors", "strategy"},
    "protocol": {"config", "errors", "registry"},
    "engine": {
        *{"benchmarks", "config", "errors", "registry", "results", "seeding", "state"},
        "strategy",
    },
    "state": set(),
    "strategy": {"config", "engine", "state"},
    "replay": {"engine", "state", "strategy"},
    "exploration": {"engine", "strategy"},
    "linalg": {"engine"},
    "precision": {"engine", "linalg", "state"},
    "fisher": {"engine"},
    "landscape": {
        *{"benchmarks", "config", "engine", "errors", "linalg", "metrics", "results", "seeding"},
        *{"state", "strategy"},
    },
    "consolidation": {"engine", "exploration", "fisher", "precision", "strategy"},
    "crossvalidation": {"interop", "metrics", "results"},
    "layerwise": {"engine"},
    "projection": {"engine", "strategy"},
    "interop": {
        *{"benchmarks", "config", "data", "engine", "errors", "protocol", "results", "seeding"},
        *{"registry", "strategy"},
    },
    "conformance": {
        *{"benchmarks", "config", "engine", "errors", "execution", "plan", "registry", "results"},
        *{"seeding", "state", "strategy"},
    },
    "leaderboard": {
        *{"benchmarks", "config", "errors", "metrics", "protocol", "registry", "report"},
        "results",
    },
    "reproduction": {
        *{"benchmarks", "config", "errors", "leaderboard", "metrics", "protocol", "registry"},
        "results",
    },
    "tuning": {
        *{"benchmarks", "config", "errors", "metrics", "plan", "protocol", "registry", "report"},
        *{"results", "seeding", "strategy"},
    },
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return the suite's modules that a file imports, without `cl_bench.`; types count, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {n.removeprefix("cl_bench.") for n in names if n.startswith("cl_bench.")}
    return found


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_it_may(room):
    for path in SOURCES:
        if room_of(path) != room:
            continue
        allowed = {room, *ALLOWED[room]}
        for name in imports(path):
            assert any(f"{name}.".startswith(f"{a}.") for a in allowed), f"{path} imports {name}"


def test_nothing_but_the_command_line_imports_the_command_line():
    for path in SOURCES:
        if room_of(path) not in ("cli", "__main__"):
            for name in imports(path):
                assert not f"{name}.".startswith("cli."), f"{path} imports {name}"


def test_no_strategy_imports_the_command_line_or_another_strategy():
    for path in registry.folder("strategies").glob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] not in ("cli", "strategies", "plan", "execution"), path


def test_the_engine_and_what_it_stands_on_name_no_strategy():
    """Not even in a string: whatever they do for one strategy, another could ask for."""
    for path in SOURCES:
        if room_of(path) not in ("engine", "benchmarks", "execution", "plan", "strategy"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in STRATEGIES, f"{path}:{node.lineno} names {node.value}"
        assert not any(name.startswith("strategies") for name in imports(path)), path


def test_metrics_use_no_more_than_arrays_tables_and_statistics():
    for path in SOURCES:
        if room_of(path) != "metrics":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                assert name.split(".")[0] not in ("torch", "wandb", "avalanche", "torchvision")
