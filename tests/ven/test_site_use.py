"""What the limits of the site may ask of a device: no event holds it longer than its limits say, however often."""

from datetime import timedelta

import pytest

from ven.explain import explain

from .conftest import NOON
from .test_explain import wire
from .test_site_limits import HOUR, Site, event

MINUTE = timedelta(minutes=1)
ONLY = {"meter": "grid", "order": ["heater"]}
BOTH = {"meter": "grid", "order": ["heater", "car"]}


async def minutes_held(site, minutes, device="heater"):
    """Return for how many minutes it is held, where the need comes and goes every twenty of them."""
    held = 0
    for minute in range(minutes):
        site.base_w = 500.0 if minute // 20 % 2 == 0 else -6000.0
        await site.runs(MINUTE)
        held += device in site.told
    return held


@pytest.mark.parametrize("limit", ["max_event", "max_time_per_day"])
async def test_no_device_is_held_longer_than_it_may_be_however_often_it_is_taken(limit):
    site = Site(ONLY, heater={"limits": {limit: "PT1H"}})
    site.know(event(1000, minutes=400))
    assert await minutes_held(site, 400) == 60


@pytest.mark.parametrize("limit", ["max_event", "max_time_per_day"])
async def test_a_restart_does_not_begin_to_count_anew(limit):
    site = Site(ONLY, heater={"limits": {limit: "PT1H"}})
    site.know(event(1000, minutes=400))
    held = await minutes_held(site, 90)
    site.begin()
    assert held + await minutes_held(site, 200) == 60


async def test_what_was_held_for_the_site_is_no_more_there_for_other_events_of_the_day():
    site = Site(ONLY, heater={"limits": {"max_time_per_day": "PT1H"}})
    site.know(event(1000, minutes=50))
    assert await minutes_held(site, 50) == 29  # the thirtieth ends with the event
    site.know(event(1000, start=NOON + HOUR, minutes=120, ident="next"))
    assert await minutes_held(site, 120) in (30, 31)


async def test_the_next_device_helps_where_one_was_held_long_enough():
    site = Site(BOTH, heater={"limits": {"max_event": "PT10M"}})
    site.know(event(4500, minutes=60))
    await site.runs(5 * MINUTE)
    assert list(site.told) == ["heater"]
    await site.runs(10 * MINUTE)
    assert list(site.told) == ["car"]


async def test_a_device_without_limits_is_held_as_long_as_it_takes():
    site = Site(ONLY)
    site.know(event(1000, minutes=120))
    await site.runs(119 * MINUTE)
    assert site.told == {"heater": "off"}
    assert site.switchings == 1


def test_explain_says_the_limits_of_the_devices():
    site = Site(ONLY, heater={"limits": {"max_time_per_day": "PT1H"}})
    (explained,) = explain(site.household, wire(event(1000)), NOON)
    assert "heater is used for PT1H a day at most" in explained.notes
