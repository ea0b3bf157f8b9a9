"""Balanced experience replay: as ER, but every class has as many samples in the buffer.

A plain reservoir keeps classes as often as the stream shows them, and forgets the rare ones.
"""

from __future__ import annotations

from cl_bench.methods.replay import Replay


class BalancedER(Replay):
    """A class-balancing reservoir of all samples seen; as many again with every minibatch.

    Once the buffer is full, a new sample of a class that has less than its share takes the place
    of one of the largest class; of each class a uniform sample stays, as by the paper's algorithm.
    A class is one of the network's outputs: where tasks share their outputs, the digit 3 of two
    tasks is one class. Samples are drawn uniformly from the buffer.
    """

    title = "ER (class-balanced)"
    source = "Chrysakis & Moens 2020, ICML (PMLR 119), algorithm 1 (CBRS)"
    balance = "class"
