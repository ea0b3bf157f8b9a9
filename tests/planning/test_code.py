"""Whether a strategy's code has changed: what it does counts, how it is written down does not."""

import shutil

import pytest

from cl_bench.planning import code, finding

MINE = '''"""A method."""

from cl_bench.engine.strategy import Strategy
from cl_bench.methods.replay import Buffer


class Mine(Strategy):
    """Mine."""

    title = "Mine"

    def after_step(self) -> None:
        """Act."""
        self.kept = Buffer
'''


@pytest.fixture
def source(tmp_path):
    """What strategies share, to be edited."""
    for room in ("methods", "engine"):
        shutil.copytree(code._PACKAGE / room, tmp_path / "cl_bench" / room)
    return tmp_path / "cl_bench"


@pytest.fixture
def mine(tmp_path, source, monkeypatch):
    monkeypatch.setattr(code, "_PACKAGE", source)
    monkeypatch.setattr(finding, "_added", {})
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    finding.add_file(path)
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A method."""', '"""The method,\n\nin other words."""  # and a comment'),
        ('        """Act."""\n', ""),
        ("(self) -> None:", "(\n        self,\n    ) -> None:"),
        ("self.kept = Buffer", "self.kept = (Buffer)\n"),
        ('"Mine"\n', "'Mine'\n"),
    ],
)
def test_comments_docs_and_layout_are_no_code(mine, old, new):
    before = code.code_of("mine")
    assert old in MINE
    mine.write_text(MINE.replace(old, new))
    assert code.code_of("mine") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("self.kept = Buffer", "self.kept = 2"), ("after_step", "end_task"), ("self.kept", "self.k")],
)
def test_what_a_hook_does_is(mine, old, new):
    before = code.code_of("mine")
    mine.write_text(MINE.replace(old, new))
    assert code.code_of("mine") not in (before, None)


def test_so_is_what_it_shares_with_others_and_nothing_else_of_the_suite(mine, source):
    before = code.code_of("mine")
    for other in ("methods/fisher.py", "engine/strategy.py"):
        (source / other).write_text("nothing = 1\n")
    assert code.code_of("mine") == before
    shared = source / "methods" / "replay.py"
    shared.write_text(shared.read_text() + "\nmore = 1\n")
    after = code.code_of("mine")
    assert after != before
    shared.write_text("from cl_bench.methods import fisher\n")
    by_way_of = code.code_of("mine")
    (source / "methods" / "fisher.py").write_text("nothing = 2\n")
    assert code.code_of("mine") not in (by_way_of, after, before)


def test_every_strategy_of_the_suite_has_a_code_and_another_librarys_has_not():
    found = {name: code.code_of(name) for name in finding.strategy_names()}
    assert None not in found.values()
    assert len(set(found.values())) == len(found)
    assert code.code_of("avalanche:EWC") is None
