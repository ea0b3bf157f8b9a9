"""Less-forgetting learning: the features of new images stay what the last task's network had."""

import torch

from cl_bench import Strategy, cross_entropy, setting


class SteadyFeatures(Strategy):
    """A loss of logits and features: the cross-entropy and the features' mean squared change."""

    title = "Steady features"
    source = "after Jung et al. 2016 (arXiv 1607.00122), without its frozen last layer"
    old = None

    strength: float = setting(
        1.0, "weight of the change", low=0, high=1e3, tune=(0.01, 10), log=True
    )

    def objective(self, theta, batch):
        network = self.learner.network
        loss = cross_entropy(network.forward(theta, batch.images), batch)
        if self.old is None:
            return loss
        with torch.no_grad():
            before = network.features(self.old, batch.images)
        change = network.features(theta, batch.images) - before
        return loss + self.strength * change.square().mean((1, 2)).unsqueeze(1)

    def end_task(self, task):
        self.old = self.theta.clone()
