"""Carrying out events: at every moment the devices are told what the plans say, no more and no less.

It compares what the plans want now with what the keeper holds. So it does not matter how a difference came about: by
the clock, by a modified or cancelled event, by a person, or by a restart.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from bridges.device import Command, Device, Outcome, Rank, State
from bridges.lease_state import Lease
from core.clock import Clock, StepWatch
from core.errors import NotFoundError, UnavailableError
from ven.comfort import Comfort
from ven.daily_use import DailyUse, DayEnds
from ven.household import Household
from ven.planning import HORIZON, Plan, Planned, plan
from ven.quarantine import Quarantine
from ven.site_limits import SiteLimiter
from ven.store import Store
from ven.vtn_state import KnownEvent, version_key

_log = structlog.get_logger(__name__)

_LONGEST_SLEEP: Final = timedelta(hours=6)
_RETRY_S: Final = 2.0
_NAP_S: Final = 5.0
_DOUBTFUL_SLEEP: Final = timedelta(seconds=30)
_MOST_RESUMED: Final = 500
_REFUSALS: Final = frozenset({State.REFUSED, State.OVERRIDDEN})


class Commander(Protocol):
    """What the executor needs of `bridges.leases.LeaseManager`."""

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
        *,
        quarantine: Quarantine | None = None,
        on_unplannable: Callable[[str, str], None] = lambda _, __: None,
        doubt: Callable[[], str | None] = lambda: None,
        comfort: Comfort | None = None,
    ) -> None:
        """`on_override` is called with an event's id once every device was taken back from it, by a person or comfort.

        `on_unplannable` is called with the id of an event that cannot be planned, and the reason. `doubt` gives the
        reason why the clock should not be acted on, if there is any: nothing new is begun then.
        """
        self._quarantine = quarantine or Quarantine(store)
        self._on_unplannable = on_unplannable
        self._store = store
        self._household = household
        self._devices = devices
        self._keeper = keeper
        self._clock = clock
        self._on_override = on_override
        self._doubt = doubt
        self._comfort = comfort or Comfort(household, store, clock)
        self._comfort.on_change = self.wake
        self._daily = DailyUse(household, store, clock)
        self.site = SiteLimiter(household, devices, store, clock)
        self.site.on_change = self.wake
        self._site_edges: list[datetime] = []
        self._steps = StepWatch(clock)
        self._wake = asyncio.Event()
        self._reported: set[str] = set()
        self._overridden: dict[str, set[tuple[str, str]]] = {}
        self._spared: dict[str, set[tuple[str, str]]] = {}
        """What events do without, since it was used often enough today."""
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
        """Sleep until a time, until somebody wakes us, or until the clock was set: then the plan is another one."""
        self._steps.step()
        waits = [asyncio.create_task(self._wake.wait()), asyncio.create_task(self._clock.sleep_until(until))]
        try:
            while not self._steps.step():
                done, _ = await asyncio.wait(waits, timeout=_NAP_S, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    return
            _log.warning("the clock was set: the plan is worked out anew", now=self._clock.now().isoformat())
        finally:
            for task in waits:
                task.cancel()

    def plans(self, now: datetime) -> list[tuple[KnownEvent, Plan]]:
        """Return the plan of every event that this household carries out."""
        registration = self._store.registration()
        ven_id = registration.ven_id if registration else ""
        horizon = now + HORIZON
        made = ((known, self._plan(known, ven_id, horizon)) for known in self._store.events() if known.runs)
        return [(known, orders) for known, orders in made if orders is not None]

    def _plan(self, event: KnownEvent, ven_id: str, horizon: datetime) -> Plan | None:
        """Return an event's plan. One that raises, or ended this VEN at too many starts, is given up: None."""
        key, reason = version_key(event.event), "handling it ended this VEN before"
        if not self._quarantine.barred("event", key):
            try:
                with self._quarantine.handling("event", key):
                    return plan(event, self._household, self._devices, ven_id, horizon)
            except Exception as error:  # noqa: BLE001  whatever it is, the other events go on
                reason = self._quarantine.caught("event", key, error, self._clock.now())
        self._on_unplannable(event.event.event_id, reason)
        return None

    async def follow(self) -> datetime:
        """Command what is wanted now, release what is not, and return when something changes next.

        A command that cannot be taken (a full disk) keeps nothing else from being released; UnavailableError is raised
        in the end.
        """
        now, doubtful = self._clock.now(), self._doubt() is not None
        orders = self._wanted(now)
        wanted = {order.id: order for order in orders if order.at <= now < order.until}
        standing = self._standing()
        failure = None
        for order in wanted.values():
            if order.id not in self._reported and not (doubtful and self._id(order) not in standing):
                try:
                    await self._tell(order)
                except UnavailableError as error:
                    failure = error
        # In doubt it is at least this late: what holds a device for an order that seems to lie ahead has begun.
        kept = [order for order in orders if order.until > now] if doubtful else wanted.values()
        ids = {self._id(order) for order in kept}
        for lease in self._keeper.held():
            command = lease.command
            if command.rank is Rank.EVENT and command.id not in ids and command.until > now:
                with suppress(NotFoundError):
                    await self._keeper.release(command.id)
        self._reported &= wanted.keys()
        if failure is not None:
            raise failure
        edges = [edge for order in orders for edge in (order.at, order.until) if edge > now]
        return min([*edges, *self._site_edges, now + (_DOUBTFUL_SLEEP if doubtful else _LONGEST_SLEEP)])

    def _wanted(self, now: datetime) -> list[Planned]:
        """Return the orders of all plans but those without which their events do: for comfort, or by a day's limit."""
        wanted: list[Planned] = []
        plans = self.plans(now)
        of_site = self._site_orders([made for _, made in plans], now)
        orders = [*(order for _, made in plans for order in made.orders), *of_site]
        ends = self._daily.ends(orders, self.site.held_before())
        for known, made in plans:
            event_id = known.event.event_id
            mine = [*made.orders, *(order for order in of_site if order.event_id == event_id)]
            wanted += [order for each in mine if (order := self._left(each, ends, now)) is not None]
            if _nothing_left(made, self._gone(event_id)):
                self._on_override(event_id)
        there = {known.event.event_id for known in self._store.events()}
        self._comfort.forget(there)
        self._spared = {event_id: what for event_id, what in self._spared.items() if event_id in there}
        return wanted

    def _site_orders(self, plans: Iterable[Plan], now: datetime) -> list[Planned]:
        """Return what keeps the site's limits now, and note when the next of them begins or ends."""
        limits = [limit for made in plans for limit in made.limits]
        edges = [edge for limit in limits for edge in (limit.at, limit.until) if edge > now]
        orders = self.site.orders(limits, lambda event_id, device: device in self._lost(event_id), now)
        again = self.site.look_again(now)
        self._site_edges = edges if again is None else [*edges, again]
        return orders

    def _gone(self, event_id: str) -> set[tuple[str, str]]:
        """Return (device, capability) of what an event does without: taken back, given up, or used enough."""
        return (
            self._overridden.get(event_id, set()) | self._comfort.given_up(event_id) | self._spared.get(event_id, set())
        )

    def _lost(self, event_id: str) -> set[str]:
        return {device for device, _ in self._gone(event_id)} | self._comfort.devices()

    def _left(self, order: Planned, ends: DayEnds, now: datetime) -> Planned | None:
        """Return what is carried out of an order; None where its event does without the device."""
        left = self._daily.cut(order, ends)
        if order.dry_run or not order.at <= now < order.until:
            return left
        if self._comfort.gives_up(order.event_id, order.device, order.capability):
            return None
        if left is not None and left.until > now and self._daily.allows(order.event_id, order.device):
            return left
        spared = self._spared.setdefault(order.event_id, set())
        if (order.device, order.capability) not in spared:
            spared.add((order.device, order.capability))
            _log.info("a device was used enough today", event_id=order.event_id, device=order.device)
        return None

    def withheld(self, event: KnownEvent, orders: Sequence[Planned]) -> dict[str, str]:
        """Return device -> why an event that is being judged would not get it, by its orders."""
        now = self._clock.now()
        found: dict[str, str] = {}
        if event.start <= now:
            found = {
                order.device: rule for order in orders if (rule := self._comfort.reason(order.device, order.capability))
            }
        if self._daily.limits_anything:
            mine = event.event.event_id
            others = [order for known, made in self.plans(now) if known.event.event_id != mine for order in made.orders]
            spent = self._daily.out_of_reach(orders, others, self.site.held_before())
            found |= dict.fromkeys(spent, "it is used enough on that day")
        return found

    async def _tell(self, order: Planned) -> None:
        if order.dry_run:
            _log.info("test event: this would be done now", **_words(order))
        else:
            try:
                outcome = await self._command(order)
                if outcome.state not in _REFUSALS and self._id(order) not in self._standing():
                    # Given back by mistake (the clock was wrong), and wanted all the same: it is taken again.
                    self._resume([self._id(order)])
                    outcome = await self._command(order)
            except UnavailableError:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, the other orders go on
                self._quarantine.caught("order", f"{order.event_id} {order.device}", error, self._clock.now())
            else:
                _log.info("device commanded", state=outcome.state.value, **_words(order))
        self._reported.add(order.id)

    def _standing(self) -> set[str]:
        """Return the ids of the commands that hold a device, or wait for it, and are not about to end."""
        return {lease.command.id for lease in self._keeper.held() if not lease.ending}

    async def _command(self, order: Planned) -> Outcome:
        where = (order.device, order.capability, order.value, order.until, order.event_id)
        return await self._keeper.command(Command(self._id(order), *where))

    def _id(self, order: Planned) -> str:
        """Return the command's id; once the device was given back, a new one resumes the order."""
        times = self._resumed.get(order.id, 0)
        return f"{order.id}_{times}" if times else order.id

    def _resume(self, command_ids: Iterable[str]) -> None:
        """Have ended commands taken again under new ids, also after a restart. Raises UnavailableError."""
        resumed = dict(list(self._resumed.items())[-_MOST_RESUMED:])
        for command_id in command_ids:
            base, _, times = command_id.removeprefix("cmd_").partition("_")
            resumed[f"cmd_{base}"] = int(times or 0) + 1
        self._store.set_fact("resumed", resumed)
        self._resumed = resumed

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
        made = next((made for each, made in self.plans(outcome.at) if each.event.event_id == event_id), None)
        if made is None or _nothing_left(made, self._gone(event_id)):
            self._on_override(event_id)

    def overridden(self, now: datetime) -> set[str]:
        """Return the devices that their user holds against an event that still runs, or that comfort needs now."""
        for event_id in list(self._overridden):
            known = self._store.event(event_id)
            if known is None or known.over(now):
                del self._overridden[event_id]
        return {device for held in self._overridden.values() for device, _ in held} | self._comfort.devices()

    def spent(self, now: datetime) -> dict[str, datetime]:
        """Return device -> until when no other event may use it, since it was used enough today."""
        if not self._daily.limits_anything:
            return {}
        orders = (order for _, made in self.plans(now) for order in made.orders)
        return self._daily.spent(now, orders, self.site.held_before())

    async def let_go(self, devices: Collection[str]) -> None:
        """Release these devices where an event holds them, so that they are left as they were.

        The events stay known: the next start resumes what still runs.
        """
        leases = [
            lease
            for lease in self._keeper.held()
            if lease.command.rank is Rank.EVENT and lease.command.device in devices
        ]
        try:
            self._resume([lease.command.id for lease in leases])
        except UnavailableError as error:  # the devices come first
            _log.error("a running event is not resumed by the next start", reason=str(error))
        for lease in leases:
            with suppress(NotFoundError):
                await self._keeper.release(lease.command.id)


def _nothing_left(event_plan: Plan, gone: Collection[tuple[str, str]]) -> bool:
    """Tell whether an event that could do something here does without all of it."""
    devices = {device for device, _ in gone}
    orders = all((order.device, order.capability) in gone for order in event_plan.orders)
    limits = all(step.device in devices for limit in event_plan.limits for step in limit.order)
    return bool(gone) and orders and limits


def _words(order: Planned) -> dict[str, object]:
    return {
        "event_id": order.event_id,
        "device": order.device,
        "capability": order.capability,
        "value": order.value,
        "until": order.until.isoformat(),
    }
