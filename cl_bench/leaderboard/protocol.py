"""A protocol in words: everything that its id is the hash of, so that two that differ read apart.

Every field of the configuration is walked. Some have words of their own; any other is named with
its value where that is not the default, so that a field added later is said as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cl_bench.config import RunConfig
from cl_bench.results.labels import setting_text

_APART = ("strategy", "seed")
"""What a protocol leaves open."""
_TITLES = {"benchmark": "Tasks", "optimizer": "Optimiser", "init_seed": "Initial weights"}
_USED_BY: Mapping[str, Collection[str]] = {
    "optimizer.momentum": ("momentum",),
    "optimizer.beta1": ("adam",),
    "optimizer.beta2": ("adam", "rmsprop"),
    "optimizer.epsilon": ("adam", "rmsprop"),
}
"""Fields that mean something with some names of their section alone, where they are always said."""
_ORDER = {"seed": "classes in an order drawn by seed", "fixed": "classes in fixed order"}
_WORDS: Mapping[str, Callable[[Any], str]] = {
    "benchmark.name": str,
    "benchmark.tasks": lambda tasks: f"{tasks} tasks",
    "benchmark.scenario": lambda scenario: f"{scenario}-incremental",
    "benchmark.order": lambda order: _ORDER.get(order, ""),
    "benchmark.train_samples": lambda count: f"{count or 'all'} training images a task",
    "benchmark.test_samples": lambda count: f"{count or 'all'} test images",
    "network.name": str,
    "network.hidden": lambda sizes: f"hidden layers of {' and '.join(map(str, sizes)) or 'none'}",
    "optimizer.name": str,
    "optimizer.learning_rate": lambda rate: f"learning rate {setting_text(rate)}",
    "optimizer.reset": lambda reset: (
        f"its state {'starts anew with each task' if reset else 'is kept from task to task'}"
    ),
    "training.epochs": lambda count: (
        f"{setting_text(count)} {'pass' if count == 1 else 'passes'} over each task's training data"
        if count
        else ""
    ),
    "training.iterations": lambda count: f"{count} minibatches a task" if count else "",
    "training.batch_size": lambda size: f"{size} images a minibatch",
    "training.outputs": lambda outputs: (
        f"where classes compete, loss over {'the outputs seen' if outputs == 'seen' else 'all'}"
    ),
    "evaluation.split": lambda split: f"after each task, on its {split} data",
}


def protocol_in_words(config: RunConfig) -> list[str]:
    """Return the protocol of a run, a line for each section of its configuration."""
    lines = []
    for name, field in RunConfig.model_fields.items():
        value = getattr(config, name)
        if name in _APART:
            continue
        if isinstance(value, BaseModel):
            said = [_words(name, value, *each) for each in type(value).model_fields.items()]
        else:
            said = [] if value == field.get_default() else [f"{name.replace('_', ' ')} {value}"]
        text = ", ".join(filter(None, said))
        if text:
            lines.append(f"{_TITLES.get(name, name.capitalize())}: {text}.")
    return lines


def _words(section: str, values: BaseModel, key: str, field: FieldInfo) -> str:
    """Return a field of a section with its value; empty for a default that needs no word."""
    path, value, note = f"{section}.{key}", getattr(values, key), ""
    default = value == field.get_default(call_default_factory=True)
    if path in _USED_BY:
        name = getattr(values, "name", "")
        used = name in _USED_BY[path]
        if default and not used:
            return ""
        default, note = False, "" if used else f" (which {name} does not use)"
    if path in _WORDS:
        return _WORDS[path](value) + note
    text = setting_text(value) if isinstance(value, (int, float, str)) else str(value)
    return "" if default else f"{key.replace('_', ' ')} {text}{note}"
