"""Sinks that finished records are replayed into; a sink never touches training or a record.

Weights & Biases is the one there is. Modules are imported by name (`cl_bench.tracking.sink`), so
that naming a mode on the command line loads neither NumPy nor wandb.
"""
