"""What a running gateway looks at again and again: the statuses of its resources, and what it could do."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from bridges.device import Driver
from bridges.journal import Journal
from bridges.leases import LeaseManager
from core.clock import Clock
from core.direction import Direction
from core.errors import UnavailableError
from core.spans import Span
from ven.consumption_history import held_spans
from ven.executor import Executor
from ven.household import Household
from ven.ingest import Recorder, status_readings
from ven.potential import Forecaster, absences

_log = structlog.get_logger(__name__)

_STATUS_EVERY: Final = timedelta(minutes=5)
_STORE_RETRY_S: Final = 1.0
_POTENTIAL_EVERY: Final = timedelta(minutes=5)
_POTENTIAL_SOON: Final = timedelta(minutes=2)
"""How soon the potential is looked at again while a device is lost."""


class Bell:
    """Wakes a loop before its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake it."""
        self._rung.set()

    def silence(self) -> None:
        """Forget that it rang."""
        self._rung.clear()

    async def rung_or(self, until: datetime) -> None:
        """Wait for the bell or a time, whichever comes first."""
        waits: list[asyncio.Task[object]] = [
            asyncio.create_task(self._rung.wait()),
            asyncio.create_task(self._clock.sleep_until(until)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()


class StatusWatch:
    """Keeps each resource's status among the readings: on change, and often enough to be believed."""

    def __init__(
        self,
        household: Household,
        drivers: Mapping[str, Driver],
        leases: LeaseManager,
        executor: Executor,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._household = household
        self._drivers = drivers
        self._leases = leases
        self._executor = executor
        self._recorder = recorder
        self._clock = clock
        self._bell = Bell(clock)
        self.look_again = self._bell.ring

    async def run(self) -> None:
        """Watch for ever."""
        last: dict[str, float] = {}
        while True:
            self._bell.silence()
            now = self._clock.now()
            try:
                overridden = self._executor.overridden(now)
            except UnavailableError as error:
                _log.error("the store cannot be read", reason=str(error))
                await asyncio.sleep(_STORE_RETRY_S)
                continue
            readings = status_readings(self._household, self._drivers, self._leases.held(), overridden, now)
            for reading in readings:
                self._recorder.take(reading)
            new = {reading.point: reading.value for reading in readings}
            if new != last:
                _log.debug("status", **new)
            last = new
            await self._bell.rung_or(now + _STATUS_EVERY)


class PotentialWatch:
    """Keeps the flexibility potential up to date: now and then, and when a device changes hands.

    `without` says when no event is taken part in, from a time on; `ready` whether the meters' past is known; `renewed`
    is called after each look.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        drivers: Mapping[str, Driver],
        leases: LeaseManager,
        executor: Executor,
        recorder: Recorder,
        journal: Journal,
        clock: Clock,
        *,
        without: Callable[[datetime], Sequence[Span]],
        ready: Callable[[], bool],
        renewed: Callable[[], None],
    ) -> None:
        self._forecaster = forecaster
        self._drivers = drivers
        self._leases = leases
        self._executor = executor
        self._recorder = recorder
        self._journal = journal
        self._clock = clock
        self._without = without
        self._ready = ready
        self._renewed = renewed
        self._lost: dict[str, datetime] = {}
        self._bell = Bell(clock)
        self.look_again = self._bell.ring

    async def run(self) -> None:
        """Watch for ever; at once done where the household has nothing to offer."""
        while self._forecaster.resources:
            self._bell.silence()
            now = self._clock.now()
            if self._ready():
                self.look(now)
            await self._bell.rung_or(now + (_POTENTIAL_SOON if self._lost else _POTENTIAL_EVERY))

    def look(self, now: datetime) -> None:
        """Work out the potential; a store that cannot be used is logged."""
        try:
            held, overridden = self._leases.held(), self._executor.overridden(now)
            lost = {name: self._lost.get(name, now) for name, driver in self._drivers.items() if not driver.online}
            self._lost = lost
            spent = self._executor.spent(now)
            absent = {
                direction: absences(
                    self._drivers, self._forecaster.devices, held, overridden, lost, now, direction, spent
                )
                for direction in Direction
            }
            self._recorder.flush()
            self._forecaster.refresh(now, absent, held_spans(self._journal.outcomes(), now), self._without(now))
        except UnavailableError as error:
            _log.error("the potential cannot be computed", reason=str(error))
        else:
            self._renewed()
