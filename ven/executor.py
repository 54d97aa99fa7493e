"""Carrying out events: at every moment the devices are told what the plans say, no more and no less.

It compares what the plans want now with what the keeper holds. So it does not matter how a difference came about: by
the clock, by a modified or cancelled event, by a person, or by a restart.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from bridges.device import Command, Device, Outcome, Rank, State
from bridges.slots import Lease
from core.clock import Clock
from core.errors import NotFoundError, UnavailableError
from ven.household import Household
from ven.known import KnownEvent, version_key
from ven.planning import Plan, Planned, plan
from ven.quarantine import Quarantine
from ven.store import Store

_log = structlog.get_logger(__name__)

_LONGEST_SLEEP: Final = timedelta(hours=6)
_RETRY_S: Final = 2.0
_MOST_RESUMED: Final = 500


class Commander(Protocol):
    """What the executor needs of `bridges.leases.Keeper`."""

    async def command(self, command: Command) -> Outcome:
        """Take a command; the same id again changes nothing."""

    async def release(self, command_id: str) -> None:
        """End a command before its time."""

    def held(self) -> list[Lease]:
        """Return the open leases."""


class Executor:
    """Keeps the devices of one household in step with its events."""

    def __init__(
        self,
        store: Store,
        household: Household,
        devices: Mapping[str, Device],
        keeper: Commander,
        clock: Clock,
        on_override: Callable[[str], None],
        quarantine: Quarantine | None = None,
        on_unplannable: Callable[[str, str], None] = lambda _, __: None,
    ) -> None:
        """`on_override` is called with an event's id once a person has taken every device back from it.

        `on_unplannable` is called with the id of an event that cannot be planned, and the reason.
        """
        self._quarantine = quarantine or Quarantine(store)
        self._on_unplannable = on_unplannable
        self._store = store
        self._household = household
        self._devices = devices
        self._keeper = keeper
        self._clock = clock
        self._on_override = on_override
        self._wake = asyncio.Event()
        self._told: set[str] = set()
        self._overridden: dict[str, set[tuple[str, str]]] = {}
        self._resumed: dict[str, int] = store.fact("resumed") or {}

    def wake(self) -> None:
        """Look again: an event changed."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the plans until cancelled; a full disk is waited for."""
        while True:
            self._wake.clear()
            try:
                following = await self.follow()
            except UnavailableError as error:
                _log.error("the plan cannot be followed, trying again", reason=str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            await self._sleep(following)

    async def _sleep(self, until: datetime) -> None:
        waits = [asyncio.create_task(self._wake.wait()), asyncio.create_task(self._clock.sleep_until(until))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    def plans(self, now: datetime) -> list[tuple[KnownEvent, Plan]]:
        """Return the plan of every event that this household carries out."""
        registration = self._store.registration()
        ven_id = registration.ven_id if registration else ""
        horizon = now + timedelta(hours=24)
        made = ((known, self._plan(known, ven_id, horizon)) for known in self._store.events() if known.runs)
        return [(known, orders) for known, orders in made if orders is not None]

    def _plan(self, known: KnownEvent, ven_id: str, horizon: datetime) -> Plan | None:
        """Return an event's plan. One that raises, or ended this VEN at too many starts, is given up: None."""
        key, reason = version_key(known.event), "handling it ended this VEN before"
        if not self._quarantine.barred("event", key):
            try:
                with self._quarantine.handling("event", key):
                    return plan(known, self._household, self._devices, ven_id, horizon)
            except Exception as error:  # noqa: BLE001  whatever it is, the other events go on
                reason = self._quarantine.caught("event", key, error, self._clock.now())
        self._on_unplannable(known.event.event_id, reason)
        return None

    async def follow(self) -> datetime:
        """Command what is wanted now, release what is not, and return when something changes next."""
        now = self._clock.now()
        orders = [order for _, made in self.plans(now) for order in made.orders]
        wanted = {self._id(order): order for order in orders if order.at <= now < order.until}
        for ident, order in wanted.items():
            if ident not in self._told:
                await self._tell(ident, order)
        for lease in self._keeper.held():
            command = lease.command
            if command.rank is Rank.EVENT and command.id not in wanted and command.until > now:
                with suppress(NotFoundError):
                    await self._keeper.release(command.id)
        self._told &= wanted.keys()
        edges = [edge for order in orders for edge in (order.at, order.until) if edge > now]
        return min([*edges, now + _LONGEST_SLEEP])

    async def _tell(self, ident: str, order: Planned) -> None:
        if order.dry_run:
            _log.info("test event: this would be done now", **_words(order))
        else:
            command = Command(ident, order.device, order.capability, order.value, order.until, order.event_id)
            try:
                outcome = await self._keeper.command(command)
            except UnavailableError:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, the other orders go on
                self._quarantine.caught("order", f"{order.event_id} {order.device}", error, self._clock.now())
            else:
                _log.info("device commanded", state=outcome.state.value, **_words(order))
        self._told.add(ident)

    def _id(self, order: Planned) -> str:
        """Return the command's id; after a clean stop gave the device back, a new one resumes the order."""
        times = self._resumed.get(order.id, 0)
        return f"{order.id}_{times}" if times else order.id

    def heard(self, outcome: Outcome) -> None:
        """Take notice of a command's step: a device that its user took back from an event."""
        if outcome.state is not State.OVERRIDDEN or outcome.command.rank is not Rank.EVENT:
            return
        event_id = outcome.command.by
        mine = self._overridden.setdefault(event_id, set())
        mine.add((outcome.command.device, outcome.command.capability))
        known = self._store.event(event_id)
        if known is None or not known.runs:
            return
        orders = next((made.orders for one, made in self.plans(outcome.at) if one.event.event_id == event_id), ())
        if all((order.device, order.capability) in mine for order in orders):
            self._on_override(event_id)

    def overridden(self, now: datetime) -> set[str]:
        """Return the devices that their user holds against an event that still runs."""
        for event_id in list(self._overridden):
            known = self._store.event(event_id)
            if known is None or known.over(now):
                del self._overridden[event_id]
        return {device for held in self._overridden.values() for device, _ in held}

    async def let_go(self) -> None:
        """Release every device that an event holds, so that a clean stop leaves the household as it was.

        The events stay known: the next start resumes what still runs.
        """
        leases = [lease for lease in self._keeper.held() if lease.command.rank is Rank.EVENT]
        resumed = dict(list(self._resumed.items())[-_MOST_RESUMED:])
        for lease in leases:
            base, _, times = lease.command.id.removeprefix("cmd_").partition("_")
            resumed[f"cmd_{base}"] = int(times or 0) + 1
        self._store.set_fact("resumed", resumed)
        self._resumed = resumed
        for lease in leases:
            with suppress(NotFoundError):
                await self._keeper.release(lease.command.id)


def _words(order: Planned) -> dict[str, object]:
    return {
        "event_id": order.event_id,
        "device": order.device,
        "capability": order.capability,
        "value": order.value,
        "until": order.until.isoformat(),
    }
