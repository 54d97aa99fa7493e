"""When to poll next."""

from datetime import datetime, timedelta
from random import Random
from typing import Final

from core.errors import InvalidError
from core.spans import Duration

_QUICK_DRAIN: Final = 10
"""So many polls that bring something follow each other at once, the next ones by the second."""
_LONGEST_DRAIN: Final = 50
"""A VTN that answers every poll with something is polled at its own frequency again after so many."""
_SECOND: Final = timedelta(seconds=1)


def bounded_period(asked: Duration, shortest: Duration, longest: Duration, now: datetime) -> timedelta:
    """Return a poll period that lies within the household's bounds, whatever a VTN asks for."""
    low, high = shortest.timedelta(), longest.timedelta()
    try:
        return min(max(asked.after(now) - now, low), high)
    except InvalidError:  # beyond the calendar, on either side
        return low if asked.months < 0 or asked.seconds < 0 else high


class PollTimer:
    """Polls at the VTN's frequency plus jitter, never faster; without waiting while the VTN has more to say."""

    def __init__(self, jitter: float, random: Random) -> None:
        self._jitter = jitter
        self._random = random
        self._drained = 0
        self._wait = timedelta()
        self.at: datetime | None = None
        """When the next poll is due; None: at once."""

    def due(self, now: datetime) -> bool:
        """Tell whether a poll is due. A clock that was set back holds no poll back."""
        return self.at is None or self.at <= now or self.at > now + self._wait

    def at_once(self) -> None:
        """Poll without waiting."""
        self.at = None

    def more(self, now: datetime, period: timedelta) -> None:
        """Poll on: the answer brought something (PL-05)."""
        self._drained += 1
        if self._drained < _QUICK_DRAIN:
            self._set(now, timedelta())
        elif self._drained < _LONGEST_DRAIN:
            self._set(now, min(period, _SECOND))
        else:
            self.nothing(now, period)

    def nothing(self, now: datetime, period: timedelta) -> None:
        """Wait for the next period: the queue is empty, or there is no answer (PL-06, PL-10)."""
        self._drained = 0
        self._set(now, period * (1 + self._jitter * self._random.random()))

    def _set(self, now: datetime, wait: timedelta) -> None:
        self._wait = wait
        self.at = now + wait
