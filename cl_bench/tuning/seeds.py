"""Which seeds are for tuning alone: figures at these seeds are never reported."""

from __future__ import annotations

from cl_bench.config import FIRST_TUNING_SEED, Protocol
from cl_bench.errors import UserError


def check_seeds(first: int, count: int, protocol: Protocol) -> None:
    """Raise a `UserError` where a tuning seed could be reported.

    Args:
        first: the first tuning seed.
        count: number of tuning seeds.
        protocol: the protocol whose settings are tuned, with the seeds that it reports.
    """
    if first < FIRST_TUNING_SEED:
        raise UserError(
            f"--first-seed {first}: tuning seeds start at {FIRST_TUNING_SEED}, so that no seed "
            f"that settings were chosen with is reported; give {FIRST_TUNING_SEED} or more"
        )
    reported = sorted(protocol.all_seeds)
    both = set(reported) & set(range(first, first + count))
    if both:
        raise UserError(
            f"seed {min(both)} would be tuned with and reported: the protocol's seeds are "
            f"{reported[0]} to {reported[-1]}, those of tuning {first} to {first + count - 1}; "
            f"give --first-seed {reported[-1] + 1} or more"
        )
