"""What follows a tuning: the protocol with the chosen settings, as `run` takes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl_bench.atomic import safe_name
from cl_bench.errors import UserError
from cl_bench.planning import bringing, finding, own_networks
from cl_bench.tuning.record import TuningRecord, read
from cl_bench.tuning.space import LEARNING_RATE
from cl_bench.tuning.study import Request


def configs(request: Request, records: Sequence[TuningRecord]) -> dict[str, str]:
    """Return the YAML files that run the choices: their names, and their content.

    One holds all strategies. With a learning rate of its own each strategy is a protocol of its
    own, and has a file. A strategy whose trials all diverged is left out.
    """
    able = [record for record in records if record.choice is not None]
    if request.learning_rate is None:
        return {"tuned.yaml": _yaml(request, able)} if able else {}
    return {
        f"tuned-{safe_name(record.terms.strategy.name)}.yaml": _yaml(request, [record])
        for record in able
    }


def with_earlier(records: Sequence[TuningRecord], folder: Path) -> list[TuningRecord]:
    """Return records with those, of other strategies, that were tuned before on the same terms.

    Args:
        records: those just made.
        folder: of the records; files that are no whole record are passed over.
    """
    found = {record.terms.strategy.name: record for record in records}
    for path in sorted(folder.glob("*.json")):
        try:
            earlier = read(path)
        except UserError:
            continue
        found.setdefault(earlier.terms.strategy.name, earlier)
    return list(found.values())


def assignments(record: TuningRecord) -> list[str]:
    """Return the choice as `run --set` takes it, such as `ewc.strength=100.0`."""
    name = record.terms.strategy.name
    settings = record.choice.settings if record.choice else {}
    return [
        f"{key if key == LEARNING_RATE else f'{name}.{key}'}={value!r}"
        for key, value in settings.items()
    ]


def _yaml(request: Request, records: Sequence[TuningRecord]) -> str:
    """Return a protocol as `--config` takes it, with the choices of these tunings."""
    import yaml

    protocol, strategies = request.protocol, {}
    for record in records:
        assert record.choice is not None
        name = record.terms.strategy.name
        fixed = {} if name in request.protocol.strategies else _changed(record)
        protocol = request.reported(name, {**fixed, **record.choice.settings})
        strategies[as_given(name)] = protocol.strategies[name]
    content = protocol.model_dump(mode="json", exclude_none=True) | {"strategies": strategies}
    content["benchmark"]["name"] = bringing.as_given(content["benchmark"]["name"])
    content["network"] = own_networks.as_given(content["network"])
    lines = [
        f"Settings chosen by `cl_bench tune`: {request.method} search, a budget of "
        f"{request.trials} trials in full,",
        f"{request.seeds} seeds from {request.first_seed}, best {request.metric} on validation "
        "data. The records beside this file:",
        *(f"  {record.terms.strategy.name}: tuning {record.tuning_id}" for record in records),
    ]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return "".join(f"# {line}\n" for line in lines) + text


def _changed(record: TuningRecord) -> dict[str, Any]:
    """Return the settings that a tuning was told to hold at other values than the defaults."""
    strategy = record.terms.strategy
    defaults = finding.load(strategy.name).Settings().model_dump(mode="json")
    return {key: v for key, v in strategy.settings.items() if defaults.get(key, v) != v}


def as_given(name: str) -> str:
    """Return a strategy as `run` can be told it: one from a file outside by the file's path."""
    path = finding.summary(name).path
    return str(path) if path in finding.added_files() else name
