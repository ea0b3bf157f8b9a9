"""Strategies given as classes: which name each goes by, and whether other processes can have it."""

from __future__ import annotations

import sys
from typing import Any

from cl_bench.errors import UserError
from cl_bench.planning import finding, importing, session


def add(strategy: Any) -> str:
    """Make a strategy's class known in this process and return the name that it goes by.

    A class that is the only strategy of an imported file goes by the file, which worker processes
    import as well. Any other, of a script or a notebook's cell, is for this process alone
    (`session`).

    Raises:
        UserError: it is no strategy, its name is taken, or its source cannot be read.
    """
    from cl_bench.engine.strategy import Strategy

    if not (isinstance(strategy, type) and issubclass(strategy, Strategy)):
        raise UserError(f"{strategy!r} is no strategy: give a name, a file or a class of Strategy")
    module = sys.modules.get(strategy.__module__)
    if name := finding.name_of_module(strategy.__module__, strategy.__name__):
        return name
    if strategy.__module__.startswith("cl_bench."):
        raise UserError(f"{strategy.__name__} is what strategies are derived from, not one itself")
    file = getattr(module, "__file__", None)
    if file and "." not in strategy.__module__ and strategy.__module__ != "__main__":
        assert module is not None
        if importing.strategies_in(module) == [strategy]:
            return finding.add_file(file)
    return session.add(strategy, set(finding.strategy_names()) - set(session.names()))
