"""Pydantic's checks told to a user: the first problem in one line, with key, value and remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from cl_bench.errors import UserError, unknown

Model = TypeVar("Model", bound=BaseModel)

_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def validated(model: type[Model], values: Any, where: str = "", prefix: str = "") -> Model:
    """Return the model filled with values, or raise a `UserError` of one line.

    Args:
        model: the pydantic model to fill.
        values: what was given.
        where: put before the message ("config x.yaml: ").
        prefix: put before each key ("ewc.").
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explained(error, model, where, prefix) from None


def _explained(
    error: ValidationError, model: type[BaseModel], where: str, prefix: str
) -> UserError:
    """Turn pydantic's report into one line about its first problem."""
    problem = error.errors()[0]
    owner: type[BaseModel] = model
    field: FieldInfo | None = None
    path: list[str] = []
    annotation: Any = model
    for part in map(str, problem["loc"]):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            owner, field = annotation, annotation.model_fields.get(part)
            annotation = field.annotation if field else None
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:  # an item of a tuple, or a branch of a union
            break
        path.append(part)
    if problem["type"] == "extra_forbidden":
        start = prefix + "".join(f"{part}." for part in path[:-1])
        known = [start + name for name in owner.model_fields]
        return UserError(f"{where}{unknown('key', start + path[-1], known)}")
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] == "value_error" or field is None:
        return UserError(f"{where}{message}")
    allowed = _allowed(field)
    if allowed:
        message = f"must be {allowed}"
    return UserError(f"{where}{prefix}{'.'.join(path)} = {problem['input']!r}: {message}")


def _allowed(field: FieldInfo) -> str:
    """Return the allowed range of a numeric field as text, or nothing."""
    bounds: dict[str, Any] = {}

    def collect(marks: Iterable[Any]) -> None:
        for mark in marks:
            for name in _BOUNDS:
                if getattr(mark, name, None) is not None:
                    bounds[name] = getattr(mark, name)

    def walk(annotation: Any) -> None:
        collect(getattr(annotation, "__metadata__", ()))
        for inner in get_args(annotation):
            if isinstance(inner, FieldInfo):
                collect(inner.metadata)
            walk(inner)
        for mark in getattr(annotation, "__metadata__", ()):
            if isinstance(mark, FieldInfo):
                collect(mark.metadata)

    collect(field.metadata)
    walk(field.annotation)
    if not bounds:
        return ""
    return "a number " + " and ".join(
        f"{sign} {bounds[name]:g}" for name, sign in _BOUNDS.items() if name in bounds
    )
