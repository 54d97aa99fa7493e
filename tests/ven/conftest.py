"""A household, a bench that plays the VTN by hand, and makers of events and requests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from core.points import Reading
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.registration import VtnProfile
from openadr.model.report import ReportRequest
from openadr.model.signal import Interval, Signal
from openadr.model.units import POWER_REAL_W
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import (
    CreatedPartyRegistration,
    CreatePartyRegistration,
    DistributeEvent,
    OadrResponse,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    Response,
    UpdatedReport,
    UpdateReport,
)
from ven.engine import Engine, Phase, VenSettings
from ven.household import Household
from ven.opt_policy import HouseholdOptPolicy
from ven.readings_store import Ring
from ven.reports import Metered, Reporter, ReportPlan
from ven.store import Store

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

HOUSEHOLD = {
    "version": 1,
    "name": "home",
    "identity": "identity",
    "state": "state",
    "mqtt": {"host": "localhost"},
    "devices": [
        {"id": "meter", "driver": "senml_meter", "with": {"id": "m"}, "role": "grid_meter"},
        {
            "id": "heater",
            "driver": "iflex",
            "with": {"hems_id": "H1", "device_id": "2", "actuator_id": "284"},
            "role": "water_heater",
            "class": "Water_Heater",
            "nominal_w": 2000,
        },
        {
            "id": "plug",
            "driver": "shelly1",
            "with": {"id": "plug-1"},
            "role": "plug",
            "class": "Smart_Appliance",
            "nominal_w": 500,
        },
    ],
    "resources": [{"id": "home", "meter": "meter", "devices": ["heater", "plug"]}],
    "programmes": [
        {"match": {"signal": "LOAD_DISPATCH"}, "shed": {"order": ["heater", "plug"]}},
        {
            "match": {"signal": "SIMPLE"},
            "levels": {
                1: {"plug": {"switch": "off"}},
                2: {"heater": {"switch": "off"}},
                3: {"heater": {"switch": "off"}, "plug": {"switch": "off"}},
            },
        },
    ],
}


class Bench:
    """An engine on a store in memory; the test plays the VTN and the clock. Machine time runs like world time."""

    burst = 10**9
    """Tests say much in one moment; the limit on messages has tests of its own."""

    def __init__(
        self, household, store=None, *, memory=None, seed=1, now=NOON, settings=None, quarantine=None, plan=None
    ):
        self.household = household
        self.store = store or Store(None)
        self.ring = Ring(self.store, household.limits.readings)
        self.plan = plan or ReportPlan()
        self.reporter = Reporter(self.ring, [Metered("home", "meter.energy")], self.plan)
        self.settings = settings or VenSettings("home", Duration.of(minutes=1), jitter=0.0)
        self.now = now
        self.in_doubt = False
        self.engine = Engine(
            memory or self.store,
            HouseholdOptPolicy(household),
            self.reporter,
            replace(self.settings, burst=self.burst),
            Random(seed),  # noqa: S311  a test repeats itself
            quarantine=quarantine,
            monotonic=self.elapsed_s,
            in_doubt=lambda: self.in_doubt,
        )
        self.said = []
        self.engine.start(now)

    def elapsed_s(self):
        return self.now.timestamp()

    def next(self):
        """Return what the engine says now; every message must pass the schema."""
        message = self.engine.next_request(self.now)
        if message is not None:
            decode(encode(message), strict=True)
            self.said.append(message)
        return message

    def hear(self, answer):
        return self.engine.received(answer, self.now)

    def exchange(self, kind, answer):
        """Expect a message of a kind, answer it, and return it."""
        message = self.next()
        assert isinstance(message, kind), message
        self.hear(answer)
        return message

    def register(self, *, requests=(), poll_freq=None):
        self.register_until_sync(requests=requests, poll_freq=poll_freq)
        self.hear(DistributeEvent("vtn", "sync", (), Response()))
        assert self.engine.phase is Phase.SERVING
        return self

    def register_until_sync(self, *, requests=(), poll_freq=None):
        """Register as far as the request for all events, which is under way then."""
        self.exchange(QueryRegistration, self.registered(with_ids=False))
        self.exchange(CreatePartyRegistration, self.registered(poll_freq=poll_freq))
        self.exchange(RegisterReport, RegisteredReport(Response(), tuple(requests)))
        while not isinstance(message := self.next(), RequestEvent):
            self.hear(ok())
            assert message is not None

    def registered(self, *, with_ids=True, registration_id="reg-1", ven_id="ven-1", poll_freq=None):
        ids = (registration_id, ven_id) if with_ids else (None, None)
        return CreatedPartyRegistration(Response(), VtnProfile("vtn", poll_freq=poll_freq), *ids)

    def poll(self, answer):
        """Let the next poll be answered so; a poll must be due or fall due."""
        for _ in range(20):
            message = self.next()
            if isinstance(message, Poll):
                return self.hear(answer)
            if message is None:
                self.now = max(self.now, self.engine.wake_at(self.now))
            else:
                self.hear(UpdatedReport(Response()) if isinstance(message, UpdateReport) else ok())
        raise AssertionError("the engine does not poll")

    def poll_under_way(self):
        """Go on until a poll waits for its answer."""
        while not isinstance(message := self.next(), Poll):
            if message is None:
                self.now = max(self.now, self.engine.wake_at(self.now))
            else:
                self.hear(ok())

    def hear_next(self, kind, answer):
        """Expect a message of a kind, answer it, and return the actions."""
        assert isinstance(self.next(), kind)
        return self.hear(answer)

    def deliver(self, *events, request_id="req-d"):
        """Poll, answer with these events, and return the actions."""
        return self.poll(DistributeEvent("vtn", request_id, tuple(map(delivered, events)), Response()))

    def silent(self):
        """Tell that nothing is due now."""
        return self.next() is None

    def after(self, **parts):
        self.now += timedelta(**parts)
        return self

    def meter(self, start, end, *, every_s=60, power_w=1000.0, register_wh=0.0):
        """Store the readings of a register that runs at a constant power, ends included."""
        count = int((end - start).total_seconds() // every_s)
        self.ring.add(
            Reading("meter.energy", start + timedelta(seconds=every_s * n), register_wh + power_w * every_s * n / 3600)
            for n in range(count + 1)
        )
        return register_wh + power_w * every_s * count / 3600


def ok():
    return OadrResponse(Response(), "ven-1")


def delivered(event):
    return DeliveredEvent(event, EventStatus.CANCELLED if event.cancelled else EventStatus.FAR)


@pytest.fixture
def household():
    return Household.model_validate(HOUSEHOLD)


@pytest.fixture
def variant():
    """Return a maker of households that differ in some top-level entries."""

    def make(**changes):
        return Household.model_validate(HOUSEHOLD | changes)

    return make


@pytest.fixture
def bench(household):
    return Bench(household)


@pytest.fixture
def benches():
    """Return the maker of benches, for tests with their own household, store or seed."""
    return Bench


@pytest.fixture
def event():
    """Return a maker of LOAD_DISPATCH/delta events of one hour, or of the signals given."""

    def make(event_id="evt", *, modification=0, start=NOON + timedelta(hours=1), values=((60, -2000.0),), **more):
        signals = more.pop("signals", None)
        minutes = sum(length for length, _ in values)
        period = more.pop("period", {})
        if signals is None:
            intervals = tuple(Interval(Duration.of(minutes=length), value) for length, value in values)
            signals = (Signal("LOAD_DISPATCH", "delta", "s1", intervals, POWER_REAL_W),)
        active = ActivePeriod(start, Duration.of(minutes=minutes), **period)
        context = more.pop("market_context", "http://example.com/dr")
        return Event(event_id, modification, context, NOON, active, signals, **more)

    return make


@pytest.fixture
def request_for():
    """Return a maker of report requests."""

    def make(specifier, *r_ids, request_id="rr-1", step_s=60, back_s=60, start=NOON, duration_s=0):
        return ReportRequest(
            request_id,
            specifier,
            r_ids,
            Duration(0, step_s),
            Duration(0, back_s),
            start,
            Duration(0, duration_s),
        )

    return make
