"""A gateway against a VTN that says anything at any time, with restarts in between.

Short in the test suite; `make fuzz` looks for longer (EVENLOAD_FUZZ_SECONDS).
"""

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from codec_strategies import MESSAGES
from fuzz.gateway_world import NOON, RESOURCES, SETTINGS, World, good
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_values import bent, seeds

from core.errors import EvenloadError
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus, ResponseRequired
from openadr.model.report import METADATA, ReportRequest
from openadr.model.signal import Interval, Signal
from openadr.model.units import POWER_REAL_W
from openadr.v20b import messages as m
from openadr.v20b.encode import encode
from ven.engine import Failure

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
                world.settle()
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
