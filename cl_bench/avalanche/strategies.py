"""Avalanche's strategies by name (`avalanche:EWC`): what can be run, with Avalanche's own settings.

Avalanche trains them, in its own loop, on our task streams (`training`); their records
stand beside those of our strategies. A class here is named as Avalanche names it.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from typing import Any, Literal

from cl_bench.avalanche.foreign import ForeignStrategy
from cl_bench.config import Scenario
from cl_bench.engine.settings import setting

BETWEEN_TASKS = frozenset({Scenario.DOMAIN, Scenario.CLASS})
"""Scenarios of those whose own losses let outputs compete that belong to different tasks."""


def code_hash() -> str:
    """Return the SHA-256 that stands for the installed version of Avalanche."""
    version = metadata.version("avalanche-lib")
    return hashlib.sha256(f"avalanche-lib=={version}".encode()).hexdigest()


class Naive(ForeignStrategy):
    """Trains on one task after another."""

    title = "Naive (Avalanche)"
    source = "the field's lower reference; avalanche.training.Naive"
    made_by = "avalanche.training:Naive"


class FromScratchTraining(ForeignStrategy):
    """Starts each task from the initial weights."""

    title = "From scratch (Avalanche)"
    source = "avalanche.training.FromScratchTraining"
    made_by = "avalanche.training:FromScratchTraining"
    restart = True


class Cumulative(ForeignStrategy):
    """Goes on training, on the data of all tasks so far."""

    title = "Cumulative (Avalanche)"
    source = "avalanche.training.Cumulative"
    made_by = "avalanche.training:Cumulative"
    all_data = True
    own_minibatches = True


class JointTraining(ForeignStrategy):
    """Starts anew with each task, on the data of all tasks so far."""

    title = "Joint (Avalanche)"
    source = "the field's upper reference; avalanche.training.JointTraining"
    made_by = "avalanche.training:JointTraining"
    all_data = True
    restart = True
    own_minibatches = True


class EWC(ForeignStrategy):
    """Penalty ewc_lambda F (theta - anchor)^2, F of squared gradients of minibatches."""

    title = "EWC (Avalanche)"
    source = "Kirkpatrick et al. 2017, PNAS 114 (arXiv 1612.00796); avalanche.training.EWC"
    made_by = "avalanche.training:EWC"

    ewc_lambda: float = setting(
        1.0, "weight of the penalty", low=0, high=1e12, tune=(1e-2, 1e6), log=True
    )
    mode: Literal["separate", "online"] = setting("separate", "a penalty a task, or one")
    decay_factor: float = setting(1.0, "online: factor of older importances", low=0, high=1)

    @classmethod
    def arguments(cls, settings: dict[str, Any]) -> dict[str, Any]:
        online = settings["mode"] == "online"
        return {**settings, "decay_factor": settings["decay_factor"] if online else None}


class SynapticIntelligence(ForeignStrategy):
    """Path integral of the loss gradient; on the CPU it does nothing unless its copies are made."""

    title = "SI (Avalanche)"
    source = "Zenke et al. 2017 (arXiv 1703.04200); avalanche.training.SynapticIntelligence"
    made_by = "avalanche.training:SynapticIntelligence"

    si_lambda: float = setting(
        1.0, "weight of the penalty", low=0, high=1e12, tune=(1e-2, 1e6), log=True
    )
    eps: float = setting(1e-7, "damping", low=0, high=1e3)
    copies: bool = setting(
        False,
        "copy the weights that Avalanche means to copy: on the CPU it keeps views of the "
        "weights in training, so that all changes and penalties are 0",
    )

    @classmethod
    def arguments(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name != "copies"}


class MAS(ForeignStrategy):
    """Importance by the gradient of the squared outputs, a running average over tasks."""

    title = "MAS (Avalanche)"
    source = "Aljundi et al. 2018, ECCV (arXiv 1711.09601); avalanche.training.MAS"
    made_by = "avalanche.training:MAS"

    lambda_reg: float = setting(
        1.0, "weight of the penalty", low=0, high=1e12, tune=(1e-4, 1e4), log=True
    )
    alpha: float = setting(0.5, "share of the older importances", low=0, high=1)


class RWalk(ForeignStrategy):
    """Fisher information and path integral together."""

    title = "RWalk (Avalanche)"
    source = "Chaudhry et al. 2018, ECCV (arXiv 1801.10112); avalanche's RWalkPlugin"
    made_by = "avalanche.training.plugins:RWalkPlugin"

    ewc_lambda: float = setting(
        0.1, "weight of the penalty", low=0, high=1e12, tune=(1e-4, 1e4), log=True
    )
    ewc_alpha: float = setting(0.9, "weight of each newest Fisher information", low=0, high=1)
    delta_t: int = setting(10, "steps between updates of the scores", low=1)


class LwF(ForeignStrategy):
    """Distils the outputs of the network before the task into the one in training."""

    title = "LwF (Avalanche)"
    source = "Li & Hoiem 2016, ECCV (arXiv 1606.09282); avalanche.training.LwF"
    scenarios = frozenset({Scenario.DOMAIN, Scenario.CLASS})
    made_by = "avalanche.training:LwF"

    alpha: float = setting(
        1.0, "weight of the distillation", low=0, high=1e6, tune=(1e-2, 1e2), log=True
    )
    temperature: float = setting(2.0, "of both softmaxes", low=1e-3, high=1e3)


class LFL(ForeignStrategy):
    """Holds the features of the last hidden layer; the last layer is frozen after a task."""

    title = "LFL (Avalanche)"
    source = "Jung et al. 2016 (arXiv 1607.00122); avalanche.training.LFL"
    scenarios = frozenset({Scenario.DOMAIN})
    networks = frozenset({"mlp"})
    made_by = "avalanche.training:LFL"

    lambda_e: float = setting(
        1.0, "weight of the features' change", low=0, high=1e9, tune=(1e-3, 1e3), log=True
    )


class GEM(ForeignStrategy):
    """Projects the gradient so that no past task's loss rises; needs the package quadprog."""

    title = "GEM (Avalanche)"
    source = "Lopez-Paz & Ranzato 2017, NeurIPS (arXiv 1706.08840); avalanche.training.GEM"
    keeps_samples = True
    made_by = "avalanche.training:GEM"
    needs = "quadprog"

    patterns_per_exp: int = setting(256, "images kept of each task", low=1)
    memory_strength: float = setting(
        0.5, "least multiple of each past gradient that is added", low=0, high=1e3, tune=(0, 1)
    )


