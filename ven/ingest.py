"""What a household's devices tell, written to its ring in small batches.

While the clock is in doubt nothing is written, since it might stand at a wrong time for ever. What arrives is kept in
memory, and stamped by how long ago it came when the clock is right.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from bridges.device import Device, Driver
from bridges.lease_state import Lease
from core.errors import UnavailableError
from core.points import Reading
from core.trusted_clock import TrustedClock
from ven.household import Household
from ven.readings_store import Ring
from ven.reports import status_point

_log = structlog.get_logger(__name__)

_BATCH_S: Final = 0.05
_RETRY_S: Final = 2.0
_MOST_HELD: Final = 20
"""A broker sends no more before some of so many messages are acknowledged (Mosquitto's max_inflight_messages)."""
_MOST_WAITING: Final = 100_000
_FRESH: Final = timedelta(minutes=2)
"""A reading is of the moment in which it comes, or of the past."""


@dataclass(frozen=True, slots=True)
class _Doubted:
    """A reading that came while the clock was in doubt, with what the clock said and the time that cannot be set."""

    reading: Reading
    stamp: datetime
    elapsed: timedelta

    def put_right(self, now: datetime, elapsed: timedelta) -> Reading:
        """Return it at its true time; what speaks of the past has its time from the device."""
        if abs(self.reading.start + (self.reading.duration or timedelta()) - self.stamp) > _FRESH:
            return self.reading
        return replace(self.reading, start=self.reading.start + (now - (elapsed - self.elapsed) - self.stamp))


class Recorder:
    """Collects readings for a moment and stores them together. While the disk is full it keeps the newest in memory."""

    def __init__(self, ring: Ring, on_stored: Callable[[], None], clock: TrustedClock) -> None:
        self._ring = ring
        self._on_stored = on_stored
        self._clock = clock
        self._waiting: list[Reading] = []
        self._doubted: deque[_Doubted] = deque(maxlen=_MOST_WAITING)
        self._some = asyncio.Event()
        self._pressing = asyncio.Event()
        self._stored: asyncio.Future[None] | None = None
        self._held = 0
        self._failing = False

    def storing(self) -> asyncio.Future[None] | None:
        """Return what is done once all that was taken so far is on disk; None where nothing waits for that.

        Nobody waits while the disk is full or the clock is in doubt. That might be for hours, and a broker would keep
        everything else back meanwhile, what devices say of their state among it.
        """
        if not self._waiting or self._failing:
            return None
        self._held += 1
        if self._held >= _MOST_HELD:
            self._pressing.set()
        if self._stored is None:
            self._stored = asyncio.get_running_loop().create_future()
        return self._stored

    def take(self, reading: Reading) -> None:
        """Take a reading from a driver."""
        if self._clock.doubt is not None:
            self._doubted.append(_Doubted(reading, self._clock.now(), self._clock.elapsed()))
            self._some.set()
            return
        self._waiting.append(reading)
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[: _MOST_WAITING // 10]
            _log.error("readings are lost: they cannot be stored and the memory for waiting ones is full")
        self._some.set()

    async def run(self) -> None:
        """Store what comes, until cancelled."""
        while True:
            await self._some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_S if self._doubted else _BATCH_S):
                    await self._pressing.wait()
            try:
                self.flush()
            except UnavailableError as error:
                _log.error("readings wait for the disk", waiting=len(self._waiting), reason=str(error))
                await asyncio.sleep(_RETRY_S)

    def flush(self) -> None:
        """Store what waits for no better clock. Raises UnavailableError; nothing is lost then."""
        if self._doubted and self._clock.doubt is None:
            now, elapsed = self._clock.now(), self._clock.elapsed()
            self._waiting += [each.put_right(now, elapsed) for each in self._doubted]
            self._doubted.clear()
        batch = list(self._waiting)
        if batch:
            try:
                self._add(batch)
            except UnavailableError:
                self._failing = True
                self._release()
                raise
            self._failing = False
            del self._waiting[: len(batch)]
            self._release()
            self._on_stored()
        if not self._doubted:
            self._some.clear()

    def _release(self) -> None:
        """Tell those who wait for what was taken."""
        self._pressing.clear()
        self._held = 0
        if self._stored is not None and not self._stored.done():
            self._stored.set_result(None)
        self._stored = None

    def _add(self, batch: Sequence[Reading]) -> None:
        try:
            self._ring.add(batch)
        except UnavailableError:
            raise
        except Exception:  # noqa: BLE001  a reading that cannot be stored must not keep the others from it
            self._add_singly(batch)

    def _add_singly(self, batch: Sequence[Reading]) -> None:
        for reading in batch:
            try:
                self._ring.add([reading])
            except UnavailableError:
                raise
            except Exception as error:  # noqa: BLE001  as above
                _log.warning(
                    "a reading cannot be stored", point=reading.point, reason=f"{type(error).__name__}: {error}"
                )


def status_readings(
    household: Household,
    drivers: Mapping[str, Driver],
    held: Sequence[Lease],
    overridden: Iterable[str],
    now: datetime,
) -> list[Reading]:
    """Return each resource's status as readings: online, override (0 or 1) and capacity (share of nominal power)."""
    stopped = {lease.command.device for lease in held if lease.holds}
    theirs = set(overridden)
    found = []
    for resource in household.all_resources():
        names = [resource.meter] if resource.meter else list(resource.devices)
        online = all(drivers[name].online for name in names if name in drivers)
        devices = [drivers[name].describe() for name in resource.devices if name in drivers]
        values = {
            "online": float(online),
            "override": float(any(name in theirs for name in resource.devices)),
            "capacity": _capacity(devices, stopped),
        }
        found += [Reading(status_point(resource.id, item), now, value) for item, value in values.items()]
    return found


def _capacity(devices: Sequence[Device], stopped: set[str]) -> float:
    whole = sum(device.nominal_w or 0.0 for device in devices)
    left = sum(device.nominal_w or 0.0 for device in devices if device.id not in stopped)
    return round(left / whole, 4) if whole else 1.0
