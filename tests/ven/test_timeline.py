"""What is drawn of orders."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.device import CapabilityKind
from ven.planning import Planned
from ven.timeline import drawn

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def order(begin, end, value="off", device="heater", capability=CapabilityKind.SWITCH):
    return Planned("id", "evt", NOON + begin * MINUTE, NOON + end * MINUTE, device, capability, value, "SIMPLE", 0)


def test_a_row_for_each_thing_and_a_bar_for_each_value():
    limit = CapabilityKind.EXPORT_LIMIT
    lines = drawn([order(0, 60), order(60, 90, 60.0, "pv", limit), order(90, 120, 72.5, "pv", limit)])
    assert lines == [
        "                 12:00           12:30           13:00           13:30           14:00",
        "heater.switch    [off---------------------------]",
        "pv.export_limit                                  [60------------][72.5----------]",
    ]


def test_what_needs_no_drawing_gets_none():
    assert drawn([]) == []
    assert drawn([order(0, 60)]) == []
    assert drawn([order(0, 0), order(0, 0, device="plug")]) == []


def test_days_have_dates():
    assert "03-04" in drawn([order(0, 60), order(60, 4 * 1440)])[0]


@pytest.mark.parametrize("minutes", [0.3, 1, 20, 60, 60 * 24 * 365])
def test_the_end_of_the_calendar_is_an_end(minutes):
    last = datetime.max.replace(tzinfo=UTC)
    early = replace(order(0, 0), at=last - minutes * MINUTE, until=last)
    lines = drawn([early, replace(early, device="plug")])
    assert "[off" in lines[1]


@given(
    st.lists(
        st.tuples(st.integers(0, 20_000), st.integers(0, 5_000), st.sampled_from(["off", 1.5, "a long word"])),
        max_size=30,
    )
)
def test_nothing_is_longer_than_a_line(spans):
    lines = drawn([order(begin, begin + length, value, f"d{begin % 7}") for begin, length, value in spans])
    assert all(len(line) <= len("d0.switch  ") + 72 for line in lines)
    assert len(lines) <= 8
