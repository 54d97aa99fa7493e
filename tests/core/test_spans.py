"""Durations, spans and rounding of times."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from core.spans import (
    EARLIEST,
    LATEST,
    ZERO,
    Duration,
    Span,
    Steps,
    ceil_to,
    floor_to,
    local_day,
    next_midnight,
    shifted,
    utc,
)

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
lengths = st.builds(Duration, st.integers(0, 10**6), st.integers(0, 10**10))
signed = lengths | lengths.map(lambda length: -length)
_first, _last = datetime(1900, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001  hypothesis wants bounds without zone
times = st.datetimes(min_value=_first, max_value=_last, timezones=st.just(UTC))


@given(signed)
def test_text_reads_back(length):
    assert Duration.parse(str(length)) == length


@pytest.mark.parametrize(
    ("text", "months", "seconds"),
    [
        ("PT15M", 0, 900),
        ("P1M", 1, 0),
        ("PT1M", 0, 60),
        ("P1Y2M3DT4H5M6S", 14, 273906),
        ("-P1DT2H", 0, -93600),
        ("+P1D", 0, 86400),
        ("P2W", 0, 1209600),
        ("2W", 0, 1209600),
        ("P", 0, 0),
        ("PT", 0, 0),
        (" PT1S\n", 0, 1),
        ("P1H", 0, 3600),
        ("P000000000001D", 0, 86400),
    ],
)
def test_readings(text, months, seconds):
    assert Duration.parse(text) == Duration(months, seconds)


@pytest.mark.parametrize(
    "text",
    ["", "-", "T1H", "1D", "PT1.5S", "P1,5D", "P-1D", "PT1M1H", "P1W1D", "PT٣S", "P1234567890123D", "pt1h"],
)
def test_what_is_no_duration(text):
    with pytest.raises(InvalidError):
        Duration.parse(text)


@given(st.text("PT0123456789YMWDHS+-.", max_size=12))
def test_any_text_reads_or_is_refused(text):
    try:
        length = Duration.parse(text)
    except InvalidError:
        return
    assert Duration.parse(str(length)) == length


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (ZERO, "PT0S"),
        (Duration(12), "P1Y"),
        (Duration(-13, -60), "-P1Y1MT1M"),
        (Duration.of(days=8, hours=1), "P8DT1H"),
    ],
)
def test_canonical_text(length, text):
    assert str(length) == text


def test_signs_do_not_mix():
    with pytest.raises(InvalidError):
        Duration(1, -1)


@given(times, st.integers(-(10**8), 10**8))
def test_exact_durations_are_plain_addition(start, seconds):
    length = Duration(0, seconds)
    assert length.after(start) == start + timedelta(seconds=seconds)
    assert Duration.between(start, length.after(start)) == length
    assert length.timedelta() == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2024-01-31", 1, "2024-02-29"),
        ("2023-01-31", 1, "2023-02-28"),
        ("2024-12-15", 1, "2025-01-15"),
        ("2024-03-31", -1, "2024-02-29"),
        ("2024-02-29", 12, "2025-02-28"),
    ],
)
def test_months_end_on_the_last_day(start, months, end):
    assert Duration(months).after(datetime.fromisoformat(f"{start}T06:00Z")) == datetime.fromisoformat(f"{end}T06:00Z")


@given(times, st.builds(Duration, st.integers(0, 10**14), st.integers(0, 10**18)))
def test_outside_the_calendar_is_refused(start, length):
    try:
        assert length.after(start) >= start
    except InvalidError:
        assert length.months > 12 * 7000 or length.seconds > 10**10 or length.months * 31 * 86400 > 10**10


def test_months_have_no_exact_length():
    with pytest.raises(InvalidError):
        _ = Duration(1).exact_s
    assert Duration.of(minutes=2).exact_s == 120
    assert not ZERO
    assert Duration(1)
    assert Duration(0, -1)


def test_spans():
    span = Span(NOON, NOON + timedelta(hours=1))
    assert span.contains(NOON)
    assert not span.contains(span.end)
    assert not span.overlaps(Span(span.end, None))
    assert span.overlaps(Span(NOON - timedelta(hours=1), None))
    assert not Span(NOON - timedelta(hours=1), NOON).overlaps(span)
    assert Span(NOON, None).contains(NOON + timedelta(days=9999))


def test_utc():
    assert utc(NOON.astimezone(timezone(timedelta(hours=3)))) == NOON
    assert utc(NOON.astimezone(timezone(timedelta(hours=3)))).tzinfo is UTC
    for wrong in (NOON.replace(tzinfo=None), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))):
        with pytest.raises(InvalidError):
            utc(wrong)


@given(times, st.sampled_from([1, 60, 900, 3600, 86400]))
def test_floor_and_ceil(when, step):
    low, high = floor_to(when, step), ceil_to(when, step)
    assert low <= when <= high
    assert high - low in (timedelta(), timedelta(seconds=step))
    assert low.timestamp() % step == 0
    assert (low == high) == (low == when)


# -- the ends of the calendar


@given(signed, st.datetimes(timezones=st.just(UTC)))
def test_a_time_past_the_calendar_is_held_at_its_end(length, start):
    held = length.held_after(start)
    assert EARLIEST <= held <= LATEST
    if held not in (EARLIEST, LATEST):
        assert held == length.after(start)


def test_a_span_that_outlasts_the_calendar_has_no_end():
    assert Span.lasting(NOON, Duration(12 * 9999)) == Span(NOON, None)
    assert Span.lasting(NOON, Duration(0, 10**17)) == Span(NOON, None)
    assert Span.lasting(NOON, ZERO) == Span(NOON, None)
    assert Span.lasting(NOON, Duration(1)).end == datetime(2024, 6, 6, 12, tzinfo=UTC)
    assert Span.lasting(LATEST - timedelta(seconds=1), Duration.of(hours=1)).end is None


@given(st.datetimes(timezones=st.just(UTC)), st.floats(-1e300, 1e300))
def test_shifting_stays_within_the_calendar(when, seconds):
    assert EARLIEST <= shifted(when, seconds) <= LATEST


@pytest.mark.parametrize("when", [EARLIEST, LATEST])
@pytest.mark.parametrize("step_s", [7, 60, 86400, 10**10])
def test_rounding_stays_within_the_calendar(when, step_s):
    assert EARLIEST <= floor_to(when, step_s) <= when <= ceil_to(when, step_s) <= LATEST


def test_a_length_beyond_any_calendar_is_refused():
    with pytest.raises(InvalidError):
        Duration(0, 10**17).timedelta()


# -- steps


def test_months_step_from_the_start_they_count_from():
    steps = Steps(datetime(2026, 1, 31, tzinfo=UTC), Duration(1))
    days = [(edge.month, edge.day) for edge in steps.between(steps.start, datetime(2026, 5, 10, tzinfo=UTC))]
    assert days == [(1, 31), (2, 28), (3, 31), (4, 30), (5, 10)]


@given(times, st.builds(Duration, st.integers(0, 40), st.integers(0, 10**7)).filter(bool), times)
def test_steps_lie_around_any_time(start, step, when):
    steps = Steps(start, step)
    place = steps.index(when)
    assert place >= -1
    assert steps.at(place + 1) == steps.after(when) > when
    if place >= 0:
        assert steps.at(place) <= when
        assert steps.from_(when) in (when, steps.after(when))


def test_a_step_past_the_calendar_never_comes():
    steps = Steps(NOON, Duration(12 * 9999))
    assert (steps.index(NOON), steps.after(NOON)) == (0, LATEST)
    assert Steps(EARLIEST, Duration.of(seconds=1)).after(NOON) == NOON + timedelta(seconds=1)


@pytest.mark.parametrize("text", ["P488554385085W", "P999999999999DT24H", "P999999999999Y12M", "-P999999999999W"])
def test_a_duration_whose_own_text_could_not_be_read_is_refused(text):
    with pytest.raises(InvalidError):
        Duration.parse(text)
    longest = Duration.parse("P999999999999DT23H59M59S")
    assert Duration.parse(str(longest)) == longest


@pytest.mark.parametrize(
    ("when", "zone", "day", "midnight"),
    [
        ("2026-03-02T23:30:00+00:00", "Europe/Zurich", "2026-03-03", "2026-03-03T23:00:00+00:00"),
        ("2026-03-29T00:30:00+00:00", "Europe/Zurich", "2026-03-29", "2026-03-29T22:00:00+00:00"),  # of 23 hours
        ("2026-09-05T12:00:00+00:00", "America/Santiago", "2026-09-05", "2026-09-06T04:00:00+00:00"),  # no midnight
        ("2026-03-02T12:00:00+00:00", "Asia/Kathmandu", "2026-03-02", "2026-03-02T18:15:00+00:00"),
    ],
)
def test_local_days(when, zone, day, midnight):
    moment = datetime.fromisoformat(when)
    assert local_day(moment, ZoneInfo(zone)).isoformat() == day
    assert next_midnight(moment, ZoneInfo(zone)) == datetime.fromisoformat(midnight)


@pytest.mark.parametrize("when", [EARLIEST, LATEST])
@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles", "UTC"])
def test_local_days_hold_at_the_ends_of_the_calendar(when, zone):
    assert local_day(when, ZoneInfo(zone))
    assert next_midnight(when, ZoneInfo(zone)) > when or when == LATEST
