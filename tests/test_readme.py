"""The README's promises: its example strategy runs as it stands and is as short as it says."""

from __future__ import annotations

import re
from pathlib import Path

from cl_bench.planning import finding
from tests.training import config, train

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_strategy_runs(tmp_path):
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in source.splitlines() if line.strip()]) <= 15
    file = tmp_path / "slow_down.py"
    file.write_text(source)
    name = finding.add_file(file)
    assert name == "slow-down"
    slow, stopped = train([config(name, settings={"factor": f}) for f in (0.1, 0.0)])
    naive = train([config("naive")])[0]
    first = {r.accuracy.query("after_task == 0 and task == 0").loss.item() for r in (slow, naive)}
    assert len(first) == 1, "the first task is plain training"
    assert stopped.accuracy.query("task == 0 and after_task >= 0").accuracy.nunique() == 1


def test_every_local_link_leads_somewhere():
    root = Path(__file__).resolve().parents[1]
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (root / target).exists(), target
