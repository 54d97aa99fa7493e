"""When to poll next (catalogue 6)."""

from datetime import datetime, timedelta
from random import Random
from typing import Final

from core.spans import Duration

_LONGEST_DRAIN: Final = 50
"""A VTN that answers every poll with something is polled at its own frequency again after so many."""
_LEAST_PERIOD: Final = timedelta(seconds=1)


class PollTimer:
    """Polls at the VTN's frequency plus jitter, never faster; without waiting while the VTN has more to say."""

    def __init__(self, jitter: float, random: Random) -> None:
        self._jitter = jitter
        self._random = random
        self._drained = 0
        self.at: datetime | None = None
        """When the next poll is due; None: at once."""

    def due(self, now: datetime) -> bool:
        """Tell whether a poll is due."""
        return self.at is None or self.at <= now

    def more(self, now: datetime, period: Duration) -> None:
        """Poll on at once: the answer brought something (PL-05)."""
        self._drained += 1
        if self._drained < _LONGEST_DRAIN:
            self.at = now
        else:
            self.nothing(now, period)

    def nothing(self, now: datetime, period: Duration) -> None:
        """Wait for the next period: the queue is empty (PL-06, PL-10)."""
        self._drained = 0
        wait = max(period.after(now) - now, _LEAST_PERIOD)
        self.at = now + wait * (1 + self._jitter * self._random.random())
