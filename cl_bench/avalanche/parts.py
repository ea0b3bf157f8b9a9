"""What a user hands to Avalanche: network, loss, optimiser, loader and plug-ins, made from a run.

The classes that derive from Avalanche's are made when they are asked for: importing it takes
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cl_bench.config import OptimizerConfig, Scenario, TrainingConfig
from cl_bench.engine.losses import masked
from cl_bench.engine.modules import ModuleNetwork
from cl_bench.engine.networks import MLP, Network
from cl_bench.engine.tasks import Outputs, TaskData


class Perceptron(nn.Module):
    """The network `mlp` as a torch module, its parameters named as ours are."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def get_features(self, images: Tensor) -> Tensor:
        """Return the input [B, H] of the last layer (a name that Avalanche calls)."""
        value = images.flatten(1)
        for layer in self.layers[:-1]:
            value = functional.relu(layer(value))
        return value

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers[-1](self.get_features(images))
        return logits


def make_module(network: Network, seed: int) -> nn.Module:
    """Return the torch module of a network, at the initial weights of a seed."""
    if isinstance(network, MLP):
        from avalanche.models.base_model import BaseModel

        BaseModel.register(Perceptron)  # it has what Avalanche's LFL asks of its own models
        module: nn.Module = Perceptron(network.sizes)
    else:
        assert isinstance(network, ModuleNetwork)
        module = network.build()
    module.load_state_dict(network.unstack(network.initial(seed)))
    return module


def flat_weights(module: nn.Module) -> Tensor:
    """Return the weights [D] of a module, in the order of our networks' parameters."""
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


class MaskedCrossEntropy(nn.Module):
    """Mean cross-entropy in which the outputs compete as they do in our engine.

    Task-incremental: those of the task that a sample's label belongs to, told from the label.
    Avalanche's plug-ins read and set `reduction`, as of `torch.nn.CrossEntropyLoss`.
    """

    def __init__(self, outputs: Outputs) -> None:
        super().__init__()
        self.reduction = "mean"
        self.task = 0
        """Number of the task in training."""
        self._outputs = outputs
        self._task_of_label = outputs.of_task.int().argmax(0)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits [B, C] and labels [B]."""
        if self._outputs.scenario is Scenario.TASK:
            mask: Tensor | None = self._outputs.of_task[self._task_of_label[labels]]
        else:
            mask = self._outputs.competing(self.task, training=True)
        return functional.cross_entropy(masked(logits, mask), labels, reduction=self.reduction)


def make_optimizer(config: OptimizerConfig, module: nn.Module) -> torch.optim.Optimizer:
    """Return torch's optimiser with the numbers of ours."""
    weights, decay = module.parameters(), config.weight_decay
    if config.name == "adam":
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(
            weights, config.learning_rate, betas, config.epsilon, weight_decay=decay
        )
    momentum = config.momentum if config.name == "momentum" else 0.0
    return torch.optim.SGD(weights, config.learning_rate, momentum, weight_decay=decay)


class OurMinibatches:
    """A loader that gives Avalanche the minibatches of our engine, in the same order.

    Args:
        task: the data.
        training: how they are cut into minibatches.
        steps: how many minibatches.
        shape: channels, height, width.
    """

    def __init__(
        self, task: TaskData, training: TrainingConfig, steps: int, shape: tuple[int, ...]
    ) -> None:
        self._task, self._training, self._steps, self._shape = task, training, steps, shape

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[Tensor]]:
        size, short = self._training.batch_size, self._training.last_batch == "short"
        for batch in self._task.minibatches(size, self._steps, short=short):
            labels = batch.labels[0]
            images = batch.images[0].unflatten(-1, self._shape)
            yield [images, labels, torch.zeros_like(labels)]


def loop_plugin(on_step: Callable[[int], None]) -> Any:
    """Return a plug-in that feeds and stops Avalanche's loop.

    Its attributes, set before each task: `minibatches` (a loader, or None for Avalanche's own)
    and `steps` (after how many steps to stop, or None). `on_step` is told of each step's number.
    """
    from avalanche.training.plugins import SupervisedPlugin

    class Loop(SupervisedPlugin):
        minibatches: OurMinibatches | None = None
        steps: int | None = None
        done = 0

        def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            self.done = 0
            if self.minibatches is not None:
                strategy.dataloader = self.minibatches

        def after_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            self.done += 1
            on_step(self.done)
            if self.done == self.steps:
                strategy.stop_training()

    return Loop()


def copies_plugin() -> Any:
    """Return a plug-in that makes the copies which Avalanche's synaptic intelligence lacks.

    Its `extract_weights` keeps `param.detach().cpu().flatten()`, on the CPU a view of the weights
    in training: their change over a step, and their distance from the anchor, are always 0.
    """
    from avalanche.training.plugins import SupervisedPlugin, SynapticIntelligencePlugin

    class Copies(SupervisedPlugin):
        def before_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            self._copy(self._plugin(strategy).ewc_data[0])

        def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            self._copy(self._plugin(strategy).syn_data["old_theta"])

        def _plugin(self, strategy: Any) -> Any:
            found = (p for p in strategy.plugins if isinstance(p, SynapticIntelligencePlugin))
            return next(found)

        def _copy(self, weights: dict[str, Any]) -> None:
            for kept in weights.values():
                kept.data = kept.data.clone()

    return Copies()


def silent_evaluator() -> Any:
    """Return an evaluation plug-in that measures and writes nothing."""
    from avalanche.logging import BaseLogger
    from avalanche.training.plugins import EvaluationPlugin

    return EvaluationPlugin(loggers=[BaseLogger()])


_NOT_KEPT = {
    *("model", "optimizer", "evaluator", "plugins", "experience", "dataloader", "mbatch"),
    *("adapted_dataset", "mb_output", "loss", "clock", "_criterion", "_eval_streams"),
}


def bytes_kept(agent: Any, pixels: int) -> int:
    """Return the bytes that a strategy of Avalanche and its plug-ins keep between tasks.

    Tensors and networks count as they are; a kept image counts a byte a pixel and 8 for its
    label, as ours do, although Avalanche keeps the whole dataset that it is of.
    """
    from avalanche.benchmarks.utils import AvalancheDataset
    from avalanche.core import BasePlugin

    in_training = {p.data_ptr() for p in agent.model.parameters()}
    met: set[int] = set()

    def size(value: Any) -> int:
        if id(value) in met:
            return 0
        met.add(id(value))
        if isinstance(value, Tensor):
            return 0 if value.data_ptr() in in_training else value.numel() * value.element_size()
        if isinstance(value, nn.Module):
            return sum(size(parameter) for parameter in value.parameters())
        if isinstance(value, AvalancheDataset):
            return len(value) * (pixels + 8)
        if isinstance(value, dict):
            return sum(size(item) for item in value.values())
        if isinstance(value, (list, tuple)):
            return sum(size(item) for item in value)
        if type(value).__module__.startswith("avalanche."):
            inner = getattr(value, "__dict__", {})
            return sum(size(item) for name, item in inner.items() if name not in _NOT_KEPT)
        return 0

    plugins = [p for p in agent.plugins if isinstance(p, BasePlugin) and p is not agent.evaluator]
    return size(agent) + sum(size(plugin) for plugin in plugins)
