"""Which of our methods is which of Avalanche's, at settings that mean the same.

Lines of Avalanche are those of its version 0.6.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cl_bench.config import Protocol

BASELINE = "naive"
"""Trained in every protocol: a method that does not differ from it was not put to the test."""

PROTOCOLS: dict[str, dict[str, Any]] = {
    "permuted": {
        "description": "permuted MNIST, 3 tasks of 20,000 images, minibatches of 64",
        "benchmark": {"name": "permuted-mnist", "tasks": 3, "train_samples": 20_000},
    },
    "permuted, 2 tasks": {
        "description": "the first two tasks of the same",
        "benchmark": {"name": "permuted-mnist", "tasks": 2, "train_samples": 20_000},
    },
    "singly": {
        "description": "permuted MNIST, 3 tasks of 1,500 images, one at a time, rate 0.003",
        "benchmark": {"name": "permuted-mnist", "tasks": 3, "train_samples": 1_500},
        "optimizer": {"learning_rate": 0.003},
        "training": {"batch_size": 1},
    },
    "singly, 2 tasks": {
        "description": "the first two tasks of the same",
        "benchmark": {"name": "permuted-mnist", "tasks": 2, "train_samples": 1_500},
        "optimizer": {"learning_rate": 0.003},
        "training": {"batch_size": 1},
    },
    "small": {
        "description": "permuted MNIST, 3 tasks of 1,000 images, minibatches of 10, rate 0.05",
        "benchmark": {"name": "permuted-mnist", "tasks": 3, "train_samples": 1_000},
        "optimizer": {"learning_rate": 0.05},
        "training": {"batch_size": 10},
    },
    "small, 2 tasks": {
        "description": "the first two tasks of the same",
        "benchmark": {"name": "permuted-mnist", "tasks": 2, "train_samples": 1_000},
        "optimizer": {"learning_rate": 0.05},
        "training": {"batch_size": 10},
    },
    "split, class": {
        "description": "split MNIST, 5 tasks, class-incremental, all outputs compete",
        "benchmark": {"name": "split-mnist", "tasks": 5, "scenario": "class"},
        "training": {"outputs": "all"},
    },
}
"""What is not said is as in the default protocol: one epoch, MLP 100-100, SGD at 0.1, 64."""

_TINY_STEPS = 12
"""Steps of a task at least, where pairs are only tried: what acts now and then acts in them."""
_PLAIN = {"exploration_steps": 0, "average_weights": False}
_EXPLICIT = {**_PLAIN, "form": "explicit"}


@dataclass(frozen=True)
class Pair:
    """One method as ours and as Avalanche's, at settings that mean the same."""

    name: str
    protocol: str
    """A key of `PROTOCOLS`."""
    ours: tuple[str, dict[str, Any]]
    """Name and settings."""
    theirs: tuple[str, dict[str, Any]]
    mapping: str = ""
    """How the settings correspond."""
    why: str = ""
    """What explains a difference, by file and line of Avalanche 0.6.0."""

    def as_protocol(self, seeds: int, *, quick: bool = False) -> Protocol:
        """Return what to train: both of the pair and the baseline."""
        content = dict(PROTOCOLS[self.protocol])
        if quick:
            images = max(150, _TINY_STEPS * content.get("training", {}).get("batch_size", 64))
            tiny = {"train_samples": images, "test_samples": 100}
            content["benchmark"] = {**content["benchmark"], **tiny}
        named = {BASELINE: {}, self.ours[0]: self.ours[1], self.theirs[0]: self.theirs[1]}
        return Protocol.model_validate({**content, "strategies": named, "seeds": seeds})


_BATCH_MEAN = {**_EXPLICIT, "fisher": "batch-mean", "fisher_samples": 20_000}
_SINGLE = {**_EXPLICIT, "fisher": "empirical", "fisher_samples": 1_500}
_HALF = "Our penalty is strength/2 times the quadratic form, theirs the whole of it ({}): half."
_RWALK = "Our interval is their delta_t, our damping their float epsilon (rwalk.py:156). " + (
    _HALF.format("rwalk.py:193")
)

