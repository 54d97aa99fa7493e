"""A gateway against a VTN that says anything at any time, with restarts in between.

Short in the test suite; `make fuzz` looks for longer (EVENLOAD_FUZZ_SECONDS).
"""

import asyncio
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from codec_strategies import MESSAGES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_values import bent, seeds

from bridges.device import Outcome, State
from bridges.lease_state import Lease, Phase
from core.clock import ManualClock, system_clock
from core.errors import EvenloadError, NotFoundError
from core.points import Reading
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus, ResponseRequired
from openadr.model.registration import VtnProfile
from openadr.model.report import METADATA, ReportRequest
from openadr.model.signal import Interval, Signal
from openadr.model.units import POWER_REAL_W
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
SECONDS = float(os.environ.get("EVENLOAD_FUZZ_SECONDS", "0"))
_ROUND = settings(
    deadline=None,
    max_examples=100 if SECONDS else 15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    derandomize=not SECONDS,
    database=None,
)

FITTING = {
    "vtn_id": ("vtn",),
    "ven_id": ("ven-1",),
    "ven_ids": ("ven-1",),
    "registration_id": ("reg-1",),
    "event_id": ("e1", "e2", "e3"),
    "report_request_ids": ("r1", "r2"),
    "market_context": ("http://example.com/dr",),
}


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


def sound_events(random):
    """Return an oadrDistributeEvent that this home takes part in."""
    events = []
    for number in random.sample([1, 2, 3], random.randint(1, 3)):
        length, value = Duration.of(minutes=random.randint(1, 120)), float(random.randint(0, 3))
        signal = Signal("SIMPLE", "level", "s", (Interval(length, value),))
        if random.random() < 0.5:
            signal = Signal("LOAD_DISPATCH", "delta", "s", (Interval(length, -500 * value),), POWER_REAL_W)
        event = Event(
            f"e{number}",
            random.randint(0, 3),
            "http://example.com/dr",
            NOON,
            ActivePeriod(NOON + timedelta(minutes=random.randint(-30, 60)), length),
            (signal,),
            response_required=random.choice([*ResponseRequired]),
        )
        events.append(DeliveredEvent(event, random.choice([*EventStatus][1:])))
    return m.DistributeEvent("vtn", "d", tuple(events), m.Response())


def sound_requests(random):
    """Return a request for reports that this home offers."""
    requests = []
    for number in random.sample([1, 2], random.randint(1, 2)):
        name = random.choice(["TELEMETRY_USAGE", "TELEMETRY_USAGE", "TELEMETRY_STATUS", "HISTORY_USAGE", METADATA])
        item = "status" if name == "TELEMETRY_STATUS" else "energy"
        length = Duration.of(minutes=random.choice([0, 1, 15]))
        start = NOON + timedelta(minutes=random.choice([-3000, -60, 0, 60]))
        duration = Duration.of(minutes=random.choice([0, 60, 3000]))
        r_ids = tuple(f"{resource.resource}/{item}" for resource in RESOURCES)
        requests.append(ReportRequest(f"r{number}", name, r_ids, length, length, start, duration))
    if random.random() < 0.3:
        return m.RegisteredReport(m.Response(), tuple(requests), "ven-1")
    return m.CreateReport("c", tuple(requests), "ven-1")


def samples(count):
    """Return messages of every kind: drawn beforehand, for a script of whole messages is too much for hypothesis."""
    drawn = []

    def keep(message):
        drawn.append(message)

    for kind in MESSAGES.values():
        settings(_ROUND, max_examples=count)(given(kind)(keep))()
    return drawn


ODD = [sound_events, sound_requests, *MESSAGES]
steps = st.one_of(
    st.tuples(st.sampled_from(["good", "restart", "nothing", *Failure])),
    st.tuples(st.sampled_from(ODD), seeds, st.sampled_from([0.0, 0.03, 0.3]), st.booleans()),
    st.tuples(st.sampled_from(ODD[:2]), seeds, st.sampled_from([0.0, 0.03, 0.3]), st.just(True)),
)
"""Something plain, or a kind of message with a seed, how far it is bent, and whether it waits for the next poll."""
scripts = st.builds(
    lambda sound, odd: [("good",)] * sound + odd, st.integers(0, 8), st.lists(steps, min_size=8, max_size=40)
)


def take(world, step, pool):
    """Let one thing happen to the gateway."""
    what, *how = step
    if what == "restart":
        world.restart()
        return
    asked = world.next()
    if what == "good":
        world.answer(encode(good(asked)))
    elif what == "nothing":
        world.engine.received(None, world.now)
    elif isinstance(what, Failure):
        world.engine.failed(what, world.now)
    else:
        seed, share, at_a_poll = how
        while at_a_poll and not isinstance(asked, m.Poll):
            world.answer(encode(good(asked)))
            asked = world.next()
        random = Random(seed)  # noqa: S311  a test repeats itself
        message = (
            random.choice([sample for sample in pool if type(sample) is what]) if what in MESSAGES else what(random)
        )
        try:
            body = encode(bent(message, random, world.now, FITTING, share))
        except (EvenloadError, ValueError, OverflowError):
            body = encode(message)  # bent beyond what can be written
        world.answer(body)


def check(script, pool):
    """Live through a script, then through hours with a sound VTN, and look whether all is well."""
    loop = asyncio.new_event_loop()
    try:
        with TemporaryDirectory() as folder:
            world = World(Path(folder), loop)
            try:
                for step in script:
                    take(world, step, pool)
                world.restart()
                sound_until = world.now + timedelta(hours=3)
                polls = len(world.polls)
                while len(world.polls) - polls < 2 or world.devices.held():
                    assert world.now < sound_until, "it does not poll any more, or holds a device for ever"
                    world.answer(encode(good(world.next())))
                assert world.store.registration() is not None
            finally:
                world.end()
            pace(world.sent)
    finally:
        loop.close()


def pace(sent):
    """Check that in no span of time more goes out than a message a second and the burst of each run."""
    for first, at in enumerate(sent):
        within = sum(other - at <= timedelta(minutes=10) for other in sent[first:])
        assert within <= 600 + 2 * SETTINGS.burst


def rounds():
    """Yield once, or as long as there is time."""
    end = time.monotonic() + SECONDS
    yield
    while time.monotonic() < end:
        yield


def lives():
    """Live through scripts with fresh messages."""
    pool = samples(20 if SECONDS else 3)

    @_ROUND
    @given(scripts)
    def life(script):
        check(script, pool)

    life()


@pytest.mark.timeout(int(SECONDS) + 300)
def test_whatever_the_vtn_says_the_gateway_polls_frees_its_devices_and_floods_nobody():
    for _ in rounds():
        lives()


def test_every_kind_of_message_at_every_stage():
    """Each kind, as an answer to the first, the second ... message of a gateway's life, and out of a poll."""
    pool = samples(2)
    for number, kind in enumerate(ODD):
        for stage in range(number % 4, 8, 4):
            check([*[("good",)] * stage, (kind, number, 0.03, False), ("restart",), (kind, stage, 0.3, True)], pool)
