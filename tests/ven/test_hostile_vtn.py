"""Messages that a VTN may well send, each through the wire, the engine, the store on disk, and a restart."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.clock import system_clock
from core.spans import EARLIEST, ZERO, Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, EventStatus
from openadr.model.report import METADATA, ReportRequest
from openadr.model.signal import Interval
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import (
    CreatedEvent,
    CreatedReport,
    CreateReport,
    DistributeEvent,
    OadrResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    Response,
    UpdatedReport,
    UpdateReport,
)
from ven.devices import describe
from ven.planning import plan
from ven.store import Store

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
AGES = Duration(12 * 9999)
MONTH = Duration(1)
TEN_MINUTES = Duration.of(minutes=10)


def usage(granularity, back, start, duration, r_id="home/energy", name="TELEMETRY_USAGE"):
    return CreateReport("q", (ReportRequest("R1", name, (r_id,), granularity, back, start, duration),), "ven-1")


def metadata(back, start, duration):
    return usage(ZERO, back, start, duration, "0", METADATA)


REQUESTS = {
    "over for a day": usage(Duration.of(minutes=1), Duration.of(minutes=2), NOON - timedelta(days=2), TEN_MINUTES),
    "in months": usage(MONTH, MONTH, NOON - timedelta(days=31), ZERO),
    "in months, bounded": usage(MONTH, MONTH, NOON - timedelta(days=400), Duration(12)),
    "without end": usage(Duration.of(minutes=1), Duration.of(minutes=1), NOON, AGES),
    "never": usage(AGES, AGES, NOON, ZERO),
    "from the beginning": usage(Duration.of(minutes=1), Duration.of(minutes=1), EARLIEST, ZERO),
    "from the beginning, bounded": usage(Duration.of(hours=1), Duration.of(days=1), EARLIEST, Duration(12 * 2030)),
    "from the last second": usage(Duration.of(minutes=1), TEN_MINUTES, LAST_SECOND, ZERO),
    "history from the last second": usage(ZERO, ZERO, LAST_SECOND, Duration.of(days=1), name="HISTORY_USAGE"),
    "history from the beginning": usage(ZERO, ZERO, EARLIEST, Duration.of(seconds=1), name="HISTORY_USAGE"),
    "metadata never again": metadata(AGES, NOON, ZERO),
    "metadata backwards": metadata(-Duration.of(hours=1), NOON, ZERO),
    "metadata each second": metadata(Duration.of(seconds=1), NOON, ZERO),
    "metadata of the past": metadata(Duration.of(minutes=1), EARLIEST, TEN_MINUTES),
    "metadata in months": metadata(MONTH, NOON - timedelta(days=500), AGES),
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gateway.db"


@pytest.fixture
def restarted(benches, household, path):
    """Return a maker of benches on the same file, each after the one before has stopped."""
    running = []

    def make(now=NOON):
        for bench in running:
            bench.store.close()
        running[:] = [benches(household, store=Store(path), now=now)]
        return running[0]

    yield make
    running[0].store.close()


def send(bench, message):
    """Answer a poll with a message, as it stands on the wire; return the answer to it."""
    bench.poll(decode(encode(message), strict=True))
    return bench.exchange(
        CreatedReport if isinstance(message, CreateReport) else CreatedEvent, OadrResponse(Response())
    )


def lives(bench, minutes=3):
    """Let some time pass: it has to poll, and to send no more than a message a second."""
    polls = sent = 0
    until = bench.now + timedelta(minutes=minutes)
    replies = {
        UpdateReport: UpdatedReport(Response()),
        RegisterReport: RegisteredReport(Response()),
        RequestEvent: DistributeEvent("vtn", "sync", (), Response()),
    }
    while bench.now < until:
        message = bench.next()
        if message is None:
            wake = bench.engine.wake_at(bench.now)
            if wake > until:
                break
            bench.now = max(wake, bench.now)
            continue
        sent += 1
        bench.after(seconds=1)  # as long as an exchange may take
        polls += isinstance(message, Poll)
        bench.hear(replies.get(type(message), OadrResponse(Response())))
    assert polls >= minutes - 1
    assert sent <= 60 * minutes


@pytest.mark.parametrize("message", REQUESTS.values(), ids=REQUESTS)
def test_no_report_request_stops_hangs_or_floods_a_gateway(restarted, message):
    bench = restarted().register()
    bench.meter(NOON - timedelta(hours=1), NOON)
    answer = send(bench, message)
    assert answer.response.code in (200, 454)
    bench = restarted(bench.now)
    lives(bench, minutes=20)
    assert len(bench.store.report_tasks()) <= 1
    lives(restarted(bench.now + timedelta(days=2)))


HOUR = Duration.of(hours=1)
ONE = NOON + timedelta(hours=1)
EVENTS = {
    "NaN": (ONE, HOUR, math.nan, {}, 459),
    "INF": (ONE, HOUR, math.inf, {}, 459),
    "-INF": (ONE, HOUR, -math.inf, {}, 459),
    "open from the last second": (LAST_SECOND, ZERO, -100.0, {}, 459),
    "from the first second with ramp-up": (EARLIEST, ZERO, -100.0, {"ramp_up": HOUR}, 200),
    "over from the first second": (EARLIEST, HOUR, -100.0, {"ramp_up": AGES}, 454),
    "without end": (ONE, AGES, -100.0, {}, 200),
    "a window without end": (ONE, HOUR, -100.0, {"start_after": AGES}, 459),
    "ramps without end": (ONE, HOUR, -100.0, {"ramp_up": AGES, "recovery": AGES}, 200),
    "over": (NOON - timedelta(days=30), HOUR, -100.0, {}, 454),
}  # fmt: skip


@pytest.mark.parametrize(("start", "lasts", "value", "period", "code"), EVENTS.values(), ids=EVENTS)
def test_no_event_stops_a_gateway(restarted, household, event, start, lasts, value, period, code):
    signal = replace(event().signals[0], intervals=(Interval(lasts, value),), current_value=value)
    odd = replace(event("odd"), period=ActivePeriod(start, lasts, **period), signals=(signal,))
    bench = restarted().register()
    listed = tuple(DeliveredEvent(one, EventStatus.FAR) for one in (odd, event("good")))
    answer = send(bench, DistributeEvent("vtn", "d", listed, Response()))
    assert {one.event_id: one.code for one in answer.event_responses} == {"odd": code, "good": 200}
    bench = restarted(bench.now)
    known = bench.store.event("odd")
    assert known.code == code  # refused or taken, it is known as that
    made = plan(known, household, describe(household, system_clock()), "ven-1", bench.now + timedelta(hours=24))
    assert bool(made.orders) == (code == 200)
    lives(bench)
    lives(restarted(bench.now + timedelta(days=2)))