PAIRS: tuple[Pair, ...] = (
    Pair("naive", "permuted", ("naive", {}), ("avalanche:Naive", {})),
    Pair(
        "joint",
        "permuted",
        ("joint", _PLAIN),
        ("avalanche:JointTraining", {}),
        mapping="Each draws its own minibatches.",
    ),
    Pair(
        "cumulative",
        "permuted",
        ("cumulative", _PLAIN),
        ("avalanche:Cumulative", {}),
        mapping="Each draws its own minibatches.",
    ),
    Pair(
        "ewc, singly",
        "singly",
        ("ewc", {**_SINGLE, "strength": 100.0}),
        ("avalanche:EWC", {"ewc_lambda": 50.0}),
        mapping=f"{_HALF.format('ewc.py:110')} Theirs squares the gradient of a minibatch's mean "
        "loss (ewc.py:178), of one image here, which is our empirical Fisher.",
    ),
    Pair(
        "ewc",
        "permuted",
        ("ewc", {**_BATCH_MEAN, "strength": 400.0}),
        ("avalanche:EWC", {"ewc_lambda": 200.0}),
        mapping="As before; our Fisher is the one of minibatches here, too.",
        why="Which images make up a minibatch of the Fisher differs: theirs takes them in the "
        "order of the dataset, ours at random.",
    ),
    Pair(
        "online ewc, singly",
        "singly",
        ("online-ewc", {**_SINGLE, "strength": 100.0, "decay": 0.5}),
        ("avalanche:EWC", {"ewc_lambda": 50.0, "mode": "online", "decay_factor": 0.5}),
        mapping=_HALF.format("ewc.py:110"),
    ),
    Pair(
        "si",
        "permuted",
        ("si", {**_EXPLICIT, "strength": 2.0, "damping": 0.1}),
        ("avalanche:SynapticIntelligence", {"si_lambda": 2.0, "eps": 0.1}),
        mapping="Both penalties are half of strength (si_lambda) times the quadratic form.",
        why="Avalanche's SI does nothing on the CPU: `extract_weights` keeps "
        "`param.detach().cpu().flatten()` (synaptic_intelligence.py:215), there a view of the "
        "weights in training, so that every change of a weight and every distance from the anchor "
        "is 0. Its weights are those of `avalanche:Naive` to the bit.",
    ),
    Pair(
        "si, copies made",
        "permuted",
        ("si", {**_EXPLICIT, "strength": 2.0, "damping": 0.1}),
        ("avalanche:SynapticIntelligence", {"si_lambda": 2.0, "eps": 0.1, "copies": True}),
        mapping="The same with those copies made (`copies=true`).",
        why="Avalanche's clips every importance at 0.001, whatever eps is "
        "(synaptic_intelligence.py:149): the weights that matter most are held least.",
    ),
    Pair(
        "si, nothing clipped, 2 tasks",
        "permuted, 2 tasks",
        ("si", {**_EXPLICIT, "strength": 20_000.0, "damping": 1000.0}),
        ("avalanche:SynapticIntelligence", {"si_lambda": 20_000.0, "eps": 1000.0, "copies": True}),
        mapping="With so much damping no importance reaches Avalanche's 0.001.",
    ),
    Pair(
        "si, nothing clipped",
        "permuted",
        ("si", {**_EXPLICIT, "strength": 20_000.0, "damping": 1000.0}),
        ("avalanche:SynapticIntelligence", {"si_lambda": 20_000.0, "eps": 1000.0, "copies": True}),
        why="From the third task on, theirs integrates the penalty's gradient along with the "
        "loss's (synaptic_intelligence.py:226 reads it after the penalty was added).",
    ),
    Pair(
        "mas, singly, 2 tasks",
        "singly, 2 tasks",
        ("mas", {**_EXPLICIT, "strength": 1.0, "samples": 1_500}),
        ("avalanche:MAS", {"lambda_reg": 0.5}),
        mapping=_HALF.format("mas.py:143"),
    ),
    Pair(
        "mas, singly",
        "singly",
        ("mas", {**_EXPLICIT, "strength": 1.0, "samples": 1_500}),
        ("avalanche:MAS", {"lambda_reg": 0.5}),
        mapping=_HALF.format("mas.py:143"),
        why="Theirs keeps a running average of the tasks' importances (mas.py:172), ours their "
        "sum, as the paper has it: theirs holds the past more loosely from the third task on.",
    ),
    Pair(
        "mas",
        "permuted",
        ("mas", {**_EXPLICIT, "strength": 0.4, "samples": 20_000}),
        ("avalanche:MAS", {"lambda_reg": 0.2}),
        mapping=_HALF.format("mas.py:143"),
        why="Theirs takes the absolute value of a minibatch's mean gradient (mas.py:99 and 109), "
        "in which images cancel; the paper, and ours, of each image's gradient. And as above.",
    ),
    Pair(
        "rwalk, singly",
        "singly",
        ("rwalk", {**_EXPLICIT, "strength": 1.0, "interval": 1, "damping": 2.0**-23}),
        ("avalanche:RWalk", {"ewc_lambda": 0.5, "delta_t": 1}),
        mapping=_RWALK,
    ),
    Pair(
        "rwalk",
        "permuted",
        ("rwalk", {**_EXPLICIT, "strength": 1.0, "interval": 10, "damping": 2.0**-23}),
        ("avalanche:RWalk", {"ewc_lambda": 0.5, "delta_t": 10}),
        mapping=_RWALK,
        why="Theirs squares the gradients of minibatches' means, at every step (rwalk.py:120), "
        "ours the gradients of single images, once an interval; theirs leaves out what fell below "
        "0 at the end of a task (rwalk.py:248), ours, as the authors' code, in each interval.",
    ),
    Pair(
        "lwf, 2 tasks",
        "permuted, 2 tasks",
        ("lwf", {"strength": 1.0, "temperature": 2.0}),
        ("avalanche:LwF", {"alpha": 1.0, "temperature": 2.0}),
        mapping="Neither multiplies by the square of the temperature (regularization.py:96).",
    ),
    Pair(
        "lwf",
        "permuted",
        ("lwf", {"strength": 1.0, "temperature": 2.0}),
        ("avalanche:LwF", {"alpha": 1.0, "temperature": 2.0}),
        why="Ours counts the old outputs once for every past task, as algorithm 1 sums over them "
        "and van de Ven & Tolias do where tasks share their outputs; theirs once "
        "(regularization.py:130).",
    ),
    Pair(
        "lwf, class",
        "split, class",
        ("lwf", {"strength": 1.0, "temperature": 2.0}),
        ("avalanche:LwF", {"alpha": 1.0, "temperature": 2.0}),
        why="Theirs compares among the outputs of old classes alone (regularization.py:96), ours "
        "among all that compete in training, here all ten. Restricted to those, ours ended at "
        "their weights but for rounding.",
    ),
    Pair(
        "gem, all kept",
        "small",
        ("gem", {"memory_per_task": 1_000, "margin": 0.5}),
        ("avalanche:GEM", {"patterns_per_exp": 1_000, "memory_strength": 0.5}),
        mapping="Every image is kept, so that the memories are the same. Theirs adds 0.001 to the "
        "diagonal of the quadratic programme (gem.py:170), ours solves it as it is.",
    ),
    Pair(
        "gem",
        "permuted",
        ("gem", {"memory_per_task": 256, "margin": 0.5}),
        ("avalanche:GEM", {"patterns_per_exp": 256, "memory_strength": 0.5}),
        mapping="Each draws its own memory.",
    ),
    Pair(
        "a-gem, all kept",
        "small, 2 tasks",
        ("a-gem", {"buffer_size": 1_000, "replay_batch_size": 1_000}),
        ("avalanche:AGEM", {"patterns_per_exp": 1_000, "sample_size": 1_000}),
        mapping="Every image is kept, and all of them are looked at.",
    ),
    Pair(
        "a-gem",
        "permuted",
        ("a-gem", {"buffer_size": 512, "replay_batch_size": 256}),
        ("avalanche:AGEM", {"patterns_per_exp": 256, "sample_size": 256}),
        mapping="Each draws its own memory: ours has 512 places in all, theirs 256 for each task.",
    ),
    Pair(
        "er",
        "split, class",
        ("er", {"buffer_size": 500}),
        ("avalanche:Replay", {"mem_size": 500}),
        mapping="Both replay as many images as the minibatch has.",
        why="Theirs replays past tasks alone, and fills its memory after each task, balanced over "
        "tasks (replay.py:122); ours is the paper's reservoir of the whole stream, the task in "
        "training included.",
    ),
    Pair(
        "er, filled by task",
        "split, class",
        ("er", {"buffer_size": 500, "fill": "task"}),
        ("avalanche:Replay", {"mem_size": 500}),
        mapping="As before; our memory is filled after each task, balanced over tasks, too. Each "
        "draws its own.",
    ),
    Pair(
        "gdumb",
        "split, class",
        ("gdumb", {"buffer_size": 500, "passes": 30}),
        ("avalanche:GDumb", {"mem_size": 500, "train_epochs": 30}),
        mapping="Each draws its own memory and minibatches; theirs ends each pass over it with a "
        "small minibatch.",
    ),
    Pair(
        "der++",
        "split, class",
        ("der++", {"buffer_size": 500, "alpha": 0.5, "beta": 0.5}),
        ("avalanche:DER", {"mem_size": 500, "batch_size_mem": 64, "alpha": 0.5, "beta": 0.5}),
        why="Theirs keeps images after each task, balanced over classes, with the logits of then, "
        "and replays one minibatch for both terms (der.py:317 says so); ours, as the paper, "
        "keeps them from a reservoir with the logits of their own step, and replays two.",
    ),
)
