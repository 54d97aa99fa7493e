"""World time: what drives events, intervals, polls, sampling and leases.

Machine time (sockets, TLS, back-off, token expiry) is `time.monotonic` and the host's UTC, never this.
"""

import asyncio
import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from core.errors import InvalidError

_LONGEST_NAP_S = 30.0
"""Sleep in naps, so that a step of the host's clock (NTP at boot, suspend) is noticed soon."""


class Clock(Protocol):
    """World time."""

    def now(self) -> datetime:
        """Return the present world time, aware UTC."""

    def elapsed(self) -> timedelta:
        """Return how much world time has passed since some moment of this process.

        It never goes back and is not moved when the clock is set: distances in time are measured with it.
        """

    async def sleep_until(self, when: datetime) -> None:
        """Return at or soon after `when`; at once if it has passed."""


@dataclass(frozen=True, slots=True)
class WorldClock:
    """World time as a pure function of the host's UTC: `world = epoch + speed * (utc - origin)`.

    Processes that share the three numbers agree on the time, also after a restart.
    """

    epoch: datetime
    origin: datetime
    speed: float

    def now(self) -> datetime:
        """Return the present world time, aware UTC."""
        return self.epoch + self.speed * (datetime.now(UTC) - self.origin)

    def elapsed(self) -> timedelta:
        """Return the world time that has passed, by the host's monotonic clock."""
        return timedelta(seconds=self.speed * time.monotonic())

    async def sleep_until(self, when: datetime) -> None:
        """Return at or soon after `when`."""
        while (left := (when - self.now()).total_seconds()) > 0:  # noqa: ASYNC110  a nap, not a poll of a flag
            await asyncio.sleep(min(left / self.speed, _LONGEST_NAP_S))

    def save(self, path: Path) -> None:
        """Write the three numbers as JSON."""
        numbers = {"epoch": self.epoch.isoformat(), "origin": self.origin.isoformat(), "speed": self.speed}
        path.write_text(json.dumps(numbers) + "\n", encoding="utf-8")


_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _HostClock(WorldClock):
    """The host's UTC itself, without the arithmetic: it is read twice for each poll."""

    __slots__ = ()

    def now(self) -> datetime:
        return datetime.now(UTC)


def machine_now() -> datetime:
    """Return machine time as the host's UTC: what certificates, tokens and sessions live by."""
    return datetime.now(UTC)


def system_clock() -> WorldClock:
    """Return the clock of the real world: the host's own UTC."""
    return _HostClock(_UNIX_EPOCH, _UNIX_EPOCH, 1.0)


def load_clock(path: Path) -> WorldClock:
    """Read the clock that a run's directory names. Raises InvalidError if the file is missing or malformed."""
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
        clock = WorldClock(
            datetime.fromisoformat(numbers["epoch"]),
            datetime.fromisoformat(numbers["origin"]),
            float(numbers["speed"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidError(f"{path}: not a clock file: {error}") from error
    if clock.epoch.tzinfo is None or clock.origin.tzinfo is None or not 0 < clock.speed < math.inf:
        raise InvalidError(f"{path}: a clock needs two times with zone and a positive speed.")
    return clock


async def pause(clock: Clock, span: timedelta) -> None:
    """Return once so much world time has passed, however the clock is set meanwhile."""
    end = clock.elapsed() + span
    while (left := end - clock.elapsed()) > timedelta():
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_NAP_S):
                await clock.sleep_until(clock.now() + left)


class StepWatch:
    """Notices that a clock was set (NTP at boot, a person, a suspended host), in either direction."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._measured()

    def _measured(self) -> timedelta:
        return self._clock.now() - _UNIX_EPOCH - self._clock.elapsed()

    def step(self) -> timedelta:
        """Return by how much the clock was set since the last call; zero for what drifts and is slewed away."""
        before, self._offset = self._offset, self._measured()
        moved = self._offset - before
        return moved if abs(moved) > _LEAST_STEP else timedelta()


_LEAST_STEP = timedelta(seconds=5)


class ManualClock:
    """World time that moves only when a test (or a simulation) says so."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._elapsed = timedelta()
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the present world time, aware UTC."""
        return self._now

    def elapsed(self) -> timedelta:
        """Return how far `advance` has come."""
        return self._elapsed

    async def sleep_until(self, when: datetime) -> None:
        """Return once `advance` or `set` has reached `when`."""
        if when <= self._now:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((when, done))
        await done

    def advance(self, by: timedelta | None = None, *, to: datetime | None = None) -> None:
        """Move the time forward and wake whoever slept until then."""
        target = to if to is not None else self._now + (by or timedelta())
        if target < self._now:
            raise InvalidError("World time does not run backwards.")
        self._elapsed += target - self._now
        self.set(target)

    def set(self, target: datetime) -> None:
        """Set the clock, also back, as a person or NTP does: no time passes."""
        self._now = target
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= target]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > target]
        for _, done in sorted(due, key=lambda sleeper: sleeper[0]):
            if not done.done():
                done.set_result(None)
