"""What a device's own stamps are worth: by how much its clock is off is learnt from its own words."""

from datetime import datetime, timedelta
from typing import Final

_NEAR: Final = timedelta(seconds=1)
"""Clocks and a message's way differ by that much; such a stamp means now."""


class DeviceClock:
    """The clock of one device, as its live messages show it.

    Two words, some time apart, whose stamps lie as far apart as their arrivals, come from a clock that runs but is set
    wrongly. A word that was merely kept back somewhere has its old stamp, and stays old.
    """

    def __init__(self) -> None:
        self._off = timedelta()
        self._last: tuple[datetime, timedelta] | None = None

    def said(self, stamp: datetime, now: datetime, elapsed: timedelta) -> datetime:
        """Return when, by our clock, a word was said that arrives now; never later than now.

        `elapsed` is `Clock.elapsed` at its arrival.
        """
        age, last = now - stamp, self._last
        self._last = stamp, elapsed
        if abs(age) <= _NEAR:
            self._off = timedelta()
            return now
        if last is not None and elapsed - last[1] >= _NEAR and abs((stamp - last[0]) - (elapsed - last[1])) <= _NEAR:
            self._off = age
        return min(now, stamp + self._off)
