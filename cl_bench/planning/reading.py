"""From what a user writes to protocols: a config, changed by options and `--set key=value`.

Whatever is wrong (a misspelt key, a value out of range) becomes one line that names the key,
the value and what would be right. A list in place of a value is a grid, one protocol a point.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cl_bench.config import Protocol
from cl_bench.errors import UserError, unknown
from cl_bench.planning import finding
from cl_bench.planning.parsing import numeric, parse_assignment, parse_yaml
from cl_bench.planning.validation import validated

SECTIONS = ("benchmark", "network", "optimizer", "training", "evaluation")


def read(
    config: str | None = None,
    *,
    strategies: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> list[Protocol]:
    """Return the protocols that a config and its changes describe: one, or one a grid point.

    Args:
        config: name in `configs/` or path of a YAML file; None is the default protocol.
        strategies: names or paths that take the place of the config's strategies; a strategy
            that the config also has keeps the config's settings.
        options: values by dotted key, None where an option was not given.
        assignments: `key=value` with dotted keys, such as `optimizer.learning_rate=0.1` or
            `ewc.strength=100`; they override everything else.

    Raises:
        UserError: anything unknown, malformed or out of range.
    """
    content = load_config(config) if config else {}
    where = f"config {config}: " if config else ""
    _check_keys(content, where)
    content = {
        key: dict(value) if isinstance(value, dict) else value for key, value in content.items()
    }
    default = Protocol.model_fields["strategies"].default
    configured = _resolve_names(content.get("strategies", default).items(), where)
    if strategies:
        chosen = _resolve_names([(name, None) for name in strategies], "")
        configured = {name: configured.get(name, {}) for name in chosen}
    content["strategies"] = configured
    for key, value in (options or {}).items():
        if value is not None:
            _assign(content, key, value)
    for text in assignments:
        key, value = parse_assignment(text)
        _assign(content, key, value)
    points = _points(content)
    for point in points:
        if isinstance(given := point.get("benchmark", {}).get("name"), str) and _is_path(given):
            from cl_bench.planning import bringing

            point["benchmark"]["name"] = bringing.resolve(given)
        if isinstance(given := point.get("network", {}).get("name"), str) and _is_path(given):
            from cl_bench.planning import own_networks

            point["network"] |= own_networks.resolve(given)
    return [validated(Protocol, point, where) for point in points]


def _is_path(name: str) -> bool:
    return "/" in name or ".py" in name or name.endswith(".npz")


def _check_keys(content: dict[str, Any], where: str) -> None:
    """Refuse misspelt keys before anything else looks at the content."""
    for key, value in content.items():
        if key not in Protocol.model_fields:
            raise UserError(f"{where}{unknown('key', str(key), Protocol.model_fields)}")
        if key in (*SECTIONS, "strategies") and not isinstance(value, dict):
            raise UserError(f"{where}{key} = {value!r}: must be a mapping of keys to values")


def _resolve_names(
    strategies: Collection[tuple[str, Any]], where: str
) -> dict[str, dict[str, Any]]:
    """Return the settings given for each strategy, by its name."""
    if not strategies:
        raise UserError(f"{where}strategies = {{}}: name at least one, such as naive: {{}}")
    resolved: dict[str, dict[str, Any]] = {}
    for given, settings in strategies:
        name = finding.resolve(str(given))
        if name in resolved:  # by its name and by its path
            raise UserError(f"{where}strategy '{name}' is given twice")
        if settings is not None and not isinstance(settings, dict):
            raise UserError(
                f"{where}strategies.{given} = {settings!r}: must be a mapping of settings"
            )
        resolved[name] = {key: numeric(value) for key, value in (settings or {}).items()}
    return resolved


def _assign(content: dict[str, Any], key: str, value: Any) -> None:
    head, _, rest = key.removeprefix("strategies.").partition(".")
    top = [name for name in Protocol.model_fields if name not in (*SECTIONS, "strategies")]
    strategies = content["strategies"]
    if head in SECTIONS and rest:
        section = content.setdefault(head, {})
        if head == "training" and rest in ("epochs", "iterations"):
            section.pop("iterations" if rest == "epochs" else "epochs", None)
        section[rest] = value
    elif head in top and not rest:
        content[head] = value
    elif head in strategies and rest:
        strategies[head][rest] = value
    elif head in strategies:
        raise UserError(f"{key} = {value!r}: give one of its settings, as {head}.<setting>=<value>")
    elif head in finding.strategy_names():
        known = ", ".join(strategies)
        raise UserError(f"'{key}' sets strategy '{head}', which is not run here (run: {known})")
    else:
        section_keys = [
            f"{name}.{field}" for name in SECTIONS for field in _section(name).model_fields
        ]
        settings_keys = [
            f"{name}.{field}" for name in strategies for field in _settings_of(name, key)
        ]
        raise unknown("key", key, [*section_keys, *settings_keys, *top])


def _section(name: str) -> type[BaseModel]:
    model = Protocol.model_fields[name].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return model


def _settings_of(name: str, key: str) -> Iterable[str]:
    """Return a strategy's settings, imported only where its name is near the key's."""
    near = name[:2] == key[:2]
    return finding.load(name).Settings.model_fields if near else ()


def _points(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Expand lists in the sections' keys into one content a combination."""
    axes: list[list[tuple[str, str, Any]]] = []
    for section in SECTIONS:
        for key, value in content.get(section, {}).items():
            is_list = isinstance(value, list)
            if (section, key) == ("network", "hidden"):
                is_list = is_list and any(isinstance(item, list) for item in value)
            if is_list:
                if not value:
                    raise UserError(f"{section}.{key} = []: a grid needs at least one value")
                axes.append([(section, key, item) for item in value])
    points = []
    for combination in itertools.product(*axes):
        point = {k: dict(v) if k in SECTIONS else v for k, v in content.items()}
        for section, key, item in combination:
            point[section][key] = item
        points.append(point)
    return points


def config_names() -> list[str]:
    """Return the name of every protocol in `configs/`, in alphabetical order."""
    return sorted(path.stem for path in finding.folder("configs").glob("*.yaml"))


def load_config(name_or_path: str) -> dict[str, Any]:
    """Return the content of a protocol, by its name in `configs/` or by the path of a YAML file.

    Raises:
        UserError: unknown name, no such file, or not a YAML mapping.
    """
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise UserError(f"there is no config file {name_or_path}")
    elif name_or_path in config_names():
        path = finding.folder("configs") / f"{name_or_path}.yaml"
    else:
        raise unknown("config", name_or_path, config_names())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings; a config is a YAML mapping")
    return content
