"""How full batteries were, read from the ring once and kept up to date."""

from datetime import UTC, datetime, timedelta

import pytest

from core.points import Quality, Reading
from ven.charge_history import ChargeMemory
from ven.readings_store import Ring
from ven.store import Store

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
STEP = timedelta(minutes=30)
POINT = "battery.charge"


@pytest.fixture
def ring():
    return Ring(Store(None), 10_000)


def said(ring, *values, since=NOON - timedelta(hours=2), every=STEP, quality=Quality.GOOD):
    ring.add(Reading(POINT, since + index * every, value, None, quality) for index, value in enumerate(values))


def refreshed(ring, now=NOON, days=2):
    memory = ChargeMemory(ring, {"battery": POINT}, STEP, days)
    memory.refresh(now)
    return memory


def at(*minutes):
    return [int((NOON + timedelta(minutes=each)).timestamp()) for each in minutes]


def test_each_step_has_what_was_last_said_before_it(ring):
    said(ring, 80.0, 60.0, 40.0)  # at -120, -90 and -60
    assert refreshed(ring).of("battery") == dict(
        zip(at(-120, -90, -60, -30, 0, 30), [0.8, 0.6, 0.4, 0.4, 0.4, 0.4], strict=True)
    )


def test_an_old_word_says_nothing(ring):
    said(ring, 80.0, since=NOON - timedelta(hours=3))
    assert sorted(refreshed(ring).of("battery")) == at(-180, -150, -120)


def test_what_comes_later_is_added_and_what_is_old_is_dropped(ring):
    said(ring, *[50.0] * 5)
    memory = refreshed(ring, days=1)
    said(ring, 10.0, since=NOON + STEP)
    memory.refresh(NOON + STEP)
    assert memory.of("battery")[at(30)[0]] == 0.1
    memory.refresh(NOON + timedelta(days=1))
    assert memory.of("battery") == {at(0)[0]: 0.5, at(30)[0]: 0.1, at(60)[0]: 0.1, at(90)[0]: 0.1}


def test_bad_values_are_none_and_odd_ones_are_bounded(ring):
    said(ring, 120.0, since=NOON)
    assert refreshed(ring).of("battery")[at(0)[0]] == 1.0
    said(ring, 50.0, since=NOON + STEP, quality=Quality.BAD)
    assert at(60)[0] not in refreshed(ring, NOON + STEP).of("battery")


def test_a_battery_that_says_nothing_has_nothing(ring):
    assert refreshed(ring).of("battery") == {}


def test_everything_is_read_again_when_the_past_has_come_in(ring):
    said(ring, 50.0, since=NOON)
    memory = refreshed(ring)
    said(ring, 70.0, since=NOON - STEP)
    memory.forget()
    memory.refresh(NOON)
    assert memory.of("battery")[at(-30)[0]] == 0.7