class AGEM(ForeignStrategy):
    """Projects the gradient so that the loss on a sample of the memory does not rise."""

    title = "A-GEM (Avalanche)"
    source = "Chaudhry et al. 2019, ICLR (arXiv 1812.00420); avalanche.training.AGEM"
    keeps_samples = True
    made_by = "avalanche.training:AGEM"

    patterns_per_exp: int = setting(256, "images kept of each task", low=1)
    sample_size: int = setting(256, "images of each reference gradient", low=1)


class Replay(ForeignStrategy):
    """Adds as many kept images as there are new ones to each minibatch (experience replay)."""

    title = "ER (Avalanche)"
    source = "Chaudhry et al. 2019 (arXiv 1902.10486); avalanche.training.Replay"
    keeps_samples = True
    made_by = "avalanche.training:Replay"
    own_minibatches = True

    mem_size: int = setting(200, "images kept in all", low=1)


class GDumb(ForeignStrategy):
    """Trains from the initial weights on a class-balanced memory alone."""

    title = "GDumb (Avalanche)"
    source = "Prabhu et al. 2020, ECCV; avalanche.training.GDumb"
    keeps_samples = True
    restart = True
    made_by = "avalanche.training:GDumb"
    own_minibatches = True
    own_epochs = True

    mem_size: int = setting(200, "images kept in all", low=1)
    train_epochs: int = setting(30, "passes over the memory for each task", low=1)

    @classmethod
    def task_steps(
        cls, settings: dict[str, Any], ordinary: int, batch_size: int, images: int
    ) -> int:
        return int(settings["train_epochs"]) * -(-min(settings["mem_size"], images) // batch_size)


class DER(ForeignStrategy):
    """Dark experience replay (++): kept images are held to the outputs they had."""

    title = "DER (Avalanche)"
    source = "Buzzega et al. 2020, NeurIPS (arXiv 2004.07211); avalanche.training.DER"
    scenarios = BETWEEN_TASKS
    keeps_samples = True
    made_by = "avalanche.training.supervised.der:DER"
    all_outputs = True

    mem_size: int = setting(200, "images kept in all", low=1)
    batch_size_mem: int = setting(64, "kept images in each minibatch", low=1)
    alpha: float = setting(0.1, "weight of the outputs' change", low=0, high=1e3, tune=(0, 2))
    beta: float = setting(0.5, "weight of the kept labels", low=0, high=1e3, tune=(0, 2))


class ER_ACE(ForeignStrategy):  # noqa: N801 - named as Avalanche names it
    """Replay in which new images' outputs compete among the new classes alone."""

    title = "ER-ACE (Avalanche)"
    source = "Caccia et al. 2022, ICLR (arXiv 2104.05025); avalanche.training.ER_ACE"
    scenarios = BETWEEN_TASKS
    keeps_samples = True
    made_by = "avalanche.training.supervised.er_ace:ER_ACE"
    all_outputs = True

    mem_size: int = setting(200, "images kept in all", low=1)
    batch_size_mem: int = setting(10, "kept images in each minibatch", low=1)


class MIR(ForeignStrategy):
    """Replays the kept images whose loss the coming step would raise most."""

    title = "MIR (Avalanche)"
    source = "Aljundi et al. 2019, NeurIPS (arXiv 1908.04742); avalanche.training.MIR"
    keeps_samples = True
    made_by = "avalanche.training:MIR"

    mem_size: int = setting(200, "images kept in all", low=1)
    subsample: int = setting(50, "kept images that are looked at in each step", low=1)
    batch_size_mem: int = setting(10, "of these, how many are replayed", low=1)
