"""A second last layer of the strategy's own, trained on the same features; both are averaged."""

from cl_bench import Strategy, Trained, cross_entropy


class SecondHead(Strategy):
    """The loss is the sum of both heads' cross-entropies."""

    title = "Second head"
    source = "an example of a module that is trained along with the network"

    def __init__(self, learner, settings):
        super().__init__(learner, settings)
        last_layer = learner.network.parameters[-2].shape  # outputs, features
        self.head = Trained(learner, 0.1 * learner.normal("second head", *last_layer))

    def objective(self, theta, batch):
        plain = self.learner.network.forward(theta, batch.images)
        return cross_entropy(plain, batch) + cross_entropy(self._second(theta, batch.images), batch)

    def predict(self, images, task):
        return (super().predict(images, task) + self._second(self.theta, images)) / 2

    def _second(self, theta, images):
        return self.learner.network.features(theta, images) @ self.head.value.mT
