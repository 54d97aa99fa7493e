"""Limits in a programme's own time zone, also where the clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aggregator.flexibility.call_limits import allows, counted, periods
from core.errors import InvalidError
from core.spans import Duration, Span
from vtn.services.programme import Limits, Window

ATHENS = ZoneInfo("Europe/Athens")  # UTC+2, summer UTC+3; clocks change at 01:00 UTC
LONDON = ZoneInfo("Europe/London")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(start, hours):
    begin = at(start)
    return Span(begin, begin + timedelta(hours=hours))


def lasts(one):
    return (one.end - one.start) / timedelta(hours=1)


def test_a_day_is_local_and_as_long_as_the_calendar_makes_it():
    winter = periods(Limits(), ATHENS, at("2026-01-12T22:30"))
    assert winter.day == Span(at("2026-01-12T22:00"), at("2026-01-13T22:00"))
    assert lasts(periods(Limits(), ATHENS, at("2026-03-29T12:00")).day) == 23
    assert lasts(periods(Limits(), ATHENS, at("2026-10-25T12:00")).day) == 25
    assert lasts(periods(Limits(), ATHENS, at("2026-10-25T12:00")).week) == 7 * 24 + 1


def test_weeks_begin_on_monday():
    sunday_evening = periods(Limits(), ATHENS, at("2026-01-11T21:59"))
    monday_morning = periods(Limits(), ATHENS, at("2026-01-11T22:00"))
    assert sunday_evening.week.end == monday_morning.week.start == at("2026-01-11T22:00")


def test_seasons_begin_on_their_days():
    def season(text, *starts):
        return periods(Limits(seasons=starts), UTC_ZONE, at(text)).season

    assert season("2026-01-12T12:00", "04-01", "10-01") == Span(at("2025-10-01"), at("2026-04-01"))
    assert season("2026-04-01T00:00", "04-01", "10-01") == Span(at("2026-04-01"), at("2026-10-01"))
    assert season("2026-03-31T23:59", "04-01") == Span(at("2025-04-01"), at("2026-04-01"))
    assert season("2026-06-01T00:00") == Span(at("2026-01-01"), at("2027-01-01"))
    assert season("2026-06-01T00:00", "02-29") == Span(at("2026-03-01"), at("2027-03-01"))
    for wrong in ("13-01", "spring", "04", "02-30"):
        with pytest.raises(InvalidError, match="season"):
            season("2026-06-01T00:00", wrong)


def test_other_calls_count_as_far_as_a_limit_looks():
    evening = span("2026-01-14T17:00", 2)
    assert counted(Limits(), ATHENS, evening) is None
    assert counted(Limits(per_day=1), ATHENS, evening) == Span(at("2026-01-13T22:00"), at("2026-01-14T22:00"))
    assert counted(Limits(rest=Duration.of(hours=1)), ATHENS, evening) == span("2026-01-14T16:00", 4)
    both = counted(Limits(per_day=1, rest=Duration.of(hours=6)), ATHENS, evening)
    assert both == Span(at("2026-01-13T22:00"), at("2026-01-15T01:00"))
    assert lasts(counted(Limits(per_week=2), ATHENS, evening)) == 7 * 24


UTC_ZONE = ZoneInfo("UTC")


def test_without_windows_any_time_will_do():
    assert allows(Limits(), ATHENS, span("2026-01-12T03:00", 2))
    assert not allows(Limits(), ATHENS, Span(at("2026-01-12T03:00"), None))


def test_a_call_lies_inside_the_windows():
    evening = Limits(windows=(Window("17:00", "20:00"),))
    assert allows(evening, ATHENS, span("2026-01-12T15:00", 3))
    assert not allows(evening, ATHENS, span("2026-01-12T14:59", 1))
    assert not allows(evening, ATHENS, span("2026-01-12T17:00", 1.01))
    assert allows(evening, ATHENS, span("2026-07-12T14:00", 3))
    assert not allows(evening, ATHENS, span("2026-07-12T15:00", 3))


def test_windows_have_days_and_may_pass_midnight():
    night = Limits(windows=(Window("22:00", "02:00", (5,)),))  # Friday night
    assert allows(night, UTC_ZONE, span("2026-01-16T23:00", 3))
    assert not allows(night, UTC_ZONE, span("2026-01-17T22:00", 1))
    assert not allows(night, UTC_ZONE, span("2026-01-16T01:00", 1))
    whole = Limits(windows=(Window("00:00", "00:00", (6, 7)),))
    assert allows(whole, UTC_ZONE, span("2026-01-17T00:00", 48))
    assert not allows(whole, UTC_ZONE, span("2026-01-17T00:00", 48.5))


def test_windows_that_adjoin_or_overlap_are_one():
    two = Limits(windows=(Window("17:00", "19:00"), Window("08:00", "17:00"), Window("18:00", "20:00")))
    assert allows(two, UTC_ZONE, span("2026-01-12T09:00", 11))
    gap = Limits(windows=(Window("08:00", "12:00"), Window("13:00", "17:00")))
    assert not allows(gap, UTC_ZONE, span("2026-01-12T11:00", 3))


def test_windows_keep_the_wall_clock_where_the_clocks_change():
    early = Limits(windows=(Window("00:00", "04:00"),))
    assert allows(early, LONDON, span("2026-03-29T00:00", 3))  # 01:00 to 02:00 does not exist
    assert not allows(early, LONDON, span("2026-03-29T00:00", 4))
    assert allows(early, LONDON, span("2026-10-24T23:00", 5))  # 01:00 to 02:00 comes twice
    assert not allows(early, LONDON, span("2026-10-24T23:00", 5.5))


def test_lengths_are_bounded():
    limits = Limits(shortest=Duration.of(minutes=30), longest=Duration.of(hours=2))
    assert allows(limits, UTC_ZONE, span("2026-01-12T12:00", 0.5))
    assert allows(limits, UTC_ZONE, span("2026-01-12T12:00", 2))
    assert not allows(limits, UTC_ZONE, span("2026-01-12T12:00", 0.49))
    assert not allows(limits, UTC_ZONE, span("2026-01-12T12:00", 2.01))
