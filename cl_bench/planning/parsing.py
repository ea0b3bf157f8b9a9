"""What a user writes as text (YAML, `--set key=value`, lists with commas) as values.

Nothing is taken for something else in silence: a key that stands twice or an empty name is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from cl_bench.errors import UserError


def parse_yaml(text: str, what: str) -> Any:
    """Return the content of a YAML text.

    Args:
        text: what is read.
        what: the text's name in a message.

    Raises:
        UserError: it is not valid YAML, or a key stands twice in one mapping.
    """
    import yaml

    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if tree is not None:
            _refuse_doubles(tree, what, set())
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{what} is not valid YAML: {' '.join(str(error).split())}") from None


def _refuse_doubles(node: Any, what: str, seen: set[int]) -> None:
    """Raise a UserError where a mapping of a YAML tree has a key twice: one would win unseen."""
    if id(node) in seen or not isinstance(node.value, list):  # an anchor's, or a scalar
        return
    seen.add(id(node))
    if node.id == "sequence":
        for item in node.value:
            _refuse_doubles(item, what, seen)
        return
    lines: dict[Any, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if isinstance(key.value, str):
            if (key.tag, key.value) in lines:
                raise UserError(
                    f"{what}: the key '{key.value}' stands twice, "
                    f"in lines {lines[key.tag, key.value]} and {line}"
                )
            lines[key.tag, key.value] = line
        _refuse_doubles(value, what, seen)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Return the key and the value (read as YAML) of `key=value`."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or not value.strip():
        raise UserError(f"--set {text}: give it as key=value, such as optimizer.learning_rate=0.1")
    return key, numeric(parse_yaml(value, f"--set {text}: the value"))


def parse_seeds(text: str) -> Any:
    """Return the number of seeds that `--seeds` gives, or the seeds: `5`, or `5,6,7`."""
    listed = text if text.lstrip().startswith("[") or "," not in text else f"[{text}]"
    return parse_yaml(listed, f"--seeds {text}")


def split_names(
    texts: Sequence[str] | None, option: str = "--strategy", known: Collection[str] = ()
) -> list[str]:
    """Return the names that an option gives, separated by commas or one at a time.

    Args:
        texts: the option's values.
        option: its name, for the error.
        known: names that may hold commas; a text that is one of them is not taken apart.

    Raises:
        UserError: one of them is empty.
    """
    parts = [[text] if text in known else text.split(",") for text in texts or []]
    names = [name.strip() for part in parts for name in part]
    if "" in names:
        raise UserError(f"{option} {','.join(texts or [])}: a name is empty")
    return names


def numeric(value: Any) -> Any:
    """Read `1e-3` as the number that everyone means; YAML 1.1 takes it for text."""
    if isinstance(value, list):
        return [numeric(item) for item in value]
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
