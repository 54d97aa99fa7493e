"""How full batteries were at the beginning of past steps, and are now."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from core.points import Quality
from core.spans import floor_to
from ven.consumption_history import at_time
from ven.readings_store import Ring

Stored = dict[int, float]
"""Start of a step (seconds since 1970) -> what is stored."""

_FULL: Final = 100.0
_OLD: Final = timedelta(hours=1)
"""What was said longer ago says nothing of the time that is asked about."""
_AHEAD: Final = timedelta(hours=1)
"""For how long what a battery holds now tells what it will hold."""
_USABLE: Final = frozenset({Quality.GOOD, Quality.ESTIMATED, Quality.UNCERTAIN})


class ChargeMemory:
    """The state of charge of several batteries at past steps. `refresh` before reading."""

    def __init__(self, ring: Ring, points: Mapping[str, str], step: timedelta, days: int) -> None:
        """`points` says which point tells a battery's state of charge (per cent)."""
        self._ring = ring
        self._points = dict(points)
        self._step = step
        self._reach = timedelta(days=days)
        self._held: dict[str, Stored] = {name: {} for name in points}
        self._now: dict[str, Stored] = {}

    def forget(self) -> None:
        """Read everything again at the next `refresh`: older readings have come in."""
        self._held = {name: {} for name in self._points}

    def refresh(self, now: datetime) -> None:
        """Read what came since the last time. May raise UnavailableError."""
        step_s = int(self._step.total_seconds())
        oldest = int(floor_to(now - self._reach, step_s).timestamp())
        running = int(floor_to(now, step_s).timestamp())
        for name, point in self._points.items():
            held = self._held[name]
            first = self._ring.oldest(point)
            since = oldest if first is None else max(oldest, int(floor_to(first, step_s).timestamp()))
            for start in [each for each in held if each < oldest]:
                del held[start]
            for start in range(max([since, *held]), running + 1, step_s) if first is not None else ():
                share = self._share(point, at_time(start))
                if share is not None:
                    held[start] = share
            present = self._share(point, now)
            ahead = range(running, int((now + _AHEAD).timestamp()), step_s)
            self._now[name] = dict.fromkeys(ahead, present) if present is not None else {}

    def _share(self, point: str, when: datetime) -> float | None:
        newest = self._ring.newest(point, until=when)
        if newest is None or newest.quality not in _USABLE or when - newest.start > _OLD:
            return None
        return min(max(newest.value / _FULL, 0.0), 1.0)

    def of(self, name: str) -> Stored:
        """Return the shares (0 to 1) of a battery: of past steps, and of those so near that now tells of them."""
        return self._held.get(name, {}) | self._now.get(name, {})
