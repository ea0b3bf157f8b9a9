"""What configurations are called: their strategy, and the settings that tell them apart."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from cl_bench.config import Number, StrategyConfig
from cl_bench.results.store import StoredRun

MOST_SEARCHED = 12
"""Settings of which every choice is tried for the shortest label; of more, all are named."""


def labels(runs: Iterable[StoredRun]) -> dict[str, str]:
    """Return the label of each configuration: its strategy, and what tells it from the others.

    `ewc (strength=100)` where the runs of a protocol hold EWC at several strengths, `ewc` where at
    one. Keys are group_ids, as tables of these runs have them.
    """
    return dict(configurations(runs).values())


def configurations(runs: Iterable[StoredRun]) -> dict[str, tuple[str, str]]:
    """Return the group_id and label of each run by run_id: the shortest label within a protocol.

    Runs of one config that different code trained are different configurations: those of the code
    that trained last keep the group_id, and so do those that do not know their code.
    """
    groups: dict[tuple[str, str], dict[str, list[StoredRun]]] = defaultdict(dict)
    for run in runs:
        key = run.content["protocol_id"], run.config.strategy.name
        groups[key].setdefault(run.content["group_id"], []).append(run)
    found = {}
    for (_, strategy), members in groups.items():
        group_of: dict[str, str] = {}
        settings: dict[str, dict[str, Number]] = {}
        for group_id, of_group in members.items():
            newest, codes = _newest(of_group), {run.code for run in of_group if run.code}
            for run in of_group:
                code = run.code or newest
                own = group_id if code == newest else f"{group_id}-{str(code)[:8]}"
                group_of[run.content["run_id"]] = own
                shown = code if len(codes) > 1 else run.config.strategy.code
                settings[own] = settings_of(run.config.strategy, shown)
        apart = telling(list(settings.values()))
        for run_id, own in group_of.items():
            found[run_id] = own, named(strategy, settings[own], apart)
    return found


def settings_of(strategy: StrategyConfig, code: str | None = None) -> dict[str, Number]:
    """Return a strategy's settings, and its code where that is told."""
    told = code or strategy.code
    return {**strategy.settings, **({} if told is None else {"code": told[:8]})}


def differing(members: Sequence[Mapping[str, Number]]) -> list[str]:
    """Return the names of the settings in which a strategy's configurations differ."""
    keys = dict.fromkeys(key for settings in members for key in settings)
    return [key for key in keys if len(_values(members, [key])) > 1]


def telling(members: Sequence[Mapping[str, Number]]) -> list[str]:
    """Return the fewest settings that tell a strategy's configurations apart, in their order.

    Of as few, those with the most values.
    """
    apart = differing(members)
    whole = len(_values(members, apart))
    if len(apart) <= MOST_SEARCHED:
        ranked = sorted(apart, key=lambda key: -len(_values(members, [key])))
        for count in range(len(apart)):
            for keys in combinations(ranked, count):
                if len(_values(members, keys)) == whole:
                    return [key for key in apart if key in keys]
    return apart


def named(strategy: str, settings: Mapping[str, Number], shown: Iterable[str]) -> str:
    """Return a strategy's name with those of its settings that are to be shown."""
    texts = [f"{key}={setting_text(settings[key])}" for key in shown if key in settings]
    return f"{strategy} ({', '.join(texts)})" if texts else strategy


def setting_text(value: Any) -> str:
    """Return a setting as it can be given to `--set`: `100`, `1e-05`, `true`."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def _values(members: Iterable[Mapping[str, Number]], keys: Sequence[str]) -> set[tuple[str, ...]]:
    """Return the values that these settings have together."""
    return {tuple(repr(settings.get(key)) for key in keys) for settings in members}


def _newest(runs: Iterable[StoredRun]) -> str | None:
    """Return the code of the runs that were trained last."""
    known = [run for run in runs if run.code]
    last = max(known, key=lambda r: r.content["provenance"].get("finished") or "", default=None)
    return last.code if last else None
