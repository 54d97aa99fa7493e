"""Rules on events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from core.spans import ZERO, Duration
from openadr.model.event import (
    ActivePeriod,
    Event,
    EventStatus,
    check_event,
    current_value,
    in_order,
    interval_at,
    listed_until,
    near_from,
    status_at,
)
from openadr.model.signal import Baseline, Interval, Signal
from openadr.model.target import Target

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
HOUR = Duration.of(hours=1)
QUARTER = Duration.of(minutes=15)


def minutes(count):
    return NOON + timedelta(minutes=count)


def signal(*values, each=QUARTER, **changes):
    return replace(Signal("SIMPLE", "level", "s", tuple(Interval(each, value) for value in values)), **changes)


def event(event_id="e", start=NOON, duration=HOUR, signals=None, period=None, **changes):
    made = Event(
        event_id,
        0,
        "http://programme.example",
        NOON,
        replace(ActivePeriod(start, duration), **(period or {})),
        signals if signals is not None else (signal(1, 2, 3, 0),),
    )
    return replace(made, **changes)


OPEN = event(duration=ZERO, signals=(signal(2, each=ZERO),))


def test_a_well_made_event_passes():
    check_event(event())
    check_event(OPEN)
    check_event(event(signals=(signal(1, 2, 3, 0), signal(1, each=HOUR, signal_id="t"))))


@pytest.mark.parametrize(
    "broken",
    [
        event(signals=()),
        event(signals=(signal(1, 2, 3),)),
        event(signals=(signal(1, 2, 3, 0), signal(1, 2, 3, 0))),
        event(duration=-HOUR, signals=(signal(1, each=-HOUR),)),
        event(signals=(signal(1, each=-HOUR, intervals=(Interval(-HOUR, 1), Interval(Duration.of(hours=2), 1))),)),
        event(signals=(signal(4, each=HOUR),)),
        event(signals=(signal(float("nan"), each=HOUR, name="x-own"),)),
        event(duration=ZERO, signals=(signal(1, 1, each=ZERO),)),
        event(duration=Duration(1), signals=(signal(1, each=Duration.of(days=30)),)),
        event(target=Target(ven_ids=("a", "b"))),
        event(target=Target(device_classes=("Toaster",))),
        event(baseline=Baseline(NOON, HOUR, (Interval(QUARTER, 1.0),), "b", "b")),
        event(signals=(signal(1, each=HOUR, target=Target(resource_ids=("r",))),)),
    ],
    ids=range(13),
)
def test_a_broken_event_is_refused(broken):
    with pytest.raises(InvalidError):
        check_event(broken)


@pytest.mark.parametrize(
    ("text", "test"),
    [(None, False), ("false", False), (" false ", False), ("", False), ("true", True), ("False", True)],
)
def test_test_events(text, test):
    assert event(test_event=text).is_test is test


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (-5, EventStatus.FAR),
        (-4, EventStatus.NEAR),
        (0, EventStatus.ACTIVE),
        (59, EventStatus.ACTIVE),
        (60, EventStatus.COMPLETED),
    ],
)
def test_status_with_ramp_up(at, status):
    ramped = event(period={"ramp_up": Duration.of(minutes=4)})
    assert near_from(ramped.period) == minutes(-4)
    assert status_at(ramped, minutes(at)) is status
    assert status_at(replace(ramped, cancelled=True), minutes(at)) is EventStatus.CANCELLED


@pytest.mark.parametrize("ramp_up", [None, ZERO, -QUARTER])
def test_without_ramp_up_an_event_is_never_near(ramp_up):
    plain = event(period={"ramp_up": ramp_up})
    assert status_at(plain, NOON - timedelta(seconds=1)) is EventStatus.FAR
    assert status_at(plain, NOON) is EventStatus.ACTIVE


def test_an_open_ended_event_never_completes():
    assert OPEN.period.end is None
    assert listed_until(OPEN) is None
    assert status_at(OPEN, NOON + timedelta(days=9999)) is EventStatus.ACTIVE
    assert current_value(OPEN.signals[0], OPEN, NOON + timedelta(days=9999)) == 2


def test_a_randomised_event_stays_listed():
    assert listed_until(event(period={"start_after": QUARTER})) == minutes(75)
    assert listed_until(event()) == minutes(60)


@pytest.mark.parametrize(("at", "value"), [(-1, 0), (0, 1), (14, 1), (15, 2), (45, 0), (30, 3), (60, 0)])
def test_current_value(at, value):
    assert current_value(signal(1, 2, 3, 0), event(), minutes(at)) == value


@pytest.mark.parametrize(("at", "value"), [(0, 1), (29, 1), (30, 3), (59, 3)])
def test_ev27_an_interval_without_length_inside_a_bounded_event_never_runs(at, value):
    half = Duration.of(minutes=30)
    odd = signal(intervals=(Interval(half, 1), Interval(ZERO, 2), Interval(half, 3)))
    assert current_value(odd, event(signals=(odd,)), minutes(at)) == value


def test_current_value_of_a_cancelled_event_is_zero():
    assert current_value(signal(1, 2, 3, 0), event(cancelled=True), minutes(20)) == 0


@given(st.lists(st.integers(1, 500), min_size=1, max_size=8), st.integers(-100, 4000))
def test_interval_at_agrees_with_a_plain_count(lengths, at):
    intervals = [Interval(Duration.of(minutes=length), 0.0) for length in lengths]
    seen = None
    edge = 0
    for index, length in enumerate(lengths):
        if edge <= at < edge + length:
            seen = index
        edge += length
    assert interval_at(NOON, intervals, minutes(at)) == seen


def test_order():
    urgent = event("urgent", minutes(-10), priority=1)
    early = event("early", minutes(-20), priority=2)
    late = event("late", minutes(-5), priority=2)
    lowest = event("lowest", minutes(-30), priority=0)
    unset = event("unset", minutes(-29))
    soon, later = event("soon", minutes(5), priority=9), event("later", minutes(6), priority=1)
    past = event("past", minutes(-90))
    expected = [urgent, early, late, lowest, unset, soon, later, past]
    for turn in range(len(expected)):
        assert in_order(expected[turn:] + expected[:turn], NOON) == expected
        assert in_order(reversed(expected), NOON) == expected


def test_ev12_a_completed_event_kept_for_startafter_comes_last():
    kept = event("kept", minutes(-70), period={"start_after": QUARTER}, priority=1)
    assert listed_until(kept) > NOON
    active, pending = event("active", minutes(-5), priority=9), event("pending", minutes(5))
    assert in_order([kept, pending, active], NOON) == [active, pending, kept]


def test_a_cancelled_event_keeps_its_place():
    one, two, three = (event(name, minutes(place)) for place, name in enumerate("abc", 1))
    assert in_order([three, replace(two, cancelled=True), one], NOON) == [one, replace(two, cancelled=True), three]


@given(
    st.lists(
        st.tuples(st.integers(-120, 120), st.integers(0, 3), st.text("ab", min_size=1, max_size=3)),
        unique_by=lambda row: row[2],
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_does_not_depend_on_the_input(rows, rng):
    events = [event(name, minutes(at), priority=priority) for at, priority, name in rows]
    shuffled = list(events)
    rng.shuffle(shuffled)
    assert in_order(shuffled, NOON) == in_order(events, NOON)


# -- the ends of the calendar

AGES = Duration(12 * 9999)


def test_an_event_that_outlasts_the_calendar_has_no_end():
    endless = event(duration=AGES, signals=(signal(1, each=AGES),))
    check_event(endless)
    assert endless.period.end is None
    assert listed_until(replace(endless, period=replace(endless.period, start_after=HOUR))) is None
    assert status_at(endless, NOON + timedelta(days=9999)) is EventStatus.ACTIVE
    assert interval_at(NOON, endless.signals[0].intervals, NOON + timedelta(days=9999)) == 0


@pytest.mark.parametrize("ramp", [AGES, Duration(0, 10**15), Duration(1)])
def test_a_ramp_up_before_the_calendar_begins_with_it(ramp):
    dawn = datetime(1, 1, 1, 0, 0, 5, tzinfo=UTC)
    assert near_from(ActivePeriod(dawn, HOUR, ramp_up=ramp)) == datetime(1, 1, 1, tzinfo=UTC)


def test_a_ramp_up_in_months_counts_back_from_the_start():
    assert near_from(ActivePeriod(NOON, HOUR, ramp_up=Duration(1))) == datetime(2024, 4, 6, 12, tzinfo=UTC)  # GN-05


@pytest.mark.parametrize("duration", [ZERO, HOUR])
def test_no_event_starts_in_the_last_year(duration):
    late = event(start=datetime(9999, 1, 1, tzinfo=UTC), duration=duration, signals=(signal(1, each=duration),))
    with pytest.raises(InvalidError, match="9999"):
        check_event(late)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("name", "kind"), [("SIMPLE", "level"), ("x-own", "delta")])
def test_what_no_number_is_cannot_be_asked(value, name, kind):
    with pytest.raises(InvalidError):
        check_event(event(signals=(signal(value, each=HOUR, name=name, type=kind),)))
    baseline = Baseline(NOON, HOUR, (Interval(HOUR, value),), "b", "b")
    with pytest.raises(InvalidError):
        check_event(event(baseline=baseline))
