"""What is timed: one strategy, network and batch size, the same for both sides of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

INPUTS, OUTPUTS = 784, 10
LEARNING_RATE = 0.05
"""Of plain SGD, on both sides."""
TASK = 1
"""The task that is timed: the second, from which on penalties act."""


@dataclass(frozen=True)
class Shape:
    """A network of fully connected ReLU layers and the minibatch it is trained with."""

    hidden: tuple[int, ...]
    batch_size: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the width of every layer, inputs and outputs included."""
        return (INPUTS, *self.hidden, OUTPUTS)

    @property
    def name(self) -> str:
        """Return the network's name, such as 784-100-100-10."""
        return "-".join(str(size) for size in self.sizes)

    @property
    def training_flops(self) -> int:
        """Return the floating-point operations in the matrix products of training on one image.

        Counted as the engine executes them: forward, gradient by the weights, and gradient by
        the inputs of every layer but the first.
        """
        total = 0
        for layer, (fan_in, fan_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            total += 2 * fan_in * fan_out * (3 if layer else 2)
        return total


SMALL = Shape((100, 100), 64)
LARGE = Shape((256, 256), 128)
