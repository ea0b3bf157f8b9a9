"""Strategies are found by name, and mistakes in their files are told in one line."""

import subprocess
import sys

import pytest

from cl_bench.config import Scenario
from cl_bench.errors import UserError
from cl_bench.planning import finding

MINE = '''"""Mine: holds nothing.

More about it.
"""
from cl_bench.config import Scenario
from cl_bench.engine.strategy import Strategy


class Mine(Strategy):
    title = "My method"
    source = "me"
    scenarios = frozenset({Scenario.TASK, Scenario.CLASS})
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "my_method.py"
    path.write_text(MINE)
    return path


def test_the_suites_strategies_are_found_without_importing_torch():
    code = (
        "import sys; from cl_bench.planning import finding;"
        "found = [finding.summary(n) for n in finding.strategy_names()];"
        "assert {'naive', 'joint', 'ewc', 'flatness'} <= {s.name for s in found};"
        "assert all(s.title and s.doc for s in found), found;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_summary_says_without_importing_is_what_the_class_says():
    for name in finding.strategy_names():
        summary, strategy = finding.summary(name), finding.load(name)
        assert (summary.title, summary.source) == (strategy.title, strategy.source)
        assert set(summary.scenarios) == strategy.scenarios


def test_a_file_from_anywhere_is_a_strategy(mine):
    name = finding.resolve(str(mine))
    assert name == "my-method"
    assert name in finding.strategy_names()
    assert finding.load(name).title == "My method"
    assert finding.summary(name).scenarios == (Scenario.TASK, Scenario.CLASS)
    assert finding.summary(name).doc == "Mine: holds nothing."
    assert finding.added_files() == [mine]


def test_the_code_of_an_outside_strategy_is_part_of_its_address(mine):
    name = finding.add_file(mine)
    before = finding.code_hash(name)
    mine.write_text(MINE + "\n# changed\n")
    assert before is not None
    assert finding.code_hash(name) != before
    assert finding.code_hash("naive") is None


def test_a_file_may_not_take_the_name_of_another_strategy(mine):
    taken = mine.with_name("naive.py")
    taken.write_text(MINE)
    with pytest.raises(UserError, match="name 'naive' is taken"):
        finding.add_file(taken)
    own = finding.folder("strategies") / "naive.py"
    assert finding.add_file(own) == "naive"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "must define one subclass of Strategy; found none"),
        (MINE + "\n\nclass Other(Strategy): ...\n", "found Mine, Other"),
        ("import not_there\n", r"case_\w+\.py:1: ModuleNotFoundError: No module named 'not_there'"),
        ("\ndef broken(:\n", r"does not import: \S+case_\w+\.py:2: invalid syntax"),
        ("\n\nint('x')\n", r"case_\w+\.py:3: ValueError: invalid literal for int"),
        ("1 / 0\n", r"case_\w+\.py:1: ZeroDivisionError: division by zero"),
        ("import math\nmath.nothing\n", r"case_\w+\.py:2: AttributeError: .*nothing"),
        ("raise KeyError('a\\nb')\n", r"case_\w+\.py:1: KeyError: "),
        ("import json\njson.loads('{')\n", r"case_\w+\.py:2: JSONDecodeError: Expecting"),
        ("assert False\n", r"case_\w+\.py:1: AssertionError$"),
        ("import sys\nsys.exit(3)\n", r"case_\w+\.py:2: SystemExit: 3"),
    ],
)
def test_a_file_that_is_no_strategy_is_refused(mine, text, message):
    path = mine.with_name(f"case_{abs(hash(text))}.py")
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        finding.load(str(path))
    assert "\n" not in str(caught.value)


def test_what_a_file_prints_as_it_is_imported_is_no_output(mine, capsys):
    mine.write_text("print('imported')\n" + MINE)
    finding.load(str(mine))
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "imported\n")


def test_unknown_names_get_the_nearest():
    with pytest.raises(UserError, match="did you mean flatness"):
        finding.resolve("flatnes")
    with pytest.raises(UserError, match="no strategy file"):
        finding.resolve("./not_there.py")
