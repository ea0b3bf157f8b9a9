"""What a strategy or an optimiser keeps, as named tensors and plain values: exact, no pickle.

Everything an object holds as attributes is its state, so that nothing can be forgotten: tensors,
numbers, text, lists, tuples, dictionaries of these, and objects of classes derived from `Kept`.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Json = Any


class Kept:
    """Base of classes whose objects a strategy may keep: their attributes are state as well."""


@dataclass
class State:
    """Values taken apart: `tensors` by name, and a JSON `tree` that says how they go together."""

    tree: Json
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Return the bytes of all tensors."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def of_runs(self, rows: Sequence[int]) -> State:
        """Return the state of some runs of the stack: of each tensor, these rows.

        Raises:
            ValueError: a tensor has fewer rows; its first axis is not the runs.
        """
        chosen = {}
        for name, tensor in self.tensors.items():
            if not tensor.dim() or tensor.shape[0] <= max(rows):
                raise ValueError(f"{name}: its first axis is not the runs of the stack")
            chosen[name] = tensor[torch.tensor(rows, device=tensor.device)]
        return State(self.tree, chosen)


def take(
    owner: object, live: Mapping[str, object], without: Collection[str] = (), prefix: str = ""
) -> State:
    """Return the state of an object: its attributes, taken apart. Tensors are not copied.

    Args:
        owner: whose attributes.
        live: the engine's own objects, by name: an attribute that is one of them is saved as
            its name, and is that very object again after `give`.
        without: names of attributes that are no state.
        prefix: begins the name of every tensor.

    Raises:
        TypeError: an attribute of a kind that cannot be saved.
    """
    writer = _Writer({id(value): name for name, value in live.items()})
    fields = {k: v for k, v in vars(owner).items() if k not in without}
    tree = {name: writer.encode(value, prefix + name) for name, value in fields.items()}
    return State(tree, writer.tensors)


def give(
    owner: object, state: State, live: Mapping[str, object], without: Collection[str] = ()
) -> None:
    """Give an object the attributes that `take` found; those it has besides are taken away."""
    reader = _Reader(state.tensors, live)
    found = {name: reader.decode(node) for name, node in state.tree.items()}
    for name in [k for k in vars(owner) if k not in found and k not in without]:
        delattr(owner, name)
    for name, value in found.items():
        setattr(owner, name, value)


class _Writer:
    def __init__(self, live: dict[int, str]) -> None:
        self.live = live
        self.tensors: dict[str, Tensor] = {}
        self.seen: dict[int, str] = {}

    def encode(self, value: Any, where: str) -> Json:
        if id(value) in self.live and not isinstance(value, (bool, int, float, str, type(None))):
            return {"live": self.live[id(value)]}
        if value is None or isinstance(value, (bool, int, str)):
            return {"value": value}
        if isinstance(value, float):
            return {"float": value.hex()}
        if isinstance(value, Tensor):
            name = self.seen.setdefault(id(value), where)
            self.tensors[name] = value
            return {"tensor": name}
        if isinstance(value, (list, tuple)):
            items = [self.encode(item, f"{where}/{i}") for i, item in enumerate(value)]
            return {type(value).__name__: items}
        if isinstance(value, dict):
            keys = [self.encode(key, where) for key in value]
            items = [self.encode(item, f"{where}/{key}") for key, item in value.items()]
            return {"dict": [list(pair) for pair in zip(keys, items, strict=True)]}
        if isinstance(value, Kept):
            if id(value) in self.seen:
                return {"same": self.seen[id(value)]}
            self.seen[id(value)] = where
            kind = f"{type(value).__module__}:{type(value).__qualname__}"
            fields = {k: self.encode(v, f"{where}/{k}") for k, v in vars(value).items()}
            return {"object": kind, "path": where, "fields": fields}
        raise TypeError(
            f"'{where}' is a {type(value).__name__}, which cannot be saved; keep tensors, numbers, "
            "text, lists, tuples, dictionaries, or objects derived from cl_bench.engine.state.Kept"
        )


class _Reader:
    def __init__(self, tensors: Mapping[str, Tensor], live: Mapping[str, object]) -> None:
        self.tensors = tensors
        self.live = live
        self.objects: dict[str, object] = {}

    def decode(self, node: Json) -> Any:
        if "value" in node:
            return node["value"]
        if "float" in node:
            return float.fromhex(node["float"])
        if "tensor" in node:
            return self.tensors[node["tensor"]]
        if "live" in node:
            return self.live[node["live"]]
        if "same" in node:
            return self.objects[node["same"]]
        if "list" in node:
            return [self.decode(item) for item in node["list"]]
        if "tuple" in node:
            return tuple(self.decode(item) for item in node["tuple"])
        if "dict" in node:
            return {self.decode(key): self.decode(item) for key, item in node["dict"]}
        return self._object(node)

    def _object(self, node: Json) -> object:
        module, _, name = node["object"].partition(":")
        kind: Any = sys.modules.get(module)
        for part in name.split("."):
            kind = getattr(kind, part, None)
        if not (isinstance(kind, type) and issubclass(kind, Kept)):
            raise TypeError(
                f"{node['object']} is not a class derived from cl_bench.engine.state.Kept"
            )
        made = kind.__new__(kind)
        self.objects[node["path"]] = made
        for key, item in node["fields"].items():
            setattr(made, key, self.decode(item))
        return made
