"""The running gateway of one household: store, engine, transport, drivers, keeper and plans, wired together.

Nothing here is shared between gateways, so several may run in one process.
"""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from random import SystemRandom
from typing import Final

import structlog

from bridges.backoff import Backoff
from bridges.connections import Connection, connect
from bridges.device import Contact, Driver, Observable, Outcome
from bridges.leases import LeaseManager
from core.clock import Clock, load_clock, system_clock
from core.errors import EvenloadError, InvalidError, UnavailableError
from core.private import private_file
from core.spans import Duration
from core.trusted_clock import PATIENCE, TrustedClock
from openadr.model.opt import Availability, OptType
from ven.backfill import backfill, backfillers
from ven.consumption_history import held_spans
from ven.devices import make_drivers, metered
from ven.engine import Action, Engine, EventsChanged, Noted, Refused, Registered, Unregistered
from ven.executor import Executor
from ven.host_clock import synchronised, uptime_s
from ven.household import Household
from ven.ingest import Recorder, status_readings
from ven.notices import Notices
from ven.opt_policy import HouseholdOptPolicy
from ven.potential import Forecaster, absences
from ven.quarantine import where
from ven.readings_store import Ring
from ven.renewal import keep_fresh
from ven.reports import Reporter, ReportPlan
from ven.state_files import StateFiles
from ven.store import AbsenceWish
from ven.vitals import ConnectionContact, DeviceContact, Vitals
from ven.vtn_session import Conversation, read_peer, settings

_log = structlog.get_logger(__name__)

_STATUS_EVERY: Final = timedelta(minutes=5)
_POTENTIAL_EVERY: Final = timedelta(minutes=5)
_POTENTIAL_SOON: Final = timedelta(minutes=2)
_WISHES_EVERY_S: Final = 1.0
_FAREWELL_S: Final = 15.0
_MARK_EVERY_S: Final = 60.0
_MARK_SOON_S: Final = 1.0
_WORLD_TIME: Final = "world_time"
_RESTART: Final = Backoff(2.0, 300.0)
"""How long a part of a gateway, or all of it, stays down after it broke."""


