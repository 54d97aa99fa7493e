"""The running gateway of one household: store, engine, transport, drivers, leases and plans, wired together.

Nothing here is shared between gateways, so several may run in one process (`ven.supervision`).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from random import SystemRandom
from typing import Final

import structlog

from bridges.connections import Acknowledging, Connection, connect
from bridges.device import Contact, Observable, Outcome
from bridges.leases import LeaseManager
from core.clock import Clock, load_clock, system_clock
from core.errors import EvenloadError, InvalidError, UnavailableError
from core.points import Reading
from core.spans import Span
from core.trusted_clock import PATIENCE, TrustedClock
from ven.assessment import Assessments
from ven.assessment_report import AssessmentReports
from ven.assessor import Assessor
from ven.backfill import backfill, backfillers
from ven.comfort import Comfort
from ven.copies import Copier, CopyQueue
from ven.devices import make_drivers, metered
from ven.engine import Action, Engine, EventsChanged, Noted, Refused, Registered, Unregistered
from ven.executor import Executor
from ven.heartbeat import Heartbeat
from ven.host_clock import synchronised, uptime_s
from ven.household import Household, OptMessage
from ven.household_log import HouseholdLog
from ven.ingest import Recorder
from ven.opt_policy import HouseholdOptPolicy
from ven.people import People
from ven.potential import Forecaster
from ven.quiet_hours import QuietHours, spans_without_events
from ven.readings_store import Ring
from ven.renewal import keep_fresh
from ven.reports import Reporter, ReportPlan
from ven.state_files import StateFiles
from ven.supervision import keep_up
from ven.vitals_watch import VitalsWatch, resume
from ven.vtn_session import Conversation, read_peer, settings
from ven.watches import PotentialWatch, StatusWatch

_log = structlog.get_logger(__name__)

_PEOPLE_EVERY_S: Final = 1.0
_FAREWELL_S: Final = 15.0


class _Life:
    """What a gateway shares with the one in its place: household file, whether to stop, its age, and its turn."""

    def __init__(self, household: Household, turn: asyncio.Lock | None) -> None:
        self.household = household
        self.turn = turn or asyncio.Lock()
        self.started: datetime | None = None
        self.stopping = asyncio.Event()
        self.changed = asyncio.Event()
        """To stop, or to go on with another household file."""


class Gateway:
    """One household's gateway. `run` works until `stop` or `reload` is called or it is cancelled."""

    def __init__(
        self,
        household: Household,
        *,
        connections: Mapping[str, Connection] | None = None,
        clock: Clock | None = None,
        life: _Life | None = None,
        turn: asyncio.Lock | None = None,
    ) -> None:
        """Read identity, store and drivers; opens no connection yet.

        `connections` (by name, kept up by the caller) and `clock` stand in for the household's own (tests,
        simulations); `life` is that of a gateway in whose place this one comes. Gateways that share a `turn` compute
        what events brought one after the other. Raises an EvenloadError that says what to do.
        """
        self.household = household
        self.clock = _trusted(clock or (load_clock(household.clock) if household.clock else system_clock()))
        self._life = life or _Life(household, turn)
        self._given = connections
        self._peer = read_peer(household)
        if connections is None:
            connections = {name: connect(options) for name, options in household.all_connections().items()}
        self._connections = connections
        self._drivers = make_drivers(household, connections, self.clock)
        devices = {name: driver.describe() for name, driver in self._drivers.items()}
        self._files = StateFiles(household.state)
        self.store, self._quarantine, self._journal = self._files.store, self._files.quarantine, self._files.journal
        self._quarantine.recall(self.clock.now())
        resume(self.clock, self._files)
        self._log = HouseholdLog(household.log_file, self._peer.ven_name, self.clock)
        self._copies = CopyQueue(self.store, household.copies)
        self._ring = Ring(self.store, household.limits.readings, self._copies.put if household.copies else None)
        self._recorder = Recorder(self._ring, self._poke, self.clock)
        for connection in connections.values() if self._given is None else ():
            if isinstance(connection, Acknowledging):
                connection.acknowledge_after(self._recorder.storing)
        resources = metered(household, devices)
        self._meters = frozenset(point for one in resources if (point := one.register or one.power))
        self._forecaster = Forecaster(self._ring, household, devices)
        self._assessor = Assessor(
            household,
            resources,
            self.store,
            self._quarantine,
            self.clock,
            flush=self._recorder.flush,
            ready=lambda: self._reporter.history_ready,
            renewed=self._poke,
            turn=self._life.turn,
        )
        plan, mine = _report_plan(household), resources if self._assessor.works else ()
        assessed = AssessmentReports(Assessments(self.store), mine, household.assess, single=plan.single)
        self._reporter = Reporter(self._ring, resources, plan, self._forecaster, assessed)
        self._leases = LeaseManager(self._drivers, self._journal, self.clock, self._outcome)
        points = [point for device in devices.values() for point in device.points]
        self._copier = Copier(household, self._copies, connections, points)
        self._comfort = Comfort(household, self.store, self.clock)
        self._executor = Executor(
            self.store,
            household,
            devices,
            self._leases,
            self.clock,
            self._user_took_over,
            quarantine=self._quarantine,
            on_unplannable=self._unplannable,
            doubt=lambda: self.clock.doubt,
            comfort=self._comfort,
        )
        self.engine = Engine(
            self.store,
            HouseholdOptPolicy(household, devices, self._executor.withheld),
            self._reporter,
            settings(household, self._peer),
            SystemRandom(),
            quarantine=self._quarantine,
            in_doubt=lambda: self.clock.doubt is not None,
        )
        self._conversation = Conversation(
            self.engine, household, self._peer, self.clock, self._act, self._recorder.flush
        )
        by_create_opt = household.vtn.opts is OptMessage.CREATE_OPT
        self._people = People(self.engine, self.store, self.clock, self._act_and_poke, by_create_opt=by_create_opt)
        self._quiet = QuietHours(household, self.engine, self.store)
        watched = (self._drivers, self._leases, self._executor)
        started = self._life.started = self._life.started or self.clock.now()
        self._vitals = VitalsWatch(
            household, self._files, self.clock, connections, *watched, lambda: self._conversation.contact, started
        )
        self._heartbeat = Heartbeat(household, connections, self.clock, started)
        self._status = StatusWatch(household, *watched, self._recorder, self.clock)
        self._potential = PotentialWatch(
            self._forecaster,
            *watched,
            self._recorder,
            self._journal,
            self.clock,
            without=self._without_events,
            ready=lambda: self._reporter.history_ready,
            renewed=self._poke,
        )

    # -- life

    async def run(self) -> None:
        """Work until stopped; on a clean stop the devices get back what they did before, unless told otherwise."""
        _log.info("gateway starts", household=self.household.name, vtn=self._peer.url, clock=str(self.clock.now()))
        try:
            with suppress(UnavailableError):
                self._vitals.show()
            await self._leases.recover()
            async with asyncio.TaskGroup() as devices:
                below = [devices.create_task(self._leases.run()), devices.create_task(self._recorder.run())]
                if self._given is None:
                    below += [devices.create_task(connection.run()) for connection in self._connections.values()]
                await self._start_drivers()
                await self._serve()
                await self._leave()
                with suppress(UnavailableError):
                    self._recorder.flush()  # before the connections close, so that they can acknowledge it
                for task in below:
                    task.cancel()
            with suppress(UnavailableError):
                self._vitals.show(stopped=True)
        finally:
            self.close()
        _log.info("gateway stopped", household=self.household.name)

    def again(self) -> "Gateway":
        """Return a fresh gateway in the place of one that has ended; `stop` and `reload` of either reach it.

        A household file that it cannot work with is logged, and the one before is used again.
        """
        life = self._life
        if not life.stopping.is_set():
            life.changed.clear()
        try:
            return Gateway(life.household, connections=self._given, clock=self.clock, life=life)
        except EvenloadError as error:
            if life.household == self.household:
                raise
            _log.error("the household file cannot be used; the one before is", reason=str(error))
            life.household = self.household
            return Gateway(self.household, connections=self._given, clock=self.clock, life=life)

    async def stopped_within(self, pause_s: float) -> bool:
        """Wait for so long; tell whether `stop` was called."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._life.stopping.wait(), pause_s)
        return self._life.stopping.is_set()

    def stop(self) -> None:
        """Ask `run` to come to an end for good."""
        self._life.stopping.set()
        self._life.changed.set()

    def reload(self, household: Household) -> bool:
        """Ask `run` to come to an end, for `again` to go on with another household file; return whether it is another.

        Devices that are the same in both stay as they are; those that vanish or change are given back first.
        """
        if household == self._life.household:
            return False
        self._life.household = household
        self._life.changed.set()
        return True

    def close(self) -> None:
        """Close the files."""
        with suppress(UnavailableError):
            self._recorder.flush()
        self._files.close()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(keep_up(work, partial(self._caught, "part of the gateway", name)))
                for name, work in (
                    ("conversation", self._conversation.run),
                    ("listening", self._conversation.listen),
                    ("renewal", self._renewal),
                    ("executor", self._executor.run),
                    ("statuses", self._status.run),
                    ("requests of people", self._look_after),
                    ("meters' past", self._past),
                    ("potential", self._potential.run),
                    ("assessment", self._assessor.run),
                    ("copies", self._copier.run),
                    ("heartbeat", self._heartbeat.run),
                )
            ]
            await self._life.changed.wait()
            for task in loops:
                task.cancel()

    async def _renewal(self) -> None:
        """Keep the certificate fresh, where there is one; the conversation takes a new one up by itself."""
        if self._peer.identity is not None:
            await keep_fresh(self.household)

    async def _look_after(self) -> None:
        """Serve people, and show them how this gateway does."""
        while True:
            await asyncio.sleep(_PEOPLE_EVERY_S)
            if self._vitals.look():
                self._executor.wake()
                self._poke()
            try:
                self._safely("vitals", self._vitals.show)
                self._people.serve()
                if self.clock.doubt is None:
                    self._safely("quiet hours", self._keep_quiet)
            except UnavailableError as error:
                _log.error("the store cannot be used", reason=str(error))

    def _keep_quiet(self) -> None:
        actions = self._quiet.keep(self.clock.now())
        if actions is not None:
            self._act_and_poke(actions)

    def _without_events(self, now: datetime) -> list[Span]:
        return spans_without_events(self.household.quiet, self.household.site.zone, self.store.opts(), now)

    def _caught(self, kind: str, name: str, error: Exception) -> None:
        with suppress(UnavailableError):
            self._quarantine.caught(kind, name, error, self.clock.now())

    async def _start_drivers(self) -> None:
        for name, driver in self._drivers.items():
            if isinstance(driver, Observable):
                driver.observe(self._contact)
            await driver.start(self._hear, self._leases.listener(name))

    def _hear(self, reading: Reading) -> None:
        self._recorder.take(reading)
        self._comfort.take(reading)
        self._executor.site.take(reading)

    async def _leave(self) -> None:
        """Give devices back, as far as they can be reached now; the journal keeps the rest for the next start."""
        if leaving := self._leaving():
            try:
                await self._executor.let_go(leaving)
                async with asyncio.timeout(_FAREWELL_S):
                    while any(lease.command.device in leaving for lease in self._leases.held()):  # noqa: ASYNC110
                        await asyncio.sleep(0.02)  # the manager tells of no end; a farewell may look
            except (TimeoutError, UnavailableError) as error:
                _log.warning("some devices are given back at the next start", reason=str(error) or "no confirmation")
        for driver in self._drivers.values():
            await driver.stop()

    def _leaving(self) -> set[str]:
        """Return the devices that are given back at the end: all at a stop, else those that will not be the same.

        What comes after with another state directory knows nothing of our leases.
        """
        stops, following = self._life.stopping.is_set(), self._life.household
        if stops and self.household.on_stop == "keep":
            return set()
        staying = () if stops or following.state != self.household.state else following.devices
        return {device.id for device in self.household.devices if device not in staying}

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._safely(type(action).__name__, partial(self._act_on, action))

    def _act_and_poke(self, actions: Iterable[Action]) -> None:
        self._act(actions)
        self._poke()

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
                self._assessor.look_again()
                for event_id in event_ids:
                    if (event := self.store.event(event_id)) is not None:
                        self._log.opt(event)
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

    def _poke(self) -> None:
        self._conversation.poke()

    def _look_again(self) -> None:
        self._status.look_again()
        self._potential.look_again()

    def _contact(self, contact: Contact) -> None:
        self._look_again()
        if contact is Contact.LOST:
            _log.info("a device, or the way to it, is lost", household=self.household.name)

    def _outcome(self, outcome: Outcome) -> None:
        self._log.command(outcome)
        self._vitals.mark_soon()
        self._safely("command outcome", partial(self._executor.heard, outcome))
        self._look_again()

    def _user_took_over(self, event_id: str) -> None:
        self._people.took_over(event_id)

    def _unplannable(self, event_id: str, reason: str) -> None:
        self._act_and_poke(self.engine.withdraw(event_id, reason))

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
        self._potential.look_again()
        self._poke()


def _trusted(clock: Clock) -> TrustedClock:
    """Return the clock with doubts; only the host's own can be synchronised."""
    if clock != system_clock():
        return TrustedClock(clock)
    booted = uptime_s() < PATIENCE.total_seconds()
    return TrustedClock(clock, synchronised, just_booted=booted)


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
