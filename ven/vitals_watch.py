"""Watches over a gateway itself: its clock, its disk, and who answers; shown to people by `ven status`."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from bridges.connections import Connection, Counting
from bridges.device import Driver
from bridges.leases import LeaseManager
from core.errors import UnavailableError
from core.trusted_clock import TrustedClock
from ven.executor import Executor
from ven.household import Household
from ven.notices import Notices
from ven.state_files import StateFiles
from ven.vitals import ConnectionContact, DeviceContact, Vitals, VtnContact

_MARK_EVERY_S: Final = 60.0
_MARK_SOON_S: Final = 1.0
_WORLD_TIME: Final = "world_time"


class VitalsWatch:
    """The vitals of one gateway. `vtn` says how its VTN answers."""

    def __init__(
        self,
        household: Household,
        files: StateFiles,
        clock: TrustedClock,
        connections: Mapping[str, Connection],
        drivers: Mapping[str, Driver],
        leases: LeaseManager,
        executor: Executor,
        vtn: Callable[[], VtnContact],
        started: datetime,
    ) -> None:
        self._options = household.all_connections()
        self._files = files
        self._clock = clock
        self._connections = connections
        self._drivers = drivers
        self._leases = leases
        self._executor = executor
        self._vtn = vtn
        self._notices = Notices()
        self._started = started
        self._reached: dict[str, ConnectionContact] = {}
        self._marked_s = -math.inf
        self._doubt: str | None = None

    def look(self) -> bool:
        """Note what people should know beside the log: a clock in doubt, a full disk.

        Returns whether the clock has come into doubt, or out of it.
        """
        doubt, before = self._clock.doubt, self._doubt
        self._doubt = doubt
        waits = "nothing new is begun and no reading reported until that is settled"
        self._notices.put("clock", f"{doubt}; {waits}" if doubt else None)
        trouble = self._mark(_MARK_EVERY_S)
        self._files.keep_reserve()
        if waiting := self._leases.unrecorded:
            trouble = f"{waiting} steps of leases wait for room"
        full = f"the disk takes nothing ({trouble}). Devices are given back all the same, but no new event is begun"
        self._notices.put("disk", full if trouble else None)
        return (doubt is None) != (before is None)

    def show(self, *, stopped: bool = False) -> None:
        """Show in a file what only this process knows: who answers, and who is there. Raises UnavailableError."""
        now = self._clock.now()
        taken_back = self._executor.overridden(now)
        devices = {name: _contact_of(driver, taken_back=name in taken_back) for name, driver in self._drivers.items()}
        self._reached = {name: self._connection(name, now) for name in self._connections}
        stopped_at = now if stopped else None
        shown = Vitals(self._started, now, self._vtn(), self._reached, devices, stopped_at, self._notices.texts)
        self._files.vitals.put(shown)

    def mark_soon(self) -> None:
        """Store the time after something that must not seem to lie ahead at the next start."""
        self._mark(_MARK_SOON_S)

    def _mark(self, every_s: float) -> str | None:
        """Store how late it is, so that the next start knows a clock that is behind; return what prevents it."""
        if self._clock.doubt is None and time.monotonic() - self._marked_s >= every_s:
            try:
                self._files.store.set_fact(_WORLD_TIME, self._clock.now().isoformat())
                self._marked_s = time.monotonic()
            except UnavailableError as error:
                return str(error)
        return None

    def _connection(self, name: str, now: datetime) -> ConnectionContact:
        connection, options = self._connections[name], self._options[name]
        last, up, heard_s = self._reached.get(name), connection.connected, connection.heard_s
        since = now if last is None or last.connected != up else last.since
        silent_s = None if heard_s is None else round(time.monotonic() - heard_s)
        unused = dict(connection.unused) if isinstance(connection, Counting) else {}
        return ConnectionContact(options.kind, options.address, up, since, silent_s, unused)


def resume(clock: TrustedClock, files: StateFiles) -> None:
    """Tell a clock how late it was when the gateway last marked the time."""
    if (last := files.store.fact(_WORLD_TIME)) is not None:
        clock.resume(datetime.fromisoformat(last))


def _contact_of(driver: Driver, *, taken_back: bool) -> DeviceContact:
    names = (capability.name for capability in driver.describe().capabilities)
    return DeviceContact(driver.online, {name: driver.state(name) for name in names}, taken_back)
