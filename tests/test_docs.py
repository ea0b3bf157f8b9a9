"""What README and docs promise: links lead somewhere, examples run, figures are the boards'."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import typer

from cl_bench.api import starting
from cl_bench.cli import main
from cl_bench.cli.app import app
from cl_bench.cli.training import Device
from cl_bench.data.search import NotAvailableError
from cl_bench.execution.plans import plan_runs, prepare
from cl_bench.planning import finding, reading
from cl_bench.planning.settings import settings_of
from cl_bench.results.frames import load
from docs.build import ROOT, written_pages
from docs.pages import all_pages, prose
from tests.support import forget_what_was_brought
from tests.training import config, train

PAGES = [page for page in written_pages() if "entries" not in page.parts]
BY_NAME = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
GENERATED = "<!-- Generated"
WRITTEN = {name: text for name, text in BY_NAME.items() if GENERATED not in text[:200]}
LONG = {"bench", "check", "crossvalidate", "landscape", "leaderboard", "reproduce", "tune"}
"""Commands that are not run here: minutes, or tested in a place of their own."""
FEW = ("--set", "benchmark.train_samples=500", "--set", "benchmark.test_samples=100")
SMALL = {
    "run": ("--seeds=2", "--tasks=2", "--workers=1", *FEW),
    "variance": ("--streams=2", "--inits=2", "--tasks=2", "--workers=1", *FEW),
}
"""What makes a command of a page small; later options take the place of earlier ones."""


def commands(text):
    """Return the commands of a page's blocks, as words, in their order."""
    blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks += re.findall(
        r"(?:^    .*\n)+", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    typed = [line for line in lines if re.match(r" *(python|make) ", line)]
    return [shlex.split(line, comments=True) for line in typed]


def of_the_suite(text):
    start = ["python", "-m", "cl_bench"]
    return [words[3:] for words in commands(text) if words[:3] == start]


def files(text):
    """Return what a page tells to save, by the name to save it as."""
    found = re.findall(r"ave this as `([\w.]+)`.*?```\w+\n(.*?)```", text, re.DOTALL)
    return dict(found)


def pages(wanted):
    """Return the pages that a test is for; what needs Avalanche takes its time."""
    slow = {"docs/avalanche.md": pytest.mark.slow}
    names = [name for name, text in BY_NAME.items() if wanted(text)]
    return [pytest.param(name, marks=slow.get(name, ())) for name in names]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all: a strategy's file is known by its name in a process, at one place."""
    return tmp_path_factory.mktemp("desk")


@pytest.fixture
def desk(folder, monkeypatch):
    """A folder to type commands in that holds the files that the pages tell to save, alone."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    saved = {name: text for page in WRITTEN.values() for name, text in files(page).items()}
    saved["my_strategy.py"] = saved["slow_down.py"]
    for name, content in saved.items():
        (folder / name).write_text(content)
    forget_what_was_brought(monkeypatch)
    starting.write("benchmark", "digit-pairs", folder)
    (folder / "leaderboards").symlink_to(ROOT / "leaderboards")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return folder


# --- links and figures ----------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_every_local_link_leads_somewhere(name):
    for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]+))?\)", BY_NAME[name]):
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.is_file(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, f"{target}#{anchor}"


def test_the_readme_is_short():
    assert len(BY_NAME["README.md"].splitlines()) <= 150


def short(value):
    return f"{value:.4f}".replace("0.", ".", 1)


def board(name):
    """Return the best entry of each strategy on a board."""
    rows = json.loads((ROOT / "leaderboards" / name / "table.json").read_text())["entries"]
    return {row["strategy"]: row for row in reversed(rows)}


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_the_table_of_results_is_the_boards(name):
    rows = board("permuted-mnist-5")
    metrics = ("average_accuracy", "forgetting")
    expected = {
        f"| {label} | "
        + " | ".join(
            f"{short(row[key])} [{short(row[f'{key}_low'])}, {short(row[f'{key}_high'])}]"
            for key in metrics
        )
        + " |"
        for label, row in rows.items()
    }
    shown = {
        line for line in BY_NAME[name].splitlines() if re.match(r"\| [\w-]+ \| -?\.\d+ \[", line)
    }
    assert len(shown) >= 9
    assert shown <= expected


def test_the_tables_of_all_boards_are_the_boards():
    lines = BY_NAME["docs/results.md"].splitlines()
    heads = [n for n, line in enumerate(lines) if line.startswith("| strategy | [")]
    assert len(heads) == 2
    for start in heads:
        boards = [board(name) for name in re.findall(r"leaderboards/([\w-]+)/", lines[start])]
        for line in lines[start + 2 :]:
            if not line.startswith("| "):
                break
            label, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            for cell, rows in zip(cells, boards, strict=True):
                if cell:
                    assert cell == f"{rows[label]['average_accuracy']:.3f}".lstrip("0"), line


# --- examples -------------------------------------------------------------------------------


def test_the_example_strategy_runs(desk):
    source = (desk / "slow_down.py").read_text()
    assert len([line for line in source.splitlines() if line.strip()]) <= 15
    name = finding.add_file(desk / "slow_down.py")
    assert name == "slow-down"
    slow, stopped = train([config(name, settings={"factor": f}) for f in (0.1, 0.0)])
    naive = train([config("naive")])[0]
    first = {r.accuracy.query("after_task == 0 and task == 0").loss.item() for r in (slow, naive)}
    assert len(first) == 1, "the first task is plain training"
    assert stopped.accuracy.query("task == 0 and after_task >= 0").accuracy.nunique() == 1


@pytest.mark.parametrize("name", pages(lambda text: "```python" in text))
def test_every_python_example_runs(name, desk):
    assert main(["run", "--strategy", "naive", "--wandb", "off", *SMALL["run"]]) == 0
    space: dict[str, object] = {"__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", WRITTEN[name], re.DOTALL):
        exec(compile(block, name, "exec"), space)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_script_and_the_commands_of_ones_own_train_the_same(desk):
    script = (desk / "own.py").read_text()
    shorter = script.replace('"epochs": 5', '"epochs": 1').replace("seeds=5", "seeds=2")
    (desk / "own.py").write_text(shorter)
    lines = script.splitlines()
    assert len([line for line in lines if line.strip()]) <= 40
    subprocess.run([sys.executable, "own.py"], check=True)
    (desk / "digit_pairs.py").unlink()
    new, run = of_the_suite(BY_NAME["docs/python.md"])[-2:]
    assert main(new) == 0
    assert main([*run, "--set", "training.epochs=1", "--seeds", "2"]) == 0
    written, typed = (set(load(folder)["run_id"]) for folder in ("runs", "own"))
    assert len(written) == len(typed) == 6
    assert len(written & typed) == 4, "er and ewc; the class and the file are each their own"


@pytest.mark.parametrize("name", pages(of_the_suite))
def test_every_command_can_be_typed(name, desk):
    """Its options are known, and what it asks to be trained can be planned."""
    root = typer.main.get_command(app)
    for words in of_the_suite(BY_NAME[name]):
        command, rest = root, list(words)
        while hasattr(command, "commands"):
            command = command.commands[rest.pop(0)]
        given = command.make_context(words[0], rest).params
        if words[0] not in ("run", "tune", "variance"):
            continue
        strategies = [one for text in given["strategy"] or [] for one in text.split(",")]
        keys = ("benchmark", "tasks", "scenario")
        options = {
            f"benchmark.{key if key != 'benchmark' else 'name'}": given.get(key) for key in keys
        }
        options["network.name"] = given.get("network")
        options["seeds"] = given["seeds"] if words[0] == "run" else None
        protocols = reading.read(
            given["config"], strategies=strategies, options=options, assignments=given["set_"] or []
        )
        work, _ = prepare(desk / "runs", Device.CPU, None, 1)
        try:
            assert plan_runs(protocols, work, 1, download=False).stacks, words
        except NotAvailableError:  # of datasets that nothing stands in for
            assert "fashion" in str(words) or "avalanche" in str(words)


def test_every_make_target_is_there():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, text in WRITTEN.items():
        asked = {words[1] for words in commands(text) if words[:1] == ["make"]}
        asked |= set(re.findall(r"`make ([\w-]+)`", text))
        assert asked <= targets, name


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md", "docs/running.md"])
def test_a_page_can_be_followed_in_order(name, desk, capsys):
    for words in of_the_suite(BY_NAME[name]):
        if words[0] in LONG:
            continue
        small = SMALL.get(words[0], ())
        assert main([*words, *small]) == 0, (words, capsys.readouterr().err)


# --- what the code writes -------------------------------------------------------------------


@pytest.fixture(scope="module")
def generated():
    return dict(all_pages())


def test_every_strategy_has_a_page_with_its_settings(generated):
    for name in finding.strategy_names():
        page = generated[f"docs/reference/strategies/{name.replace('+', '-plus')}.md"]
        assert page.startswith(f"# {finding.summary(name).title}\n")
        for key in finding.load(name).Settings.model_fields:
            assert f"| `{name}.{key}` |" in page


def test_a_setting_is_told_with_default_range_and_what_is_searched(generated):
    page = generated["docs/reference/strategies/ewc.md"]
    (row,) = re.findall(r"^\| `ewc.strength` .*$", page, re.MULTILINE)
    one = next(each for each in settings_of("ewc") if each.setting == "strength")
    assert f"`{one.default}`" in row
    assert prose(one.values) in row
    assert prose(one.tuned_over) in row
    assert one.meaning in row


def test_plain_text_is_not_taken_for_markup():
    assert prose("a*b and `c*d` [x] <y>") == r"a\*b and `c*d` \[x\] \<y\>"


def test_every_table_is_well_formed(generated):
    for name, page in generated.items():
        for block in re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE):
            widths = {len(re.split(r"(?<!\\)\|", line)) for line in block.strip().splitlines()}
            assert len(widths) == 1, (name, block[:200])
