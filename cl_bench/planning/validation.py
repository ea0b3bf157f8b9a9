"""Pydantic's checks told to a user: the first problem in one line, with key, value and remedy."""

from __future__ import annotations

from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cl_bench.errors import UserError, unknown

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], values: Any, where: str = "", prefix: str = "") -> Model:
    """Return the model filled with values, or raise a `UserError` of one line.

    Args:
        model: the pydantic model to fill.
        values: what was given.
        where: put before the message ("config x.yaml: ").
        prefix: put before each key ("ewc.").
    """
    _refuse_booleans(model, values, where, prefix)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explained(error, model, where, prefix) from None


def _refuse_booleans(model: type[BaseModel], values: Any, where: str, prefix: str) -> None:
    """Refuse true and false (YAML's yes, no, on, off) as numbers: pydantic makes them 1 and 0."""
    for key, value in values.items() if isinstance(values, dict) else ():
        field = model.model_fields.get(str(key))
        annotation = field.annotation if field else Any
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            _refuse_booleans(annotation, value, where, f"{prefix}{key}.")
        elif any(
            isinstance(item, bool) for item in (value if isinstance(value, list) else [value])
        ):
            kinds = _leaves(annotation)
            if bool not in kinds and (int in kinds or float in kinds):
                raise UserError(f"{where}{prefix}{key} = {value}: should be a number")


def _leaves(annotation: Any) -> list[Any]:
    """Return the types that an annotation is made of."""
    inner = get_args(annotation)
    return [leaf for each in inner for leaf in _leaves(each)] if inner else [annotation]


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return the value that a check refuses first and what would be right, in pydantic's words."""
    problem = error.errors()[0]
    right = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    value = repr(problem["input"])
    shown = value if len(value) <= 80 else f"{value[:79]}…"
    return shown, right.partition(", unable to")[0]


def _explained(
    error: ValidationError, model: type[BaseModel], where: str, prefix: str
) -> UserError:
    problem = error.errors()[0]
    value, right = first_problem(error)
    path, owner = _place(problem["loc"], model)
    key = prefix + ".".join(path)
    if problem["type"] == "extra_forbidden":
        start = key.removesuffix(path[-1])
        return UserError(f"{where}{unknown('key', key, [start + n for n in owner.model_fields])}")
    if problem["type"] == "missing":
        return UserError(f"{where}{key} is missing")
    if problem["type"] == "value_error":  # of our own: it names the key and the value
        return UserError(f"{where}{right}")
    return UserError(f"{where}{key} = {value}: {right}")


def _place(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[list[str], type[BaseModel]]:
    """Return the keys that lead to a problem, and the innermost model on the way."""
    owner: type[BaseModel] = model
    path: list[str] = []
    annotation: Any = model
    for part in map(str, loc):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            owner = annotation
            field = owner.model_fields.get(part)
            annotation = field.annotation if field else None
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:  # an item of a list, or a branch of a union
            break
        path.append(part)
    return path, owner
