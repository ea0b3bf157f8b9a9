"""Files to begin with: a strategy or a benchmark of one's own, commented, that passes `check`."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from pathlib import Path

from cl_bench.errors import UserError, unknown


def write(kind: str, name: str, folder: Path = Path()) -> Path:
    """Write a starting file and return its path: `my-strategy` is `my_strategy.py`.

    Args:
        kind: "strategy" or "benchmark".
        name: what it is to be called: letters, digits and dashes, a letter first.
        folder: where to put it.

    Raises:
        UserError: there is no such kind, the name cannot be one or is taken, the file is there
            already, or it cannot be written.
    """
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    stem = name.replace("-", "_").lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", stem) or keyword.iskeyword(stem):
        raise UserError(f"'{name}' cannot be a name: give letters, digits and '-', a letter first")
    if stem.replace("_", "-") in _taken(kind):
        raise UserError(f"there is a {kind} '{stem.replace('_', '-')}' already; give another name")
    path = folder / f"{stem}.py"
    title = stem.replace("_", " ").capitalize()
    text = KINDS[kind].replace("TITLE", title).replace("CLASS", title.title().replace(" ", ""))
    text = text.replace("NAME", stem.replace("_", "-")).replace("FILE", path.name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{path} is there already; it is left as it is") from None
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def _taken(kind: str) -> set[str]:
    from cl_bench import benchmarks
    from cl_bench.planning import finding

    names: Callable[[], list[str]] = {
        "strategy": finding.strategy_names,
        "benchmark": benchmarks.names,
    }.get(kind, list)
    return set(names())


_STRATEGY = '''"""TITLE: what it does about forgetting, in a sentence."""

from torch import Tensor

from cl_bench import Batch, Strategy, TaskData, setting


class CLASS(Strategy):
    title = "TITLE"  # as tables show it
    source = "your name, year"
    # What it supports is everything, unless it says so:
    # scenarios = frozenset({Scenario.TASK}); networks = frozenset({"mlp"}); keeps_samples = True

    # A setting: its default, its meaning, the range allowed and the range that `tune` searches.
    # A number may differ from run to run of a stack, and is a tensor [R, 1].
    strength: Tensor = setting(
        0.1, "pull to where the last task ended", low=0, high=1e6, tune=(1e-3, 10), log=True
    )

    # Hooks are written as for one run. The engine trains R runs at once: weights and gradients
    # are [R, D], a minibatch's images [R, B, F], its logits [R, B, C]. Delete what you don't need;
    # docs/strategies.md has them all. Attributes are kept with checkpoints, counted as memory.

    def begin_task(self, task: TaskData) -> None:
        """Prepare for a task; its training data are at hand."""
        self.before = self.theta.clone() if task.index > 0 else None

    def adjust_gradient(self, gradient: Tensor, batch: Batch) -> None:
        """Change the loss gradient [R, D] in place before the optimiser's step."""
        if self.before is not None:
            gradient += self.strength * (self.theta - self.before)

    def end_task(self, task: TaskData) -> None:
        """Keep what is needed of a task that was just learnt; `task.sample` gives its images."""


# Try it:    python -m cl_bench run --strategy naive,./FILE
# Check it:  python -m cl_bench check ./FILE
'''

_BENCHMARK = '''"""TITLE: which tasks come one after the other."""

import numpy as np
from sklearn.datasets import load_digits

from cl_bench import Tasks


def benchmark() -> Tasks:
    """Return the benchmark: one (train_x, train_y, test_x, test_y) a task."""
    # Your own data go here: images as bytes (0 to 255) or numbers of any kind as floats, of any
    # shape, and a label each. These are scikit-learn's digits, 8 x 8 pixels, two classes a task.
    images, labels = load_digits(return_X_y=True)
    images = (images * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    is_test = np.arange(len(labels)) % 5 == 0  # never by chance: the same for everyone
    tasks = []
    for first in range(0, 10, 2):
        mine = (labels == first) | (labels == first + 1)
        train, test = mine & ~is_test, mine & is_test
        tasks.append((images[train], labels[train], images[test], labels[test]))
    # scenario: "class" (all classes so far compete), "task" (each task has outputs of its own, and
    # is named at test time) or "domain" (the tasks share their outputs).
    return Tasks.from_arrays(tasks, scenario="class")


# Try it:    python -m cl_bench run --benchmark ./FILE --strategy naive,er
# Check it:  python -m cl_bench check --benchmark ./FILE
'''

KINDS = {"strategy": _STRATEGY, "benchmark": _BENCHMARK}
OPTIONS = {"strategy": "", "benchmark": "--benchmark "}
"""What stands before the file when `check` is typed."""
