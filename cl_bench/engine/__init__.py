"""The stacked engine: many runs of one shape, trained together in one weight matrix."""

from cl_bench.engine.training import count_steps, pick_device, task_steps, train_stack

__all__ = ["count_steps", "pick_device", "task_steps", "train_stack"]
