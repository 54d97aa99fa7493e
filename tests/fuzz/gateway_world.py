"""A gateway for fuzzing: its engine and executor on real files, devices in memory, and a clock that runs when asked."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from bridges.device import Outcome, State
from bridges.lease_state import Lease, Phase
from core.clock import ManualClock, system_clock
from core.errors import NotFoundError
from core.points import Reading
from core.spans import Duration
from openadr.model.registration import VtnProfile
from openadr.v20b import messages as m
from openadr.v20b.decode import UnreadableError, WireError, decode
from openadr.v20b.encode import encode
from ven.devices import describe, metered
from ven.engine import Engine, Failure, VenSettings
from ven.executor import Executor
from ven.household_file import load_household
from ven.opt_policy import HouseholdOptPolicy
from ven.quarantine import Quarantine
from ven.readings_store import Ring
from ven.reports import Reporter, ReportPlan
from ven.store import Store

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOME = load_household(Path(__file__).parents[2] / "examples" / "household.yaml")
DEVICES = describe(HOME, system_clock())
RESOURCES = metered(HOME, DEVICES)
REGISTERS = [resource.register for resource in RESOURCES if resource.register]
SETTINGS = VenSettings("home", Duration.of(minutes=1), ven_id="ven-1", vtn_id="vtn")


class Devices:
    """Keeps leases as the keeper does, in memory that outlives the gateway."""

    def __init__(self):
        self.open = {}
        self.now = NOON

    async def command(self, command):
        self.open[command.id] = command
        return Outcome(command, State.JOURNALLED, self.now)

    async def release(self, command_id):
        if self.open.pop(command_id, None) is None:
            raise NotFoundError(command_id)

    def held(self):
        self.open = {name: command for name, command in self.open.items() if command.until > self.now}
        return [Lease(command, holds=True, phase=Phase.HELD, previous="on") for command in self.open.values()]


@dataclass
class World:
    """One gateway's engine and executor on real files; time runs when nothing is to be said."""

    folder: Path
    loop: asyncio.AbstractEventLoop
    now: datetime = NOON
    devices: Devices = field(default_factory=Devices)
    sent: list[datetime] = field(default_factory=list)
    polls: list[datetime] = field(default_factory=list)

    def __post_init__(self):
        self.begin()

    def begin(self):
        self.store = Store(self.folder / "gateway.db")
        self.store.db.execute("PRAGMA synchronous=OFF")
        self.quarantine = Quarantine(self.store, self.folder / "handling")
        self.quarantine.recall(self.now)
        self.ring = Ring(self.store, 100_000)
        self.engine = Engine(
            self.store,
            HouseholdOptPolicy(HOME, DEVICES),
            Reporter(self.ring, RESOURCES, ReportPlan()),
            SETTINGS,
            Random(1),  # noqa: S311  a test repeats itself
            quarantine=self.quarantine,
            monotonic=self.elapsed_s,
        )
        clock = ManualClock(self.now)
        clock.now = lambda: self.now
        self.executor = Executor(
            self.store,
            HOME,
            DEVICES,
            self.devices,
            clock,
            lambda _: None,
            quarantine=self.quarantine,
            on_unplannable=self.engine.withdraw,
        )
        self.engine.start(self.now)

    def elapsed_s(self):
        return self.now.timestamp()

    def end(self):
        self.quarantine.close()
        self.store.close()

    def restart(self):
        self.end()
        self.begin()

    def follow(self):
        self.devices.now = self.now
        self.loop.run_until_complete(self.executor.follow())

    def next(self):
        """Return the next message; let time pass until there is one."""
        for _ in range(200):
            message = self.engine.next_request(self.now)
            if message is not None:
                encode(message)
                self.sent.append(self.now)
                self.polls += [self.now] if isinstance(message, m.Poll) else []
                return message
            self.tick(self.engine.wake_at(self.now))
        raise AssertionError("the gateway neither speaks nor lets time pass")

    def tick(self, until):
        least = self.now + timedelta(milliseconds=1)
        self.now = max(least, min(until or least, self.now + timedelta(hours=1)))
        self.ring.add(Reading(point, self.now, (self.now - NOON).total_seconds()) for point in REGISTERS)
        self.follow()

    def answer(self, body):
        """Let bytes arrive, as the transport would hand them on."""
        try:
            message = decode(body)
        except UnreadableError as error:
            self.engine.unreadable(error.element, error.request_id, error, self.now)
        except WireError:
            self.engine.failed(Failure.BROKEN, self.now)
        else:
            self.engine.received(message, self.now)
        self.now += timedelta(milliseconds=20)
        self.follow()

    def settle(self):
        """Live through hours with a sound VTN after a restart, and see that it polls and lets all devices go."""
        self.restart()
        sound_until = self.now + timedelta(hours=3)
        polls = len(self.polls)
        while len(self.polls) - polls < 2 or self.devices.held():
            assert self.now < sound_until, "it does not poll any more, or holds a device for ever"
            self.answer(encode(good(self.next())))
        assert self.store.registration() is not None


def good(asked):
    """Return what a sound VTN without events and reports answers."""
    match asked:
        case m.QueryRegistration():
            return m.CreatedPartyRegistration(m.Response(), VtnProfile("vtn"))
        case m.CreatePartyRegistration():
            return m.CreatedPartyRegistration(m.Response(), VtnProfile("vtn"), "reg-1", "ven-1")
        case m.RegisterReport():
            return m.RegisteredReport(m.Response())
        case m.UpdateReport():
            return m.UpdatedReport(m.Response())
        case m.RequestEvent():
            return m.DistributeEvent("vtn", "none", (), m.Response())
    return m.OadrResponse(m.Response(), "ven-1")
