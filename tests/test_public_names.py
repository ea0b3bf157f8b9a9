"""What can be imported from `cl_bench`: lazily, and every name has its place in the docs."""

import re
import subprocess
import sys
from pathlib import Path

import cl_bench

PAGE = Path(__file__).parent.parent / "docs" / "strategies.md"
OF_RUNS = {
    "Tasks",
    "TrainingError",
    "Tuned",
    "Runs",
    "StrategyPlugin",
    "UserError",
    "__version__",
    "load",
    "run",
    "to_avalanche",
    "tune",
}


def test_every_public_name_is_there_and_none_else():
    assert set(cl_bench._ELSEWHERE) | {"__version__"} == set(cl_bench.__all__)
    for name in set(cl_bench.__all__) - OF_RUNS:  # those are used in tests of their own
        assert getattr(cl_bench, name) is not None


def test_importing_the_package_imports_no_torch():
    code = "import sys, cl_bench; from cl_bench import Scenario; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_on_strategies_says_what_each_public_name_holds():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    text = " ".join(rows) + " `Strategy` `setting(` `Scenario` `Kept`"
    missing = [name for name in cl_bench.__all__ if not re.search(rf"`{name}\b", text)]
    assert set(missing) == OF_RUNS