class Gateway:
    """One household's gateway. `run` works until `stop` is called or it is cancelled."""

    def __init__(
        self,
        household: Household,
        *,
        connections: Mapping[str, Connection] | None = None,
        clock: Clock | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Read identity, store and drivers; opens no connection yet.

        `connections` (by name, kept up by the caller) and `clock` stand in for the household's own (tests,
        simulations); `stop` ends it when set. Raises an EvenloadError that says what to do.
        """
        self.household = household
        self.clock = _trusted(clock or (load_clock(household.clock) if household.clock else system_clock()))
        self._stop = stop or asyncio.Event()
        self._given = connections
        self._status_due = asyncio.Event()
        self._potential_due = asyncio.Event()
        self._lost: dict[str, datetime] = {}
        self._peer = read_peer(household)
        if connections is None:
            connections = {name: connect(options) for name, options in household.all_connections().items()}
        self._connections = connections
        self._drivers = make_drivers(household, self._connections, self.clock)
        devices = {name: driver.describe() for name, driver in self._drivers.items()}
        self._files = StateFiles(household.state)
        self.store, self._quarantine, self._journal = self._files.store, self._files.quarantine, self._files.journal
        self._quarantine.recall(self.clock.now())
        self._notices = Notices()
        self._started = self.clock.now()
        self._reached: dict[str, ConnectionContact] = {}
        self._marked_s = -math.inf
        self._doubt: str | None = None
        if (last := self.store.fact(_WORLD_TIME)) is not None:
            self.clock.resume(datetime.fromisoformat(last))
        self._ring = Ring(self.store, household.limits.readings)
        self._recorder = Recorder(self._ring, self._readings_stored)
        resources = metered(household, devices)
        self._meters = frozenset(point for one in resources if (point := one.register or one.power))
        self._forecaster = Forecaster(self._ring, household, devices)
        self._reporter = Reporter(self._ring, resources, _report_plan(household), self._forecaster)
        self._keeper = LeaseManager(self._drivers, self._journal, self.clock, self._outcome)
        self._executor = Executor(
            self.store,
            household,
            devices,
            self._keeper,
            self.clock,
            self._user_took_over,
            quarantine=self._quarantine,
            on_unplannable=self._unplannable,
            doubt=lambda: self.clock.doubt,
        )
        self.engine = Engine(
            self.store,
            HouseholdOptPolicy(household, devices),
            self._reporter,
            settings(household, self._peer),
            SystemRandom(),
            quarantine=self._quarantine,
        )
        self._conversation = Conversation(
            self.engine, household, self._peer, self.clock, self._act, self._recorder.flush
        )

    # -- life

    async def run(self) -> None:
        """Work until stopped; on a clean stop the devices get back what they did before, unless told otherwise."""
        _log.info("gateway starts", household=self.household.name, vtn=self._peer.url, clock=str(self.clock.now()))
        try:
            with suppress(UnavailableError):
                self._show_vitals()
            await self._keeper.recover()
            async with asyncio.TaskGroup() as devices:
                below = [devices.create_task(self._keeper.run()), devices.create_task(self._recorder.run())]
                if self._given is None:
                    below += [devices.create_task(connection.run()) for connection in self._connections.values()]
                await self._start_drivers()
                await self._serve()
                await self._leave()
                for task in below:
                    task.cancel()
            with suppress(UnavailableError):
                self._show_vitals(stopped=True)
        finally:
            self.close()
        _log.info("gateway stopped", household=self.household.name)

    def again(self) -> "Gateway":
        """Return a fresh gateway in the place of one that has broken; `stop` of either stops it."""
        return Gateway(self.household, connections=self._given, clock=self.clock, stop=self._stop)

    async def stopped_within(self, pause_s: float) -> bool:
        """Wait for so long; tell whether `stop` was called."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), pause_s)
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask `run` to come to an end."""
        self._stop.set()

    def close(self) -> None:
        """Close the files."""
        with suppress(UnavailableError):
            self._recorder.flush()
        self._files.close()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(self._kept_up(name, work))
                for name, work in (
                    ("conversation", self._conversation.run),
                    ("renewal", self._renewal),
                    ("executor", self._executor.run),
                    ("statuses", self._statuses),
                    ("requests of people", self._wishes),
                    ("meters' past", self._past),
                    ("potential", self._potential),
                )
            ]
            await self._stop.wait()
            for task in loops:
                task.cancel()

    async def _renewal(self) -> None:
        """Keep the certificate fresh, where there is one; the conversation takes a new one up by itself."""
        if self._peer.identity is not None:
            await keep_fresh(self.household)

    async def _kept_up(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do a part of the gateway's work; where it breaks, the others go on and it begins again after a pause."""
        failures = 0
        while True:
            began_s = time.monotonic()
            try:
                await work()
            except Exception as error:  # noqa: BLE001  whatever it is, it stays with this part
                failures = 1 if time.monotonic() - began_s > _RESTART.longest_s else failures + 1
                with suppress(UnavailableError):
                    self._quarantine.caught("part of the gateway", name, error, self.clock.now())
                await asyncio.sleep(_RESTART.delay_s(failures))
            else:
                return

    async def _start_drivers(self) -> None:
        for name, driver in self._drivers.items():
            if isinstance(driver, Observable):
                driver.observe(self._contact)
            await driver.start(self._recorder.take, self._keeper.listener(name))

    async def _leave(self) -> None:
        """Give the devices back, as far as they can be reached now; the journal keeps the rest for the next start."""
        if self.household.on_stop == "restore":
            try:
                await self._executor.let_go()
                async with asyncio.timeout(_FAREWELL_S):
                    while self._keeper.held():  # noqa: ASYNC110  the keeper tells of no end; a farewell may look
                        await asyncio.sleep(0.02)
            except (TimeoutError, UnavailableError) as error:
                _log.warning("some devices are given back at the next start", reason=str(error) or "no confirmation")
        for driver in self._drivers.values():
            await driver.stop()

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._safely(type(action).__name__, partial(self._act_on, action))

    def _safely(self, name: str, work: Callable[[], None]) -> None:
        """Do what follows from something that has happened already: a failure here must not reach its cause."""
        try:
            work()
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the next one goes on
            self._quarantine.caught("consequence", name, error, self.clock.now())

    def _act_on(self, action: Action) -> None:
        match action:
            case EventsChanged(event_ids):
                self._executor.wake()
                self._log_opts(event_ids)
            case Registered(registration, renewed):
                _log.info("registered", ven_id=registration.ven_id, vtn=registration.vtn_id, renewed=renewed)
                self._executor.wake()
            case Unregistered(reason, comes_back):
                again = "asks again in an hour, or after a restart" if comes_back else "restart the gateway for that"
                _log.warning("not registered any more", reason=reason, again=again)
            case Refused(message, code, reason):
                _log.warning("the VTN refused a message", message=message, code=code, reason=reason)
            case Noted(text, problem):
                (_log.warning if problem else _log.info)(text)

    # -- devices

    def _readings_stored(self) -> None:
        self._conversation.poke()

    def _look_again(self) -> None:
        self._status_due.set()
        self._potential_due.set()

    def _contact(self, contact: Contact) -> None:
        self._look_again()
        if contact is Contact.LOST:
            _log.info("a device, or the way to it, is lost", household=self.household.name)

    def _outcome(self, outcome: Outcome) -> None:
        command = outcome.command
        self._write_log(
            {
                "kind": "command",
                "id": command.id,
                "event": command.by,
                "device": command.device,
                "capability": command.capability,
                "value": command.value,
                "until": command.until.isoformat(),
                "state": outcome.state.value,
                "detail": outcome.detail,
            }
        )
        self._note_time(_MARK_SOON_S)
        self._safely("command outcome", partial(self._executor.heard, outcome))
        self._look_again()

    def _user_took_over(self, event_id: str) -> None:
        self._opt(event_id, OptType.OUT, "overrideStatus")

    def _unplannable(self, event_id: str, reason: str) -> None:
        self._act(self.engine.withdraw(event_id, reason))
        self._conversation.poke()

    async def _statuses(self) -> None:
        """Keep each resource's status in the ring: on change, and often enough to be believed."""
        last: dict[str, float] = {}
        while True:
            self._status_due.clear()
            now = self.clock.now()
            try:
                overridden = self._executor.overridden(now)
            except UnavailableError as error:
                _log.error("the store cannot be read", reason=str(error))
                await asyncio.sleep(_WISHES_EVERY_S)
                continue
            readings = status_readings(self.household, self._drivers, self._keeper.held(), overridden, now)
            for reading in readings:
                self._recorder.take(reading)
            new = {one.point: one.value for one in readings}
            if new != last:
                _log.debug("status", **new)
            last = new
            await self._wait(self._status_due, now + _STATUS_EVERY)

    async def _wait(self, news: asyncio.Event, until: datetime) -> None:
        """Wait for an event or a time, whichever comes first."""
        waits: list[asyncio.Task[object]] = [
            asyncio.create_task(news.wait()),
            asyncio.create_task(self.clock.sleep_until(until)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def _potential(self) -> None:
        """Keep the flexibility potential up to date: now and then, and when a device changes hands."""
        while self._forecaster.resources:
            self._potential_due.clear()
            now = self.clock.now()
            if self._reporter.history_ready:
                self._forecast(now)
            await self._wait(self._potential_due, now + (_POTENTIAL_SOON if self._lost else _POTENTIAL_EVERY))

    def _forecast(self, now: datetime) -> None:
        try:
            held, overridden = self._keeper.held(), self._executor.overridden(now)
            lost = {name: self._lost.get(name, now) for name, driver in self._drivers.items() if not driver.online}
            self._lost = lost
            absent = absences(self._drivers, self._forecaster.devices, held, overridden, lost, now)
            self._recorder.flush()
            self._forecaster.refresh(now, absent, held_spans(self._journal.outcomes(), now))
        except UnavailableError as error:
            _log.error("the potential cannot be computed", reason=str(error))
        else:
            self._conversation.poke()

    async def _past(self) -> None:
        meters = backfillers(self._drivers, self._meters)
        plan = self.household.history
        try:
            drivers = list(dict.fromkeys(meters.values()))
            rest = (self.store, self._ring, self._recorder, self._reporter, self.clock)
            await backfill(drivers, meters.keys(), plan, *rest)
        except UnavailableError as error:
            _log.error("the meters are asked for their past at the next start", reason=str(error))
        self._forecaster.forget()
        self._potential_due.set()
        self._conversation.poke()

    # -- people

    async def _wishes(self) -> None:
        """Act on what people ask for at the command line, once the VTN can be told of it."""
        while True:
            await asyncio.sleep(_WISHES_EVERY_S)
            self._take_notice()
            try:
                self._safely("vitals", self._show_vitals)
                if self.engine.registration is not None:
                    self._grant_wishes()
            except UnavailableError as error:
                _log.error("the store cannot be used", reason=str(error))

    def _take_notice(self) -> None:
        """Note what people should know of this gateway beside its log: a clock in doubt, a full disk."""
        doubt = self.clock.doubt
        if (doubt is None) != (self._doubt is None):
            self._executor.wake()
        self._doubt = doubt
        self._notices.put("clock", f"{doubt}; nothing new is begun until that is settled" if doubt else None)
        trouble = self._note_time(_MARK_EVERY_S)
        self._files.keep_reserve()
        if waiting := self._keeper.unrecorded:
            trouble = f"{waiting} steps of leases wait for room"
        full = f"the disk takes nothing ({trouble}). Devices are given back all the same, but no new event is begun"
        self._notices.put("disk", full if trouble else None)

    def _show_vitals(self, *, stopped: bool = False) -> None:
        """Show in a file what only this process knows: who answers, and who is there."""
        now = self.clock.now()
        taken_back = self._executor.overridden(now)
        devices = {name: _contact_of(driver, taken_back=name in taken_back) for name, driver in self._drivers.items()}
        self._reached = {name: self._connection_contact(name, now) for name in self._connections}
        vtn = self._conversation.contact
        stopped_at = now if stopped else None
        self._files.vitals.put(Vitals(self._started, now, vtn, self._reached, devices, stopped_at, self._notices.texts))

    def _grant_wishes(self) -> None:
        for wish in self.store.wishes():
            self._opt(wish.event_id, wish.opt, wish.reason)
            self.store.granted(wish)
        for absence in self.store.absence_wishes():
            self._opt_by("schedule", partial(self._absent, absence))
            self.store.absence_granted(absence)

    def _connection_contact(self, name: str, now: datetime) -> ConnectionContact:
        connection, options = self._connections[name], self.household.all_connections()[name]
        last, up, heard_s = self._reached.get(name), connection.connected, connection.heard_s
        since = now if last is None or last.connected != up else last.since
        silent_s = None if heard_s is None else round(time.monotonic() - heard_s)
        return ConnectionContact(options.kind, options.address, up, since, silent_s)

    def _note_time(self, every_s: float) -> str | None:
        """Store how late it is, so that the next start knows a clock that is behind; return what prevents it."""
        if self.clock.doubt is None and time.monotonic() - self._marked_s >= every_s:
            try:
                self.store.set_fact(_WORLD_TIME, self.clock.now().isoformat())
                self._marked_s = time.monotonic()
            except UnavailableError as error:
                return str(error)
        return None

    def _opt_by(self, what: str, work: Callable[[], list[Action]]) -> None:
        """Let the engine opt; what it does not take is a line in the log."""
        try:
            self._act(work())
        except UnavailableError:
            raise
        except EvenloadError as error:
            _log.warning("an opt was not taken", what=what, reason=str(error))
        else:
            self._conversation.poke()

    def _opt(self, event_id: str, opt: OptType, reason: str) -> None:
        self._opt_by(f"{opt} of event {event_id}", lambda: self.engine.opt(event_id, opt, reason, self.clock.now()))

    def _absent(self, absence: AbsenceWish) -> list[Action]:
        if absence.ends_opt_id is not None:
            self.engine.cancel_opt(absence.ends_opt_id)
            return []
        if absence.end <= self.clock.now():
            raise InvalidError("The time away is over.")
        span = Availability(absence.start, Duration.between(absence.start, absence.end))
        _, actions = self.engine.schedule_opt([span], OptType.OUT, absence.reason, self.clock.now())
        return actions

    # -- the log file

    def _log_opts(self, event_ids: Iterable[str]) -> None:
        for event_id in event_ids:
            known = self.store.event(event_id)
            if known is None:
                continue
            span = known.span if known.runs else None
            line = {
                "kind": "opt",
                "event": event_id,
                "modification": known.event.modification_number,
                "opt": known.opt.value,
                "code": int(known.code),
                "reason": known.reason,
                "cancelled": known.stop_at is not None,
                "start": span.start.isoformat() if span else None,
                "end": span.end.isoformat() if span and span.end else None,
            }
            _log.info(
                "opt decided", **{name: value for name, value in line.items() if name != "event"}, event_id=event_id
            )
            self._write_log(line)

    def _write_log(self, line: dict[str, object]) -> None:
        path = self.household.log_file
        if path is None:
            return
        try:
            private_file(path)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"at": self.clock.now().isoformat(), "ven": self._peer.ven_name, **line}) + "\n")
        except OSError as error:
            _log.error("the log file cannot be written", file=str(path), reason=str(error))


