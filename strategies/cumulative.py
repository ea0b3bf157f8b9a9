"""Training on the data of all tasks so far, each time from the weights of the time before.

An upper reference like joint training, but warm: what it lacks to joint training is what old
weights cost, and no forgetting.
"""

from __future__ import annotations

from typing import Any

from cl_bench.engine.settings import setting
from cl_bench.methods.exploration import Exploration


class Cumulative(Exploration):
    """Goes on from the current weights on everything seen, as many epochs as one task gets.

    With `iterations` each task gets so many minibatches instead, however many came before, as in
    the offline training of van de Ven & Tolias 2019 (arXiv 1904.07734).

    It explores and averages at the end as joint training and the consolidation methods do.
    """

    title = "Cumulative"
    source = "the field's warm upper reference; Lomonaco et al. 2021 (arXiv 2104.00405)"
    all_data = True

    iterations: int = setting(
        0,
        "minibatches at each task; 0 is the protocol's, of all tasks so far",
        low=0,
        later=True,
    )

    @classmethod
    def task_steps(
        cls, settings: dict[str, Any], ordinary: int, batch_size: int, images: int
    ) -> int:
        return int(settings["iterations"]) or ordinary
