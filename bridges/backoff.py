"""Truncated exponential back-off with jitter, in machine time."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try: doubling from `first_s` up to `longest_s`, spread over its upper half.

    The jitter keeps many gateways from knocking together after one broker came back.
    """

    first_s: float = 0.5
    longest_s: float = 30.0

    def delay_s(self, failures: int) -> float:
        """Return the wait after that many failures in a row (1 or more)."""
        # 2**60 is beyond every sensible cap and keeps the power finite.
        full = min(self.longest_s, self.first_s * 2.0 ** min(max(failures, 1) - 1, 60))
        return full * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, guards nothing
