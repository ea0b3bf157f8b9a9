"""Our strategies in Avalanche's own training loop, as a plug-in beside Avalanche's.

`Naive(model, optimizer, criterion, plugins=[StrategyPlugin("flatness")])`: model, optimiser,
data and loop are the user's; each of the strategy's hooks is called where our engine calls it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from avalanche.benchmarks import OnlineCLExperience
from avalanche.training.plugins import SupervisedPlugin
from torch import Tensor, nn

from cl_bench.avalanche.fitting import (
    check_bytes,
    check_choices,
    check_labels,
    classes_of,
    load_images,
    run_config,
)
from cl_bench.avalanche.torch_parts import (
    Experiences,
    Pixels,
    TorchOptimizer,
    linear_layers,
    wrap,
)
from cl_bench.config import Scenario, StrategyConfig
from cl_bench.engine.learner import Learner
from cl_bench.engine.losses import masked
from cl_bench.engine.networks import MLP
from cl_bench.engine.stack import assemble
from cl_bench.engine.strategy import Strategy, all_settings
from cl_bench.engine.tasks import Batch, Streams, TaskData
from cl_bench.errors import UserError
from cl_bench.planning import finding
from cl_bench.planning.resolving import settings_grid


class StrategyPlugin(SupervisedPlugin):
    """A strategy of ours as a plug-in of Avalanche's supervised templates (`Naive`, …).

    The model must be a module without buffers that has all its outputs from the start; one that
    computes what a plain MLP does is taken for one. A task's images are loaded once more at its
    begin, for the strategy's own use. Put this plug-in before others that add to the loss: a
    strategy with a loss of its own has it in place of the criterion's. What a strategy computes
    besides the training loss (a Fisher, a second gradient) is of the cross-entropy, the model in
    evaluation mode. The extra steps at a task's end run in the same loop, with all plug-ins.

    Args:
        name: a strategy's name, or the path of its file (`./mine.py`).
        scenario: "domain", "task" or "class". With the last two, the outputs of a task are its
            classes, and those that do not compete are -inf in the model's output: "task"
            leaves those of the task, "class" those of the classes seen so far.
        seed: names the streams of the strategy's random numbers.
        outputs: class scenario: whether the "seen" or "all" outputs compete in training.
        **settings: the strategy's, as in a config.

    Raises:
        UserError: the strategy, a setting or a value is unknown or cannot work here.
    """

    def __init__(
        self,
        name: str,
        /,
        *,
        scenario: str = "domain",
        seed: int = 0,
        outputs: str = "seen",
        **settings: Any,
    ) -> None:
        super().__init__()
        self.name = finding.resolve(name)
        self.kind = finding.load(self.name)
        check_choices(self.name, self.kind, scenario, outputs)
        self.scenario, self.seed, self.outputs = Scenario(scenario), seed, outputs
        grid = settings_grid(self.name, settings)
        if len(grid) > 1:
            raise UserError(f"{self.name}: a plug-in trains one run; give single values, no lists")
        self.settings = all_settings(self.kind, grid[0])
        self.learner: Learner
        """What the strategy sees of the training; made as the first task begins."""
        self.own: Strategy
        """The strategy; made as the first task begins."""
        self._model: nn.Module | None = None
        self._images = 0
        self._exploring = 0
        self._gates: tuple[Tensor, ...] | None = None
        self._compete: Tensor | None = None
        self._task_told: int | None = None

    # --- a task begins ----------------------------------------------------------------------

    @torch.no_grad()
    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(strategy.experience, OnlineCLExperience):
            raise UserError(f"{self.name} needs whole tasks; train on the stream, not its parts")
        images, labels = load_images(strategy.experience.dataset, strategy.device)
        if self._model is None:
            self._begin(strategy, images)
        self._share(strategy)
        learner, tasks = self.learner, self._tasks
        seen = self._pixels.encode(images)
        self._images += len(seen)
        check_bytes(self.name, self.kind, seen)
        check_labels(labels, tasks.n_outputs)
        every = range(tasks.n_outputs) if self.scenario is Scenario.DOMAIN else None
        tasks.add(seen, labels, every or classes_of(strategy.experience))
        streams = Streams(tasks, [self.seed], learner.device, self.outputs)
        learner.outputs = streams.outputs
        learner.task, learner.step_number = tasks.n_tasks - 1, 0
        self._task = TaskData(streams, learner.task)
        self._plan_steps(strategy)
        self.own.begin_task(self._task)

    def _begin(self, strategy: Any, images: Tensor) -> None:
        """Take the user's model and optimiser, and make the learner and our strategy."""
        self._pixels = Pixels(images)
        network = wrap(strategy.model, self._pixels)
        self._tasks = Experiences(self.scenario, network.n_outputs)
        named = StrategyConfig(name=self.name, settings=self.settings)
        size, outputs = strategy.train_mb_size, self.outputs
        config = run_config(named, self.kind, network, self.scenario, size, outputs, self.seed)
        stack = assemble(
            [config], self.kind, strategy.device, benchmark=self._tasks, network=network
        )
        learner, self.own = stack.learner, stack.strategy
        learner.initial.copy_(nn.utils.parameters_to_vector(strategy.model.parameters()))
        learner.optimizer = TorchOptimizer(strategy.optimizer, self._give)
        self.learner, self._model = learner, strategy.model
        self._weights = list(strategy.model.parameters())
        if isinstance(network, MLP):
            for number, layer in enumerate(linear_layers(strategy.model)[1:]):
                layer.register_forward_pre_hook(self._gate(number))

    def _share(self, strategy: Any) -> None:
        """Make the model's parameters views of the weight stack, at their own values."""
        weights = list(strategy.model.parameters())
        if list(map(id, weights)) != list(map(id, self._weights)):
            raise UserError(
                "the model's parameters are others than before; "
                "give a model with all outputs from the start, and a plug-in of its own"
            )
        learner = self.learner
        learner.theta.copy_(nn.utils.parameters_to_vector(weights))
        for weight, place in zip(weights, learner.network.parameters, strict=True):
            weight.data = place.view(learner.theta[0])

    def _plan_steps(self, strategy: Any) -> None:
        """Ask how many steps the strategy takes where the user's loop takes so many."""
        batch_size = self.learner.batch_size
        ordinary = strategy.train_epochs * len(strategy.dataloader)
        self._steps = self.kind.task_steps(self.settings, ordinary, batch_size, self._images)
        self._as_planned = self._steps == ordinary
        try:
            steps = self._steps + self.kind.extra_steps(self.settings)
            self.kind.check(self.settings, steps, self._tasks.n_outputs)
        except ValueError as error:
            raise UserError(f"{self.name}.{error}") from None

    # --- a training step --------------------------------------------------------------------

    @torch.no_grad()
    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self._rest = strategy.mbatch[2:]
        seen = self._pixels.encode(strategy.mb_x)
        check_bytes(self.name, self.kind, seen)
        fresh = Batch(seen.unsqueeze(0), strategy.mb_y.unsqueeze(0), self._task.mask)
        self._images_of_step = fresh.labels.shape[1]
        self._batch = batch = self.own.begin_step(fresh)
        self._gates = batch.gates
        if batch.images is not fresh.images or batch.labels is not fresh.labels:
            strategy.mbatch = self._minibatch(batch)

    def after_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self._logits = strategy.mb_output
        self._gates = None
        self._batch.logits = self._logits.detach().unsqueeze(0)
        strategy.mb_output = masked(self._logits[None], self._batch.mask)[0]

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        own, kind, trained = self.own, self.kind, self.own.trained()
        for each in trained:
            each.value.grad = None
            each.value.requires_grad_()
        if kind.objective is not Strategy.objective:
            theta = nn.utils.parameters_to_vector(self._weights).unsqueeze(0)
            strategy.loss = own.objective(theta, self._batch).view(1)
        elif kind.loss is not Strategy.loss or trained:
            strategy.loss = own.loss(self._logits.unsqueeze(0), self._batch).view(1)
        del self._logits

    @torch.no_grad()
    def before_update(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        learner = self.learner
        for weight, place in zip(self._weights, learner.network.parameters, strict=True):
            slot = place.view(learner.gradient[0])
            if weight.grad is None:
                slot.zero_()
            else:
                slot.copy_(weight.grad)
        self._give(learner.gradient)
        learner.count_passes(self._batch.labels.shape[1] / learner.batch_size)
        self.own.adjust_gradient(learner.gradient, self._batch)

    @torch.no_grad()
    def after_update(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        learner = self.learner
        for each in self.own.trained():
            each.value.requires_grad_(False)
            if each.value.grad is not None:
                each.step()
        learner.count_step(self._images_of_step)
        self.own.after_step(self._batch)
        del self._batch
        if self._exploring:
            self.own.visit(self._exploring)
            self._exploring += 1
        elif not self._as_planned and learner.step_number == self._steps:
            strategy.stop_training()

    def _give(self, gradient: Tensor) -> None:
        """Make views of a gradient [1, D] the parameters' own."""
        for weight, place in zip(self._weights, self.learner.network.parameters, strict=True):
            if weight.requires_grad:
                weight.grad = place.view(gradient[0])

    def _gate(self, number: int) -> Any:
        """Return a hook that multiplies a layer's input by the step's gates, where it has any."""

        def multiply(layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
            gates = self._gates
            return None if gates is None else (inputs[0] * gates[number][0],)

        return multiply

    def _minibatch(self, batch: Batch) -> list[Tensor]:
        """Return a minibatch as the user's loop has it, with the task label of this task's."""
        images = self._pixels.decode(batch.images[0]).unflatten(-1, self._pixels.shape)
        labels = batch.labels[0]
        rest = (r[:1].expand(len(labels), *r.shape[1:]) for r in self._rest)
        return [images, labels, *rest]

    # --- a task ends ------------------------------------------------------------------------

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        learner, task = self.learner, self._task
        size = learner.batch_size
        if not self._as_planned:
            left = task.minibatches(size, self._steps, first=learner.step_number)
            self._train(strategy, left, **kwargs)
        self._exploring = 1
        extra = self.kind.extra_steps(self.settings)
        self._train(strategy, task.minibatches(size, extra, "exploration"), **kwargs)
        self._exploring = 0
        with torch.no_grad():
            self.own.end_task(task)
        task.close()

    def _train(self, strategy: Any, batches: Iterator[Batch], **kwargs: Any) -> None:
        """Let the user's loop train on further minibatches."""
        loader = strategy.dataloader
        strategy._stop_training = False  # that was for the steps before
        strategy.dataloader = map(self._minibatch, batches)
        strategy.training_epoch(**kwargs)
        strategy.dataloader = loader

    # --- evaluation -------------------------------------------------------------------------

    def before_eval_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self._compete = self._task_told = None
        if self._model is None or self.scenario is Scenario.DOMAIN:
            return
        mask = torch.zeros(self._tasks.n_outputs, dtype=torch.bool, device=strategy.device)
        mask[classes_of(strategy.experience)] = True
        if self.scenario is Scenario.CLASS:
            mask |= self.learner.seen_outputs()
        else:
            self._task_told = self._number_of(strategy.experience, mask)
        self._compete = mask

    def _number_of(self, experience: Any, outputs: Tensor) -> int:
        """Return the number of the task that has these outputs; of none, that of the next one."""
        same = (self.learner.outputs.of_task == outputs).all(1).nonzero().flatten().tolist()
        number: int = getattr(experience, "current_experience", -1)
        return number if number in same else [self._tasks.n_tasks, *same][-1]

    @torch.no_grad()
    def after_eval_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        if self._model is None:
            return
        if type(self.own).predict is not Strategy.predict:
            seen = self._pixels.encode(strategy.mb_x).unsqueeze(0)
            strategy.mb_output = self.own.predict(seen, self._task_told).squeeze(0)
        strategy.mb_output = masked(strategy.mb_output, self._compete)
