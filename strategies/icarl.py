"""iCaRL: a few well-chosen samples of each class; an image is of the class whose mean is nearest.

Old outputs are held on all images trained on. The last layer serves training alone: at test time
the features below it are compared with the mean features of each class's kept samples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cl_bench.config import Scenario
from cl_bench.engine.learner import Learner
from cl_bench.engine.settings import setting
from cl_bench.engine.tasks import Batch, TaskData, shown
from cl_bench.methods.replay import Rehearsal

FARTHEST = -4.0
"""Less the squared distance of opposite features: the logit of classes that have no mean."""


class ICaRL(Rehearsal):
    """Sigmoid outputs, of which new ones learn labels and old ones what the last network says.

    The loss is that of algorithm 3. After a task, `buffer_size` places are shared by all classes
    seen: old classes give up those chosen last, new ones choose theirs one by one so that their
    mean feature stays nearest the class's (algorithms 4 and 5; as in the authors' code, features
    have length 1 there and their mean as it comes). Prediction is algorithm 1.

    Different from the paper: exemplars are chosen from `candidates` images of the task, not from
    all. Kept samples join each minibatch as in other replay methods; the paper mixes them with the
    new data in their natural share. Until a task ends its classes have no exemplars, so evaluations
    in between use the outputs. Where each task has outputs of its own, they are trained on its
    own samples alone.
    """

    title = "iCaRL"
    source = "Rebuffi et al. 2017, CVPR (arXiv 1611.07725), eq. 1-4, algorithms 1-5"
    scenarios = frozenset({Scenario.CLASS, Scenario.TASK})

    candidates: int = setting(
        4000, "images of a task to choose from; at least twice buffer_size is wise", low=1
    )

    def __init__(self, learner: Learner, settings: dict[str, Any]) -> None:
        super().__init__(learner, settings)
        self.classes: list[int] = []
        """The S outputs that have exemplars, in the order they came."""
        self.exemplars: Tensor | None = None
        """As kept, [R, S, m, F], each class's in the order they were chosen."""
        self.held = torch.zeros(learner.runs, 0, dtype=torch.bool, device=learner.device)
        """bool [R, S], whether a run has exemplars of a class: had its data any image of it."""
        self.means: Tensor | None = None
        """Mean features [R, S, H] to predict by; None while a task is trained."""
        self.old: Tensor | None = None
        """The weights at the end of the task before, [R, D]."""

    @classmethod
    def check(cls, settings: dict[str, Any], steps: int, outputs: int) -> None:
        if settings["buffer_size"] < outputs:
            raise ValueError(
                f"buffer_size={settings['buffer_size']}: too few for an exemplar of each of "
                f"{outputs} classes; give at least {outputs}"
            )

    def begin_task(self, task: TaskData) -> None:
        self.means = None

    def begin_step(self, batch: Batch) -> Batch:
        if self.exemplars is None:
            return batch
        learner, exemplars = self.learner, self.exemplars.flatten(1, 2)
        count = min(self.replay_batch_size or learner.batch_size, exemplars.shape[1])
        places = self.exemplars.shape[2]
        held = self.held.repeat_interleave(places, 1)
        drawn = learner.uniform("replay", exemplars.shape[1]).masked_fill(~held, -1)
        # A run that holds fewer than are drawn has some of its own twice.
        turn = torch.arange(count, device=held.device) % held.sum(1, keepdim=True)
        index = drawn.topk(count, 1).indices.gather(1, turn)
        labels = self._seen()[index // places]
        mask = learner.outputs_of(learner.outputs.of_task.long().argmax(0)[labels])
        images = shown(_at(exemplars, index))
        return batch.joined(
            Batch(images, labels, mask, name="replay", as_bytes=exemplars.dtype == torch.uint8)
        )

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        learner = self.learner
        wanted = functional.one_hot(batch.labels, logits.shape[-1]).to(logits.dtype)
        trained = torch.ones_like(wanted) if batch.mask is None else batch.mask
        if self.old is not None:
            with torch.no_grad():
                said = learner.network.forward(self.old, batch.images).sigmoid()
            learner.count_passes(batch.labels.shape[1] / learner.batch_size / 3)
            past = learner.outputs.seen(learner.task - 1)
            wanted = torch.where(past, said, wanted)
            trained = trained.bool() | past
        each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return (each * trained).sum(-1).mean(1, keepdim=True)

    def end_task(self, task: TaskData) -> None:
        outputs = self.learner.outputs.of_task[task.index].nonzero().flatten().tolist()
        new = [output for output in outputs if output not in self.classes]
        self.classes += new
        places = self.buffer_size // len(self.classes)
        chosen, held = self._choose(task, new, places)
        self.held = torch.cat([self.held, held], 1)
        if self.exemplars is not None:
            chosen = torch.cat([self.exemplars[:, :, :places], chosen], 1)
        self.exemplars = chosen
        features = self._features(shown(chosen.flatten(1, 2)))
        self.means = functional.normalize(features.unflatten(1, chosen.shape[1:3]).mean(2), dim=-1)
        self.old = self.theta.clone()

    def predict(self, images: Tensor, task: int | None) -> Tensor:
        if self.means is None:
            return super().predict(images, task)
        features = self._features(images)
        # Both have length 1: the squared distance is 2 less twice their product.
        near = 2 * torch.bmm(features, self.means.transpose(1, 2)) - 2
        near = near.masked_fill(~self.held.unsqueeze(1), FARTHEST)
        logits = images.new_full((*images.shape[:2], self.learner.network.n_outputs), FARTHEST)
        return logits.index_copy_(-1, self._seen(), near)

    def _choose(self, task: TaskData, outputs: list[int], places: int) -> tuple[Tensor, Tensor]:
        """Return so many exemplars of each of these c outputs, and which have any.

        A class with fewer candidates than places has some of them more than once.

        Returns:
            As kept, [R, c, places, F], black where a run has no candidate, and bool [R, c].
        """
        batches = list(task.sample(self.candidates, "candidates"))
        features = torch.cat([self._features(batch.images) for batch in batches], 1)
        labels = torch.cat([batch.labels for batch in batches], 1).unsqueeze(1)
        of_class = labels == torch.tensor(outputs, device=labels.device).view(1, -1, 1)
        share = of_class / of_class.sum(-1, keepdim=True).clamp(min=1)
        mean = torch.bmm(share, features)
        turn = torch.zeros_like(share).masked_fill_(~of_class, -torch.inf)
        total, chosen = torch.zeros_like(mean), []
        for number in range(1, places + 1):
            # |mean - (total + feature) / number| is least where this product is largest.
            fit = torch.bmm(number * mean - total, features.transpose(1, 2))
            best = (fit + turn).argmax(-1)
            turn.scatter_add_(
                2, best.unsqueeze(2), turn.new_full((1, 1, 1), -1e6).expand(*best.shape, 1)
            )
            total += _at(features, best)
            chosen.append(best)
        index = torch.stack(chosen, 2).flatten(1)
        images = _at(torch.cat([batch.kept() for batch in batches], 1), index)
        images = images.unflatten(1, (-1, places))
        held = of_class.any(-1)
        return images.mul_(held[:, :, None, None]), held

    def _features(self, images: Tensor) -> Tensor:
        """Return the features [R, B, H] of images [R, B, F], of length 1."""
        features = self.learner.network.features(self.theta, images)
        return functional.normalize(features, dim=-1)

    def _seen(self) -> Tensor:
        """Return the outputs that have exemplars, int64 [S]."""
        return torch.tensor(self.classes, device=self.learner.device)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """Return the values [R, n, …] at places [R, k] of each run, [R, k, …]."""
    return values[torch.arange(len(values), device=values.device).unsqueeze(1), index]
