"""What an event orders, in Wh, between any edges, and how much of it ran."""

import itertools
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from core.spans import Duration
from metrics.performance import Direction
from openadr.model.event import ActivePeriod, Event
from openadr.model.signal import Interval
from support.metered import HALF
from support.vtn_world import NOON, intervals, power, simple
from vtn.services.ordered_energy import as_run, ordered_between

START = NOON + timedelta(hours=1)
END = START + timedelta(hours=1)


def naive_wh(ordered, first, last):
    """Return what an event orders in a span, interval by interval."""
    total, edge = 0.0, ordered.period.start
    for interval in ordered.signals[0].intervals:
        begin, edge = edge, interval.duration.after(edge) if interval.duration else max(edge, last)
        shared_s = (min(edge, last) - max(begin, first)).total_seconds()
        total += interval.value * max(shared_s, 0.0) / 3600
    return -total


parts_s = st.lists(st.integers(0, 5000), min_size=1, max_size=6)


@given(
    parts_s, parts_s, st.booleans(), st.integers(-9000, 9000), st.integers(0, 999_999), st.floats(-1e5, 1e5, width=32)
)
def test_orders_between_edges_are_those_of_each_span(lengths, widths, is_open, ahead_s, ahead_us, value):
    parts = [Interval(Duration.of(seconds=length + 1), value / (place + 1)) for place, length in enumerate(lengths)]
    if is_open:
        parts.append(Interval(Duration(), value))
    signal = replace(power(0.0), intervals=tuple(parts))
    ordered = Event("e", 0, "http://grid", NOON, ActivePeriod(START, Duration()), (signal, simple(1.0)))
    edges = [START + timedelta(seconds=ahead_s, microseconds=ahead_us)]
    for width in widths:
        edges.append(edges[-1] + timedelta(seconds=width))
    expected = [naive_wh(ordered, *pair) for pair in itertools.pairwise(edges)]
    assert ordered_between(ordered, edges, Direction.REDUCE).tolist() == expected


def test_an_event_without_a_power_orders_nothing():
    ordered = Event("e", 0, "http://grid", NOON, ActivePeriod(START, Duration.of(hours=1)), (simple(1.0),))
    edges = [START, START + timedelta(hours=1), START + timedelta(hours=2)]
    assert ordered_between(ordered, edges, Direction.INCREASE).tolist() == [0.0, 0.0]


def test_an_event_as_far_as_it_ran():
    whole = Event("e", 1, "c", NOON, ActivePeriod(START, Duration.of(hours=1)), (power(-1.0, -2.0, each=HALF),))
    assert as_run(whole, None) is whole
    assert as_run(whole, END) is whole
    assert as_run(whole, START) is None
    assert as_run(whole, START + timedelta(milliseconds=999)) is None
    blink = as_run(whole, START + timedelta(seconds=1, milliseconds=500))
    assert blink.period.duration == Duration.of(seconds=1)
    cut = as_run(whole, START + timedelta(minutes=40))
    assert cut.period.duration == Duration.of(minutes=40)
    assert [(one.duration, one.value) for one in cut.signals[0].intervals] == [
        (HALF, -1),
        (Duration.of(minutes=10), -2),
    ]
    endless = replace(
        whole,
        period=ActivePeriod(START, Duration()),
        signals=(replace(power(0.0), intervals=intervals(-1.0, each=Duration())),),
    )
    assert as_run(endless, END).signals[0].intervals == intervals(-1.0)
