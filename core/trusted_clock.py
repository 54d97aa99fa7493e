"""World time that a gateway may act on: it never falls behind what was already true.

A host without a battery for its clock starts with a time of the past, and anybody may set a clock. A time that lies
before the last one seen (also in an earlier life: `resume`) is doubted, as is one that the host has not yet compared
with anybody since it started. While it is doubted, time goes on from the last good one, which is at most late; so what
is over stays over and what holds is not given back. The doubt ends when the host's clock is right again or
synchronised, or after `patience`: then the host is believed, because somebody may have meant it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from core.clock import Clock

_TOLERANCE: Final = timedelta(seconds=30)
PATIENCE: Final = timedelta(minutes=10)


def _unknown() -> bool | None:
    return None


class TrustedClock:
    """A clock, with `doubt` as the reason not to act on it, or None. `synchronised` asks the host; None: it cannot say.

    Who stamps or decides asks `doubt` first: `now()` is then the least that the time can be.
    """

    def __init__(
        self,
        clock: Clock,
        synchronised: Callable[[], bool | None] = _unknown,
        *,
        just_booted: bool = False,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._clock = clock
        self._synchronised = synchronised
        self._patience = patience
        self._good = clock.now(), clock.elapsed()
        self._behind_since: timedelta | None = None
        self._unsynchronised_until = clock.elapsed() + patience if just_booted else None

    def resume(self, last: datetime) -> None:
        """Take the last time that an earlier life of this gateway knew to be past."""
        if last > self._good[0]:
            self._good = last, self._clock.elapsed()

    @property
    def doubt(self) -> str | None:
        """Why this time should not be acted on now, or None."""
        now = self.now()
        if self._behind_since is not None:
            return (
                f"the host's clock says {self._clock.now():%Y-%m-%d %H:%M} UTC, but it was {now:%Y-%m-%d %H:%M} already"
            )
        if self._waits_for_sync():
            return "the host has just started and has not compared its clock with anybody yet"
        return None

    def _waits_for_sync(self) -> bool:
        until = self._unsynchronised_until
        if until is not None and (self._synchronised() is not False or self._clock.elapsed() >= until):
            self._unsynchronised_until = until = None
        return until is not None

    def now(self) -> datetime:
        """Return the present world time, or while the host's is doubted, the least that it can be."""
        raw, elapsed = self._clock.now(), self._clock.elapsed()
        good_at, good_elapsed = self._good
        least = good_at + (elapsed - good_elapsed)
        if raw < least - _TOLERANCE:
            self._behind_since = elapsed if self._behind_since is None else self._behind_since
            if not self._synchronised() and elapsed - self._behind_since < self._patience:
                return least
        self._good, self._behind_since = (raw, elapsed), None
        return raw

    def elapsed(self) -> timedelta:
        """Return the time that cannot be set."""
        return self._clock.elapsed()

    async def sleep_until(self, when: datetime) -> None:
        """Return at or soon after `when`."""
        await self._clock.sleep_until(when - (self.now() - self._clock.now()))
