"""What a strategy of another library is to the plan: settings and facts, and what trains it.

None of it is imported to plan its runs; `training` trains them in the library's own loop.
"""

from __future__ import annotations

import importlib.util
from typing import Any, ClassVar, NoReturn

from cl_bench.config import RunConfig, Scenario
from cl_bench.engine.strategy import Strategy


class ForeignStrategy(Strategy):
    """A strategy of Avalanche: settings and facts for the plan, and where its class is found."""

    trainer: ClassVar[str] = "cl_bench.avalanche.training:train"
    """What trains runs of it in place of the engine: module and function."""
    made_by: ClassVar[str] = ""
    """Module and class of Avalanche; a plug-in is run in the strategy `Naive`."""
    needs: ClassVar[str] = ""
    """A package that Avalanche uses for it and is not always there."""
    own_minibatches: ClassVar[bool] = False
    """Whether it chooses its minibatches itself; the others are given ours, in our order."""
    own_epochs: ClassVar[bool] = False
    """Whether it trains so many epochs as its settings say, not as many steps as others."""
    all_outputs: ClassVar[bool] = False
    """Whether its own losses let all outputs compete, whatever `training.outputs` says."""

    def __init__(self, *arguments: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} of Avalanche is not trained by the engine")

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        if config.evaluation.landscape is not None:
            return (
                f"evaluation.landscape = {config.evaluation.landscape}: it is trained by another "
                "library's loop, in which the loss landscape is not measured; leave out one of "
                "the two"
            )
        if config.init_seed is not None:
            return (
                f"init_seed = {config.init_seed}: it is trained by another library from the "
                "weights of the run's own seed, and cannot be given others"
            )
        by_class = config.benchmark.scenario is Scenario.CLASS
        if cls.all_outputs and by_class and config.training.outputs != "all":
            return (
                "it lets all outputs compete in its own losses; the nearest that works: "
                "--set training.outputs=all"
            )
        if cls.needs and importlib.util.find_spec(cls.needs) is None:
            return f"it needs the package {cls.needs}: pip install {cls.needs}"
        return None

    @classmethod
    def arguments(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments that the settings stand for."""
        return dict(settings)
