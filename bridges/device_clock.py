"""What a device's own stamps are worth: by how much its clock is off is learnt from its own words."""

from datetime import datetime, timedelta
from typing import Final

from core.spans import shifted

NEAR: Final = timedelta(seconds=1)
"""Clocks and a message's way differ by that much; such a stamp means now."""
_LAG: Final = timedelta(minutes=5)
"""Readings may be so much older than their message without saying anything about a clock."""
_MOST_LATE: Final = 3
"""Readings that lag behind by more than so many of their own intervals are not late: their clock is."""
_MEMORY: Final = timedelta(days=400)
"""No meter is asked for older readings."""


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
        if abs(age) <= NEAR:
            self._off = timedelta()
            return now
        if last is not None and elapsed - last[1] >= NEAR and abs((stamp - last[0]) - (elapsed - last[1])) <= NEAR:
            self._off = age
        return min(now, shifted(stamp, self._off.total_seconds()))

    def correction(self, newest: datetime, now: datetime, elapsed: timedelta) -> timedelta:
        """Return what to add to the stamps of a message of readings, the newest of which bears `newest`.

        Nothing comes out as later than now. What a meter remembers keeps its age, also behind a wrong clock.
        """
        age, last = now - newest, self._last
        self._last = newest, elapsed
        if -NEAR <= age <= _LAG:
            self._off = timedelta()
            return self._off
        pace = elapsed - last[1] if last is not None else timedelta()
        steady = last is not None and pace >= NEAR and abs((newest - last[0]) - pace) <= NEAR
        if age < timedelta() or age > _MEMORY or (steady and age > _MOST_LATE * pace):
            self._off = age
        elif abs(age - self._off) > _MEMORY:  # so old, or new, it would be by what was learnt: the clock was put right
            self._off = timedelta()
        return min(self._off, age)