def _trusted(clock: Clock) -> TrustedClock:
    """Return the clock with doubts; only the host's own can be synchronised."""
    if clock != system_clock():
        return TrustedClock(clock)
    booted = uptime_s() < PATIENCE.total_seconds()
    return TrustedClock(clock, synchronised, just_booted=booted)


def _contact_of(driver: Driver, *, taken_back: bool) -> DeviceContact:
    names = (capability.name for capability in driver.describe().capabilities)
    return DeviceContact(driver.online, {name: driver.state(name) for name in names}, taken_back)


def _report_plan(household: Household) -> ReportPlan:
    reports, history = household.reports, household.history
    if reports.max_period.exact_s < reports.min_period.exact_s:
        raise InvalidError("reports.max_period is shorter than reports.min_period.")
    return ReportPlan(
        reports.min_period,
        reports.max_period,
        reports.settle.timedelta(),
        history.step,
        history.offer,
        reports.one_value_per_interval,
        household.site.connection_w,
    )


async def run_gateways(gateways: Iterable[Gateway]) -> None:
    """Run several gateways in this process until each has stopped. One that breaks begins again after a pause."""
    async with asyncio.TaskGroup() as group:
        for gateway in gateways:
            group.create_task(_run_for_good(gateway))


def _causes(error: BaseException) -> list[BaseException]:
    """Return what lies in the groups of an exception."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in _causes(inner)]
    return [error]


async def _run_for_good(gateway: Gateway) -> None:
    failures = 0
    current: Gateway | None = gateway
    while True:
        began_s = time.monotonic()
        try:
            current = current or gateway.again()
            await current.run()
        except Exception as error:  # noqa: BLE001  whatever it is, the other households go on
            failures = 1 if time.monotonic() - began_s > _RESTART.longest_s else failures + 1
            pause_s = _RESTART.delay_s(failures)
            _log.error(
                "this gateway broke and begins again",
                household=gateway.household.name,
                in_s=round(pause_s),
                reasons=[f"{type(cause).__name__}: {cause}"[:200] for cause in _causes(error)],
                where=[where(cause) for cause in _causes(error)],
            )
        else:
            return
        current = None
        if await gateway.stopped_within(pause_s):
            return
