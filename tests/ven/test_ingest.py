"""Readings on their way to the ring: while the clock is behind they wait, and then stand at their true time."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from core.clock import ManualClock
from core.errors import UnavailableError
from core.points import Reading
from core.trusted_clock import TrustedClock
from support.waiting import until
from ven import ingest
from ven.ingest import Recorder
from ven.readings_store import Ring
from ven.store import Store

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Place:
    """A recorder that knows that it is noon, and a clock that says what a test says."""

    def __init__(self):
        self.clock = ManualClock(NOON)
        self.trusted = TrustedClock(self.clock)
        self.trusted.resume(NOON)
        self.ring = Ring(Store(None), 1000)
        self.recorder = Recorder(self.ring, lambda: None, self.trusted)

    def hear(self, value, at=None, **more):
        self.recorder.take(Reading("p", at or self.trusted.now(), value, **more))

    def stored(self):
        self.recorder.flush()
        return [
            (reading.start, reading.value)
            for reading in self.ring.between("p", NOON - 300 * MINUTE, NOON + 300 * MINUTE)
        ]


@pytest.fixture
def place():
    return Place()


def test_what_comes_is_stored_as_it_comes(place):
    place.hear(1.0)
    assert place.stored() == [(NOON, 1.0)]


def test_what_comes_by_a_clock_that_is_behind_is_put_right(place):
    place.clock.set(NOON - 30 * MINUTE)
    place.hear(1.0)
    place.clock.advance(MINUTE)
    place.hear(2.0)
    assert place.stored() == [], "nobody knows when that was"
    place.clock.advance(MINUTE)
    place.clock.set(NOON + 20 * MINUTE)  # it was down for 18 minutes
    assert place.stored() == [(NOON + 18 * MINUTE, 1.0), (NOON + 19 * MINUTE, 2.0)]
    place.hear(3.0)
    assert place.stored()[-1] == (NOON + 20 * MINUTE, 3.0)


def test_the_past_of_a_meter_is_its_own_word(place):
    place.clock.set(NOON - 30 * MINUTE)
    place.hear(1.0, NOON - 200 * MINUTE)
    place.hear(2.0, NOON - 15 * MINUTE, duration=15 * MINUTE)
    place.clock.set(NOON + 20 * MINUTE)
    assert place.stored() == [(NOON - 200 * MINUTE, 1.0), (NOON + 5 * MINUTE, 2.0)]


def test_a_clock_that_is_believed_after_all_has_the_last_word(place):
    place.clock.set(NOON - 30 * MINUTE)
    place.hear(1.0)
    place.clock.advance(11 * MINUTE)
    assert place.stored() == [(NOON - 30 * MINUTE, 1.0)]


def test_what_comes_before_the_host_has_compared_its_clock_is_put_right_as_well(place):
    answers = [False]
    place.trusted = TrustedClock(place.clock, lambda: answers[-1], just_booted=True)
    place.recorder = Recorder(place.ring, lambda: None, place.trusted)
    place.hear(1.0)
    assert place.stored() == []
    place.clock.advance(MINUTE)
    place.clock.set(NOON + 90 * MINUTE)
    answers.append(True)
    assert place.stored() == [(NOON + 89 * MINUTE, 1.0)]


def test_a_host_that_nobody_sets_is_believed_in_the_end(place):
    place.trusted = TrustedClock(place.clock, lambda: False, just_booted=True)
    place.recorder = Recorder(place.ring, lambda: None, place.trusted)
    place.hear(1.0)
    place.clock.advance(11 * MINUTE)
    assert place.stored() == [(NOON, 1.0)]


async def test_who_waits_for_readings_is_told_when_they_are_on_disk(place):
    assert place.recorder.storing() is None, "nothing waits"
    place.hear(1.0)
    storing = place.recorder.storing()
    place.hear(2.0, NOON + MINUTE)
    assert place.recorder.storing() is storing, "both are stored together"
    assert not storing.done()
    place.recorder.flush()
    assert storing.done()
    assert place.recorder.storing() is None


async def test_nobody_waits_for_a_disk_that_is_full(place, monkeypatch):
    """A broker that waits for acknowledgements would keep back what devices say of their state."""

    def full(_):
        raise UnavailableError("The disk is full.")

    place.hear(1.0)
    storing = place.recorder.storing()
    with monkeypatch.context() as patch:
        patch.setattr(place.ring, "add", full)
        with pytest.raises(UnavailableError):
            place.recorder.flush()
        assert storing.done()
        assert place.recorder.storing() is None
    assert place.stored() == [(NOON, 1.0)]
    place.hear(2.0, NOON + MINUTE)
    assert place.recorder.storing() is not None, "the disk takes readings again"


async def test_nobody_waits_for_a_better_clock(place):
    place.clock.set(NOON - 30 * MINUTE)
    place.hear(1.0)
    assert place.recorder.storing() is None


async def test_as_soon_as_a_broker_may_send_no_more_what_came_is_stored(place, monkeypatch):
    monkeypatch.setattr(ingest, "_BATCH_S", 3600.0)
    task = asyncio.create_task(place.recorder.run())
    waits = []
    for number in range(ingest._MOST_HELD):
        place.hear(float(number), NOON + number * MINUTE)
        await asyncio.sleep(0)
        assert not place.ring.newest("p"), "nothing hurries yet"
        waits.append(place.recorder.storing())
    await until(lambda: all(storing.done() for storing in waits))
    assert len(place.ring) == ingest._MOST_HELD
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
